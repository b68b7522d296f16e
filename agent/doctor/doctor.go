package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"slipstream/agent/config"
	"slipstream/agent/control"
)

// States of a finding.
const (
	OK       = "ok"
	Degraded = "degraded" // it works, and not as well as it could
	Missing  = "missing"
)

// Finding is one thing that was looked at.
type Finding struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Text   string `json:"text"`             // one sentence: what it brings here, or what it would
	Needed bool   `json:"needed,omitempty"` // without it the device cannot do its work, or not be updated
}

// Ill says whether the device cannot do without what is missing.
func Ill(all []Finding) bool {
	for _, f := range all {
		if f.Needed && f.State == Missing {
			return true
		}
	}
	return false
}

// Agent is a running agent's word on its device; the client of its socket is one.
type Agent interface {
	Status(ctx context.Context) (control.Status, error)
	History(ctx context.Context, most int) ([]control.Record, error)
}

// Look looks at the machine, at the device that cfg describes, and at its agent.
func Look(ctx context.Context, cfg config.Config, a Agent) []Finding {
	var all []Finding
	for _, p := range slices.Concat(machine(cfg), device(cfg), started(cfg)) {
		all = append(all, p.finding())
	}
	return append(all, running(ctx, a)...)
}

// probe is one thing to look at.
type probe struct {
	name   string
	brings string       // what it is good for, as the end of "it …"
	needed bool         // see Finding
	look   func() error // nil: it is there
}

// degraded is the error of what is there, and not as it should be.
type degraded struct{ error }

func degradedf(format string, a ...any) error { return degraded{fmt.Errorf(format, a...)} }

// notice is no error: what was found is worth more than what it is good for.
type notice struct{ error }

func noticef(format string, a ...any) error { return notice{fmt.Errorf(format, a...)} }

func (p probe) finding() Finding {
	f := Finding{Name: p.name, State: OK, Text: p.brings, Needed: p.needed}
	err := p.look()
	if n, ok := errors.AsType[notice](err); ok {
		f.Text = n.Error()
		return f
	}
	if err == nil {
		return f
	}
	f.State = Missing
	if _, ok := errors.AsType[degraded](err); ok {
		f.State = Degraded
	}
	f.Text = err.Error()
	if p.brings != "" {
		f.Text += "; it would " + p.brings
	}
	if f.State == Degraded {
		f.Text = err.Error()
	}
	return f
}
