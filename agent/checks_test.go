package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/agent/control"
	"slipstream/verify"
)

// checks declares checks that are sampled quickly.
func checks(list ...verify.Check) func(*verify.Manifest) {
	return func(m *verify.Manifest) {
		for i := range list {
			list[i].EveryMS, list[i].TimeoutMS, list[i].Failures = 100, 10_000, 1
		}
		m.App.Checks = list
	}
}

// TestChecksAreJudged runs a program of the slot, looks at the app's real processes,
// and lets a file decide.
func TestChecksAreJudged(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	self := verify.Check{Name: "self", Kind: verify.CheckExec, Exec: []string{"/bin/sh", "-c",
		`test "$SLIPSTREAM_ROLE" = trial && test -e ok || { echo "no picture in $SLIPSTREAM_VERSION" >&2; exit 3; }`}}
	tasks := verify.Check{Name: "tasks", Kind: verify.CheckProcess, Measure: verify.MeasureTasks, Max: new(50.0)}
	web := verify.Check{Name: "web", Kind: verify.CheckHTTP, URL: "http://127.0.0.1:1/", Severity: verify.SeverityWanted}
	shell := `sleep 1000 & touch ok; tell READY=1; touch "$SLIPSTREAM_GREENLIGHT"; wait`

	if r := d.install(d.pack("2.0.0", shell, checks(self, tasks, web))); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	r := d.last()
	if r.Proof == nil || len(r.Proof.Verdicts) != 3 {
		t.Fatalf("history: %+v", r.Proof)
	}
	for i, v := range r.Proof.Verdicts {
		if want := i < 2; v.Holds != want || len(v.Samples) == 0 || v.Stream != "" {
			t.Errorf("%+v", v)
		}
	}
	if v := r.Proof.Verdicts[1]; v.Value < 2 || v.Value > 20 { // the shell and its sleep
		t.Errorf("tasks: %+v", v)
	}

	d.begin(d.pack("3.0.0", strings.Replace(shell, `touch "$SLIPSTREAM_GREENLIGHT"`, ":", 1), checks(self)))
	d.wait("judged", func(s control.Status) bool {
		return s.Trial != nil && len(s.Trial.Verdicts) == 1 && s.Trial.Verdicts[0].Holds
	})
	d.wait("standing for a while", func(s control.Status) bool { // it says since when, and goes on counting
		return s.Trial != nil && len(s.Trial.Verdicts) == 1 && s.Trial.Verdicts[0].SinceMS > 300
	})
	d.must(os.Remove(filepath.Join(d.cfg.State, "data", "a", "ok")))
	d.wait("revert", func(s control.Status) bool { return s.Phase == "idle" && s.Permanent == "2.0.0" })
	if r := d.last(); r.Reason != "invariant:self" || !strings.Contains(r.Detail, "no picture in 3.0.0") {
		t.Errorf("history: %+v", r)
	}
}
