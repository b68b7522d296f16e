package client

import (
	"context"
	"iter"
	"net/http"

	"slipstream/adminpanel/view"
)

// Verbs of rollouts.
const (
	Approve     = "approve"
	Start       = "start"
	Pause       = "pause"
	Resume      = "resume"
	Abort       = "abort"
	AbortRevert = "abort-revert"
	Retry       = "retry"
	SkipWave    = "skip-wave"
)

// Rollouts are all of them, newest first.
func (c *Client) Rollouts(ctx context.Context) (list view.Rollouts, err error) {
	return list, c.get(ctx, "rollouts", nil, &list)
}

// Rollout is one of them.
func (c *Client) Rollout(ctx context.Context, id string) (r view.Rollout, err error) {
	return r, c.get(ctx, path("rollouts", id), nil, &r)
}

// RolloutDevices are a rollout's devices, of a wave (from 1; 0: of all) and in a phase ("":
// in any).
func (c *Client) RolloutDevices(ctx context.Context, id string, wave int, phase string) iter.Seq2[view.RolloutDevice, error] {
	return pages(ctx, func(ctx context.Context, after string) ([]view.RolloutDevice, string, error) {
		var p view.RolloutDevices
		err := c.get(ctx, path("rollouts", id, "devices"), query("wave", number(wave), "phase", phase, "after", after), &p)
		return p.Devices, p.After, err
	})
}

// Preview tells what a plan would do now.
func (c *Client) Preview(ctx context.Context, plan view.Plan) (p view.Preview, err error) {
	return p, c.post(ctx, "rollouts/preview", plan, &p)
}

// CreateRollout makes a rollout of a plan. It does not start it.
func (c *Client) CreateRollout(ctx context.Context, plan view.Plan) (r view.Rollout, err error) {
	return r, c.post(ctx, "rollouts", plan, &r)
}

// Verb does something with a rollout, if its revision is still rev; 0: however it is.
func (c *Client) Verb(ctx context.Context, id, verb string, body view.RolloutVerb, rev int64) (r view.Rollout, err error) {
	return r, c.do(ctx, call{method: http.MethodPost, path: path("rollouts", id, verb), body: body, rev: seen(rev), out: &r})
}
