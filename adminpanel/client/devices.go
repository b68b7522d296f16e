package client

import (
	"context"
	"iter"
	"net/http"
	"time"

	"slipstream/adminpanel/view"
)

// pageSize is how many items are asked for at a time.
const pageSize = 500

// Verbs that devices are asked to.
const (
	Stage    = "stage"
	Activate = "activate"
	Confirm  = "confirm"
	Revert   = "revert"
	Cancel   = "cancel"
	Upgrade  = "upgrade"
)

// Devices are all that a selector meets, in the order of their ids.
func (c *Client) Devices(ctx context.Context, selector string) iter.Seq2[view.Device, error] {
	return pages(ctx, func(ctx context.Context, after string) ([]view.Device, string, error) {
		p, err := c.DevicePage(ctx, selector, after, pageSize)
		return p.Devices, p.After, err
	})
}

// DevicePage is one page of them; it tells how many there are in all.
func (c *Client) DevicePage(ctx context.Context, selector, after string, limit int) (p view.Devices, err error) {
	return p, c.get(ctx, "devices", query("q", selector, "after", after, "limit", number(limit)), &p)
}

// Device is everything about one.
func (c *Client) Device(ctx context.Context, id string) (d view.DeviceDetail, err error) {
	return d, c.get(ctx, path("devices", id), nil, &d)
}

// History is what a device went through.
func (c *Client) History(ctx context.Context, id string) (h view.History, err error) {
	return h, c.get(ctx, path("devices", id, "history"), nil, &h)
}

// PatchDevice changes what people say of a device, if its revision is still rev; 0: whatever
// it is.
func (c *Client) PatchDevice(ctx context.Context, id string, patch view.DevicePatch, rev int64) (d view.DeviceDetail, err error) {
	return d, c.do(ctx, call{method: http.MethodPatch, path: path("devices", id), body: patch, rev: seen(rev), out: &d})
}

// RevokeDevice shuts a device out: its certificate lets it in no more.
func (c *Client) RevokeDevice(ctx context.Context, id string) error {
	return c.delete(ctx, path("devices", id), 0)
}

// Wish is what a device is asked for.
type Wish struct {
	Verb    string        // one of the verbs above
	Release string        // for [Stage] and [Upgrade]
	Force   bool          // also a version that it went back from before
	Wait    time.Duration // for its answer, at most; 0: not at all
}

// maxWait is how long one request waits for a device.
const maxWait = 30 * time.Second

// Ask asks a device for something. If what comes back is not Done, the wish stands, and
// [Client.Follow] tells how it ends.
func (c *Client) Ask(ctx context.Context, device string, w Wish) (a view.Asked, err error) {
	var body any = struct{}{}
	switch w.Verb {
	case Stage:
		body = view.StageRequest{Release: w.Release, Force: w.Force}
	case Upgrade:
		body = view.UpgradeRequest{Release: w.Release, Force: w.Force}
	case Activate:
		body = view.ActivateRequest{Force: w.Force}
	}
	wait := min(w.Wait, maxWait)
	ask := call{method: http.MethodPost, path: path("devices", device, w.Verb), body: body, wait: wait, out: &a}
	if wait > 0 {
		ask.query = query("wait", wait.String())
	}
	return a, c.do(ctx, ask)
}

// followEvery is how often a device's state is asked for while it is waited for.
const followEvery = time.Second

// Follow calls back with what the panel knows of a device until the wish with an id has its
// answer, or another wish has taken its place.
func (c *Client) Follow(ctx context.Context, device, ask string, each func(view.DeviceDetail)) (view.Asked, error) {
	for {
		d, err := c.Device(ctx, device)
		if err != nil {
			return view.Asked{}, err
		}
		if each != nil {
			each(d)
		}
		switch {
		case d.Asked == nil || d.Asked.ID != ask:
			return view.Asked{}, &Problem{Problem: view.Problem{Status: http.StatusConflict, Code: "changed",
				Detail: "somebody has asked " + device + " for something else meanwhile: look at it again"}}
		case d.Asked.Done:
			return *d.Asked, nil
		}
		if err := pause(ctx, followEvery); err != nil {
			return view.Asked{}, err
		}
	}
}

// Versions counts the devices that a selector meets by version.
func (c *Client) Versions(ctx context.Context, selector string) (v view.Versions, err error) {
	return v, c.get(ctx, "versions", query("q", selector), &v)
}

// Hub is how the panel itself does.
func (c *Client) Hub(ctx context.Context) (h view.Hub, err error) {
	return h, c.get(ctx, "hub", nil, &h)
}

// At are devices that run a version and meet a selector, at most n (0: all), in an order that
// stays the same.
func (c *Client) At(ctx context.Context, version, selector string, n int) (a view.At, err error) {
	return a, c.get(ctx, "at", query("version", version, "q", selector, "n", number(n)), &a)
}
