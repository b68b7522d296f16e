package drive

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

const (
	prefixAsks = "da/"
	ofRollout  = "rollout "
)

// Ask is the newest wish of a device, as it stands in the store.
type Ask struct {
	Device   string      `json:"-"`
	Epoch    int64       `json:"epoch"`
	Want     string      `json:"want"`  // as in package rollout
	Owner    string      `json:"owner"` // "rollout ID", or a person
	Release  string      `json:"release,omitempty"`
	Live     wire.Target `json:"live,omitzero"`
	Activate bool        `json:"activate,omitempty"` // it shall be tried
	Force    bool        `json:"force,omitempty"`
	// Tried and Ended are how far a person's ask has come: an agent that has forgotten that
	// must not begin another trial. Of a rollout's ask Activate and Force say it.
	Tried bool `json:"tried,omitempty"` // its trial has begun
	Ended bool `json:"ended,omitempty"` // and is over
	// Before marks the newest line of the device's history when it was asked for the
	// version: an end that is told there is of an earlier try.
	Before string    `json:"before,omitempty"`
	At     time.Time `json:"at"`
}

// Rollout is the id of the rollout that asks, or "".
func (a Ask) Rollout() string {
	id, ok := strings.CutPrefix(a.Owner, ofRollout)
	if !ok {
		return ""
	}
	return id
}

// Desired is what the link tells the device.
func (a Ask) Desired() wire.Desired {
	d := wire.Desired{Epoch: uint64(a.Epoch)} //nolint:gosec // epochs count up from 0
	if a.Want != rollout.WantNothing {
		d.Live, d.Activate, d.Force = a.Live, a.Activate && !a.Ended, a.Force && !a.Tried
	}
	return d
}

func (a Ask) op() (store.Op, error) {
	text, err := json.Marshal(a)
	return store.Op{Key: prefixAsks + a.Device, Value: text}, err
}

// ReadAsk reads one out of the store's da/ keys.
func ReadAsk(item store.Item) (Ask, error) {
	var a Ask
	if err := json.Unmarshal(item.Value, &a); err != nil {
		return a, fmt.Errorf("read %s: %w", item.Key, err)
	}
	a.Device = strings.TrimPrefix(item.Key, prefixAsks)
	return a, nil
}

// askOf is what a rollout wants of a device by its course. The ask before gives what does
// not change with it.
func (r *run) askOf(c rollout.Course, before Ask, last string, now time.Time) Ask {
	a := Ask{
		Device: c.Device, Epoch: c.Epoch, Want: c.Want, Owner: ofRollout + r.ID, Release: c.Steps[c.Step],
		Before: before.Before, At: before.At,
	}
	again := a.Epoch == before.Epoch && a.Owner == before.Owner
	if again { // the course may be at the next release, which was not asked for yet
		a.Release = before.Release
	}
	a.Live = r.Targets[a.Release]
	switch c.Phase {
	case view.PhaseActivating, view.PhaseTrial:
		a.Activate = c.Want == rollout.WantActivate || c.Want == rollout.WantConfirm
	}
	switch c.Phase {
	case view.PhaseStaging, view.PhaseStaged, view.PhaseActivating:
		// A trial has begun after that: to begin another one by an agent that has
		// forgotten the first would be twice.
		a.Force = c.Force
	}
	if again {
		return a
	}
	a.At = now
	if c.Want == rollout.WantStage || c.Want == rollout.WantActivate {
		a.Before = last
	}
	return a
}

// tries tells whether it can bring about a trial, or a stage by force.
func (a Ask) tries() bool { return a.Activate || a.Force }

// same tells whether two asks say the same.
func (a Ask) same(b Ask) bool {
	return a.Epoch == b.Epoch && a.Want == b.Want && a.Owner == b.Owner && a.Release == b.Release &&
		a.Live == b.Live && a.Activate == b.Activate && a.Force == b.Force && a.Before == b.Before &&
		a.Tried == b.Tried && a.Ended == b.Ended
}

// markOf tells lines of a history apart.
func markOf(r *control.Record) string {
	if r == nil {
		return ""
	}
	return r.Time.UTC().Format(time.RFC3339Nano) + " " + r.Trial
}
