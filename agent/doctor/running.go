package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipstream/agent/control"
)

// recent is how many lines of the history are searched for the last commit.
const recent = 200

// running is what the agent says.
func running(ctx context.Context, a Agent) []Finding {
	status, err := a.Status(ctx)
	if err != nil {
		return []Finding{{Name: "agent", State: Missing, Needed: true, Text: plain(err)}}
	}
	all := []Finding{{Name: "agent", State: OK, Needed: true, Text: "it runs, and is " + status.Phase}}
	for _, p := range status.Protections {
		all = append(all, protection(p))
	}
	for _, slot := range status.Slots {
		if slot.Contract != nil && slot.Version == status.Permanent {
			all = append(all, contract(slot.Version, *slot.Contract)...)
		}
	}
	for _, problem := range status.Problems {
		all = append(all, Finding{Name: "problem", State: Degraded, Text: problem})
	}
	records, err := a.History(ctx, recent)
	if err != nil {
		return append(all, Finding{Name: "last-commit", State: Degraded, Text: plain(err)})
	}
	return append(all, lastCommit(status, records))
}

// protects says what an app's protection is good for.
var protects = map[string]string{
	"user":              "tell an application's greenlight marker from an operator's, and keep both versions apart",
	"no-new-privileges": "keep what an application starts from getting more rights",
	"capabilities":      "leave an application without root's powers",
	"mounts":            "show an application its own files only, and its slot read-only",
	"landlock":          "let the kernel judge each file that an application opens",
}

// protection is one as the agent's newest start of an app has found it.
func protection(p control.Protection) Finding {
	return probe{"app-" + p.Name, protects[p.Name], false, func() error {
		if p.On {
			return nil
		}
		if p.Name == "user" { // who cannot be told apart is to be said in any case
			return fmt.Errorf("%s, and nobody can tell who made a greenlight marker", p.Why)
		}
		return errors.New(p.Why)
	}}.finding()
}

// contract tells what the installed version loses by the parts of the contract that it
// makes no use of.
func contract(version string, c control.Contract) []Finding {
	look := func(name, brings string, err error) Finding {
		return probe{name, brings, false, func() error { return err }}.finding()
	}
	var listens, state error
	hears := "hear its role, and pass a sensor, an encoder or a listening socket that one process at a time may have to the next version " +
		"(without that such a device needs the overlap none, with a gap at each update)"
	if c.RTSP {
		hears += ", and be asked for key frames (without that set its key frame interval to half a second: viewers see up to that much again at a revert)"
	}
	if !c.Control {
		listens = fmt.Errorf("%s does not listen at SLIPSTREAM_CONTROL", version)
	}
	switch {
	case c.State == "":
		state = fmt.Errorf("the manifest of %s declares no app.state", version)
	case !c.Handed:
		state = fmt.Errorf("%s declares a state of schema %q and has handed none over", version, c.State)
	}
	return []Finding{
		look("app-control", hears, listens),
		look("app-state", "go on from what it knew, without a seam, in the next version and after a crash", state),
	}
}

// lastCommit tells how long ago a version became permanent, and what was tried since.
func lastCommit(s control.Status, records []control.Record) Finding {
	f := Finding{Name: "last-commit", State: OK}
	since := 0
	for _, r := range records {
		if r.Outcome == control.OutcomePermanent {
			f.Text = fmt.Sprintf("%s is permanent since %s (%s ago)", r.To, r.Time.UTC().Format(time.DateOnly), ago(s.Time.Sub(r.Time)))
			if since > 0 {
				f.State = Degraded
				f.Text += fmt.Sprintf("; reverted or refused since then: %d (slipstream explain)", since)
			}
			return f
		}
		if r.Outcome != control.OutcomeRehearsed {
			since++
		}
	}
	if s.Permanent == "" {
		return Finding{Name: "last-commit", State: Degraded, Text: "no version is permanent yet: slipstream install FILE"}
	}
	f.Text = s.Permanent + " is permanent; when it became so is not in the history"
	return f
}

func ago(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%.1f h", d.Hours())
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
