package control

import (
	"context"
	"net/http"
)

// Technician is what somebody at the device may ask for besides updates. It is apart
// from [Backend], which the fleet's link calls too.
type Technician interface {
	// Rehearse swaps to a second copy of the permanent version and comes back. It
	// returns when the rehearsal has begun, or with r.Wait when it has ended: with
	// [ExitDone] if all went as it must, else with [ExitReverted].
	Rehearse(ctx context.Context, r RehearseRequest) Result

	// Reset installs the version that the device came with, although it may be older
	// than what runs, and keeps whom the device trusts. It returns as Activate does.
	Reset(ctx context.Context, r ResetRequest) Result
}

// ResetRequest asks for the factory's version.
type ResetRequest struct {
	Wait bool `json:"wait,omitempty"` // as in [ActivateRequest]
}

// RehearseRequest asks for a rehearsal.
type RehearseRequest struct {
	Wait bool `json:"wait,omitempty"` // as in [ActivateRequest]
}

func (s *Server) technician(mux *http.ServeMux, t Technician) {
	mux.HandleFunc("POST /v1/rehearse", act(s, t.Rehearse))
	mux.HandleFunc("POST /v1/reset", act(s, t.Reset))
}

var _ Technician = (*Client)(nil)

// Rehearse implements [Technician].
func (c *Client) Rehearse(ctx context.Context, r RehearseRequest) Result {
	return c.post(ctx, "/v1/rehearse", r)
}

// Reset implements [Technician].
func (c *Client) Reset(ctx context.Context, r ResetRequest) Result {
	return c.post(ctx, "/v1/reset", r)
}
