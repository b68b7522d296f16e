package doctor

import (
	"context"
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
	for _, problem := range status.Problems {
		all = append(all, Finding{Name: "problem", State: Degraded, Text: problem})
	}
	records, err := a.History(ctx, recent)
	if err != nil {
		return append(all, Finding{Name: "last-commit", State: Degraded, Text: plain(err)})
	}
	return append(all, lastCommit(status, records))
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
		since++
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
