package adminpanel

import "time"

// SetFreshTime changes how long somebody may take who has just come in when the panel ends.
func (p *Panel) SetFreshTime(d time.Duration) { p.freshTime = d }
