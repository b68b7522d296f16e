package agent_test

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"slipstream/agent"
	"slipstream/agent/control"
)

// A device that was given its version where its image was made runs it at its first
// start, and keeps to its floor.
func TestProvisionedDevice(t *testing.T) {
	d := newDevice(t)
	d.wait("idle", inPhase("idle"))
	one, two := d.pack("1.0.0", goodApp, nil), d.pack("2.0.0", goodApp, nil)
	log := slog.New(slog.NewTextHandler(d.Output(), nil))
	if r := agent.Provision(t.Context(), d.cfg, two, log); r.Exit != control.ExitError {
		t.Errorf("under a running agent: %+v", r)
	}
	tell, err := os.Readlink(d.cfg.State + "/shared/tell")
	d.must(err)
	d.end()
	<-d.ended
	d.must(os.RemoveAll(d.cfg.State))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if r := agent.Provision(stopped, d.cfg, two, log); r.Exit != control.ExitError {
		t.Errorf("interrupted: %+v", r)
	}
	if r := agent.Provision(t.Context(), d.cfg, two, log); r.Exit != control.ExitDone {
		t.Fatalf("provision: %+v", r)
	}
	d.must(os.MkdirAll(d.cfg.State+"/shared", 0o755))
	d.must(os.Symlink(tell, d.cfg.State+"/shared/tell"))
	d.boot()
	s := d.wait("app", func(s control.Status) bool { return slot(s, "a").App == "ready" })
	if s.Permanent != "2.0.0" || slot(s, "a").State != control.StatePermanent || slot(s, "b").State != control.StateEmpty {
		t.Errorf("status: %+v", s)
	}
	if r := d.stage(one); r.Exit != control.ExitRefused {
		t.Errorf("a package below the floor: %+v", r)
	}
	d.mustInstall("3.0.0")
}
