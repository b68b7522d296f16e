package control

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// Keeper changes whom a device trusts. It is apart from [Backend], which the fleet's
// link calls too: what is asked here has the word of a person at the device, and a
// fleet can neither take one nor hold it.
type Keeper interface {
	// TakeTrust follows roots and takes the fleet's word of the time out of files,
	// such as came on a stick. None of them is believed more than one on the link.
	TakeTrust(ctx context.Context, r TrustRequest) Result

	// Enroll makes the device belong to a fleet.
	Enroll(ctx context.Context, r EnrollRequest) Result

	// Leave makes it belong to none.
	Leave(ctx context.Context, r LeaveRequest) Result
}

// TrustRequest names files on the device.
type TrustRequest struct {
	Paths []string `json:"paths"`
}

// EnrollRequest names the file of a fleet's root on the device; or a panel, with the
// token that it has made.
type EnrollRequest struct {
	Path  string `json:"path,omitempty"`
	Panel string `json:"panel,omitempty"` // https://…
	Token string `json:"token,omitempty"`
}

// LeaveRequest names the device itself: a command that was meant for another one
// does nothing.
type LeaveRequest struct {
	Device string `json:"device"`
}

// maxTrustPaths is how many files one request may name.
const maxTrustPaths = 64

func (r *TrustRequest) check() error {
	if len(r.Paths) == 0 || len(r.Paths) > maxTrustPaths {
		return fmt.Errorf("give 1 to %d paths", maxTrustPaths)
	}
	for _, path := range r.Paths {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("path %q must be absolute", path)
		}
	}
	return nil
}

func (r *EnrollRequest) check() error {
	switch {
	case (r.Panel == "") != (r.Token == ""), (r.Panel == "") == (r.Path == ""):
		return errors.New("give either a path, or a panel and a token")
	case r.Panel != "":
		return nil
	}
	if !filepath.IsAbs(r.Path) {
		return fmt.Errorf("path %q must be absolute", r.Path)
	}
	return nil
}

func (r *LeaveRequest) check() error {
	if r.Device == "" {
		return errors.New("give the device's name")
	}
	return nil
}

var _ Keeper = (*Client)(nil)

// TakeTrust implements [Keeper].
func (c *Client) TakeTrust(ctx context.Context, r TrustRequest) Result {
	return c.post(ctx, "/v1/trust", r)
}

// Enroll implements [Keeper].
func (c *Client) Enroll(ctx context.Context, r EnrollRequest) Result {
	return c.post(ctx, "/v1/enroll", r)
}

// Leave implements [Keeper].
func (c *Client) Leave(ctx context.Context, r LeaveRequest) Result {
	return c.post(ctx, "/v1/leave", r)
}
