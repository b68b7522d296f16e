package api

import "time"

// SetBodyTime changes how long bodies may take.
func (a *API) SetBodyTime(d time.Duration) { a.bodyTime = d }
