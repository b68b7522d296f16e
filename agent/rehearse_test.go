package agent_test

import (
	"os"
	"path/filepath"
	"testing"

	"slipstream/agent/control"
)

// A second copy runs out of the permanent version's slot, on data of its own. What was
// in the spare slot, and the version before's data, are there afterwards.
func TestRehearsal(t *testing.T) {
	d := newDevice(t)
	keep := `echo "$SLIPSTREAM_VERSION $SLIPSTREAM_ROLE" >>"$SLIPSTREAM_DATA/runs"; ` +
		`if [ "$SLIPSTREAM_ROLE" = rehearsal ]; then until [ -e "$SLIPSTREAM_SHARED/go" ]; do sleep 0.01; done; fi; `
	shared := filepath.Join(d.cfg.State, "shared", "go")
	d.must(os.WriteFile(shared, nil, 0o644))
	for _, version := range []string{"1.0.0", "2.0.0"} {
		if r := d.install(d.pack(version, keep+goodApp, nil)); r.Exit != control.ExitDone {
			t.Fatalf("install: %+v", r)
		}
	}
	d.wait("the version before to be gone", func(s control.Status) bool { return slot(s, "a").App == "stopped" })
	if r := d.agent.Rehearse(t.Context(), control.RehearseRequest{Wait: true}); r.Exit != control.ExitDone || r.Record.Outcome != control.OutcomeRehearsed {
		t.Fatalf("rehearsal: %+v", r)
	}
	expectData(t, d, "a", "1.0.0 trial\n")
	expectData(t, d, "b", "1.0.0 trial\n2.0.0 trial\n")
	if _, err := os.Stat(filepath.Join(d.cfg.State, "data", "rehearsal")); !os.IsNotExist(err) {
		t.Errorf("data of the rehearsal are left: %v", err)
	}
	before, err := d.agent.Status(t.Context())
	d.must(err)
	if s := slot(before, "a"); s.State != control.StatePrevious || s.Version != "1.0.0" {
		t.Errorf("the spare slot holds %+v", s)
	}

	// What is staged stays so, and can be tried; also after an agent's restart meanwhile.
	if r := d.stage(d.pack("3.0.0", goodApp, nil)); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	d.must(os.Remove(shared)) // so that it cannot end too soon
	if r := d.agent.Rehearse(t.Context(), control.RehearseRequest{}); r.Exit != control.ExitDone {
		t.Fatalf("rehearsal: %+v", r)
	}
	runs := func(s control.Status) bool { return s.Phase == "starting" && slot(s, "a").PID != 0 }
	running := d.wait("rehearsal", runs)
	d.restart()
	again := d.wait("rehearsal", runs)
	if !again.Trial.Rehearsal || slot(again, "a").PID != slot(running, "a").PID {
		t.Errorf("after the restart: %+v, %+v", again.Trial, slot(again, "a"))
	}
	d.must(os.WriteFile(shared, nil, 0o644))
	d.wait("end of the rehearsal", inPhase("staged"))
	if r := d.agent.Activate(t.Context(), control.ActivateRequest{Wait: true}); r.Exit != control.ExitDone {
		t.Errorf("activate: %+v", r)
	}
}

// A rehearsal that fails says why, and is not held against the version.
func TestRehearsalFails(t *testing.T) {
	d := newDevice(t)
	script := `if [ "$SLIPSTREAM_ROLE" = rehearsal ]; then echo no camera; exit 7; fi; ` + goodApp
	if r := d.install(d.pack("1.0.0", script, nil)); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	r := d.agent.Rehearse(t.Context(), control.RehearseRequest{Wait: true})
	if r.Exit != control.ExitReverted || r.Record == nil || r.Record.Reason != "exit" || r.Record.Evidence[len(r.Record.Evidence)-1] != "no camera" {
		t.Errorf("rehearsal: %+v", r)
	}
	d.wait("permanent version alone", func(s control.Status) bool {
		return s.Phase == "idle" && s.Permanent == "1.0.0" && slot(s, "b").State == control.StateEmpty
	})
}

func expectData(t *testing.T, d *device, slot, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(d.cfg.State, "data", slot, "runs"))
	if err != nil || string(got) != want {
		t.Errorf("data in slot %s: %q, %v; want %q", slot, got, err, want)
	}
}
