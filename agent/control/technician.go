package control

import (
	"context"
	"errors"
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

	// Return tries the version that was permanent before, in place of the one that is, and
	// refuses during a trial. It returns as Activate does.
	Return(ctx context.Context, r ReturnRequest) Result

	// Cancel ends the staging under way, and returns when nothing is written any more.
	// Without one there is nothing to cancel and the answer is [ExitNothing].
	Cancel(ctx context.Context) Result

	// Clear empties a slot that is neither permanent nor running nor on trial.
	Clear(ctx context.Context, r ClearRequest) Result
}

// ClearRequest names a slot.
type ClearRequest struct {
	Slot string `json:"slot"` // "a" or "b", or of the system slots "system-a" or "system-b"
}

func (r *ClearRequest) check() error {
	if r.Slot == "" {
		return errors.New("name a slot")
	}
	if len(r.Slot) > maxSlotName {
		return errors.New("there is no slot of so long a name")
	}
	return nil
}

// maxSlotName bounds what may be asked for as a slot.
const maxSlotName = 64

// ResetRequest asks for the factory's version.
type ResetRequest struct {
	Wait bool `json:"wait,omitempty"` // as in [ActivateRequest]
}

// ReturnRequest asks for the version before.
type ReturnRequest struct {
	Force bool `json:"force,omitempty"` // also if it was reverted
	Wait  bool `json:"wait,omitempty"`  // as in [ActivateRequest]
}

// RehearseRequest asks for a rehearsal.
type RehearseRequest struct {
	Wait bool `json:"wait,omitempty"` // as in [ActivateRequest]
}

func (s *Server) technician(mux *http.ServeMux, t Technician) {
	mux.HandleFunc("POST /v1/rehearse", act(s, t.Rehearse))
	mux.HandleFunc("POST /v1/reset", act(s, t.Reset))
	mux.HandleFunc("POST /v1/return", act(s, t.Return))
	mux.HandleFunc("POST /v1/cancel", act(s, func(ctx context.Context, _ struct{}) Result { return t.Cancel(ctx) }))
	mux.HandleFunc("POST /v1/clear", act(s, t.Clear))
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

// Return implements [Technician].
func (c *Client) Return(ctx context.Context, r ReturnRequest) Result {
	return c.post(ctx, "/v1/return", r)
}

// Cancel implements [Technician].
func (c *Client) Cancel(ctx context.Context) Result {
	return c.post(ctx, "/v1/cancel", struct{}{})
}

// Clear implements [Technician].
func (c *Client) Clear(ctx context.Context, r ClearRequest) Result {
	return c.post(ctx, "/v1/clear", r)
}
