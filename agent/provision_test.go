package agent_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"testing"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/verify"
)

// A device that was given its version where its image was made runs it at its first
// start, and keeps to its floor.
func TestProvisionedDevice(t *testing.T) {
	d := newDevice(t)
	d.wait("idle", inPhase("idle"))
	one, two := d.pack("1.0.0", goodApp, nil), d.pack("2.0.0", goodApp, nil)
	log := slog.New(slog.NewTextHandler(d.Output(), nil))
	if r := agent.Provision(t.Context(), d.cfg, agent.Provisioned{Package: two}, log); r.Exit != control.ExitError {
		t.Errorf("under a running agent: %+v", r)
	}
	tell, err := os.Readlink(d.cfg.State + "/shared/tell")
	d.must(err)
	d.end()
	<-d.ended
	d.must(os.RemoveAll(d.cfg.State))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if r := agent.Provision(stopped, d.cfg, agent.Provisioned{Package: two}, log); r.Exit != control.ExitError {
		t.Errorf("interrupted: %+v", r)
	}
	if r := agent.Provision(t.Context(), d.cfg, agent.Provisioned{Package: two}, log); r.Exit != control.ExitDone {
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

// What a device's system is, it knows before it was ever updated: packages may require
// it at once. Where the device was given the system by others, its slots are not touched.
func TestProvisionedSystem(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	r := newRebooterOn(d, t.TempDir(), plainFile)
	system := r.system("7.0.0", "", nil)
	release := r.counts
	requires := func(release int64) func(*verify.Manifest) {
		return func(m *verify.Manifest) { m.Requires = &verify.Requires{System: release} }
	}
	one := r.pack("1.0.0", goodApp, requires(release))
	tooNew := r.pack("1.1.0", goodApp, requires(release+1))
	both := r.system("8.0.0", goodApp, nil)
	tell, err := os.Readlink(d.cfg.State + "/shared/tell")
	d.must(err)
	r.off()
	d.must(os.RemoveAll(d.cfg.State))
	log := slog.New(slog.NewTextHandler(d.Output(), nil))
	slots := map[string]string{"a": r.partition("a"), "b": r.partition("b")}
	for code, p := range map[string]agent.Provisioned{
		agent.CodeRequires: {Package: tooNew, System: system, Partitions: slots},
		agent.CodeNoSystem: {Package: one, System: one, Partitions: slots},
		agent.CodeCombined: {Package: both, System: system, Partitions: slots},
	} {
		if got := agent.Provision(t.Context(), d.cfg, p, log); got.Exit != control.ExitRefused || got.Code != code {
			t.Errorf("want %s: %+v", code, got)
		}
	}
	if got := agent.Provision(t.Context(), d.cfg, agent.Provisioned{Package: one}, log); got.Exit != control.ExitRefused || got.Code != agent.CodeRequires {
		t.Errorf("a system is required and not named: %+v", got)
	}
	for _, slot := range []string{"a", "b"} {
		if raw, err := os.ReadFile(r.partition(slot)); err != nil || !bytes.Equal(raw, factoryImage) {
			t.Errorf("slot %s was written by what was refused, %v", slot, err)
		}
	}

	named := d.cfg
	named.State = t.TempDir()
	if got := agent.Provision(t.Context(), named, agent.Provisioned{Package: one, System: system}, log); got.Exit != control.ExitDone {
		t.Fatalf("by name: %+v", got)
	}
	record, err := recordIn(named.State)
	if err != nil || record.System != "a" || record.Systems["a"].Version != "7.0.0" || len(record.Systems) != 1 || record.Live["a"].Version != "1.0.0" {
		t.Errorf("the record says %+v, %v", record, err)
	}
	if raw, err := os.ReadFile(r.partition("a")); err != nil || !bytes.Equal(raw, factoryImage) {
		t.Errorf("a system that was only named was written, %v", err)
	}

	all := agent.Provisioned{Package: one, System: system, Partitions: slots, Both: true}
	if got := agent.Provision(t.Context(), d.cfg, all, log); got.Exit != control.ExitDone {
		t.Fatalf("provision: %+v", got)
	}
	if got := agent.Provision(t.Context(), d.cfg, all, log); got.Exit != control.ExitNothing {
		t.Errorf("once more: %+v", got)
	}
	if record := r.record(); record.Systems["b"] != record.Systems["a"] || record.Live["b"].Version != "1.0.0" {
		t.Errorf("the record says %+v", record)
	}
	for _, slot := range []string{"a", "b"} {
		if is, err := whole(r.dir, slot); err != nil || is != "7.0.0" {
			t.Errorf("slot %s holds %q, %v", slot, is, err)
		}
	}
	d.must(os.MkdirAll(d.cfg.State+"/shared", 0o755))
	d.must(os.Symlink(tell, d.cfg.State+"/shared/tell"))
	d.boot()
	r.expect("a", "1.0.0")
	if got := d.install(r.pack("2.0.0", goodApp, requires(release))); got.Exit != control.ExitDone {
		t.Errorf("a version that requires what is there: %+v", got)
	}
	r.begin(r.system("9.0.0", "", nil))
	r.reboots("b")
	r.ended(control.OutcomePermanent, "", 1)
	r.expect("b", "2.0.0")
}
