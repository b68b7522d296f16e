package control

import "time"

// SetBodyTimeout makes slow bodies testable in a moment.
func (s *Server) SetBodyTimeout(d time.Duration) { s.body = d }
