package agent_test

import (
	"os"
	"path/filepath"
	"testing"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/verify"
)

// The version that a device came with may be older than what runs. Nothing else may, and
// the floors stay where they are.
func TestResetToTheFactory(t *testing.T) {
	d := newDevice(t)
	factory := d.pack("1.0.0", `[ -e "$SLIPSTREAM_SHARED/fit" ] || exit 1; `+goodApp, nil)
	if r := d.agent.Reset(t.Context(), control.ResetRequest{Wait: true}); r.Exit != control.ExitRefused || r.Code != agent.CodeNoFactory {
		t.Fatalf("reset without a package: %+v", r)
	}
	d.must(os.Link(factory, d.cfg.Factory))
	between := d.pack("1.5.0", goodApp, nil)
	for _, version := range []string{"2.0.0", "3.0.0", "4.0.0"} {
		d.mustInstall(version)
	}
	if r := d.install(factory); r.Exit != control.ExitRefused || r.Code != verify.CodeRollback {
		t.Fatalf("an old version installed as any other: %+v", r)
	}
	if r := d.agent.Reset(t.Context(), control.ResetRequest{Wait: true}); r.Exit != control.ExitReverted || r.Record.From != "4.0.0" {
		t.Fatalf("reset to a version that ends at once: %+v", r)
	}
	d.must(os.WriteFile(filepath.Join(d.cfg.State, "shared", "fit"), nil, 0o644))
	if r := d.agent.Reset(t.Context(), control.ResetRequest{Wait: true}); r.Exit != control.ExitDone {
		t.Fatalf("reset, although it was reverted before: %+v", r)
	}
	d.restart()
	d.wait("factory's version", func(s control.Status) bool { return s.Permanent == "1.0.0" && s.Phase == "idle" })
	if r := d.agent.Reset(t.Context(), control.ResetRequest{Wait: true}); r.Exit != control.ExitNothing {
		t.Errorf("reset once more: %+v", r)
	}
	more := d.pack("4.5.0", goodApp, func(m *verify.Manifest) {
		m.ReleaseCounter = d.counts + 1 // above the floor
		sub := m.App.Streams[0]
		sub.Name = "sub"
		m.App.Streams = append(m.App.Streams, sub)
	})
	d.counts++
	if r := d.install(more); r.Exit != control.ExitDone {
		t.Fatalf("a version with more streams: %+v", r)
	}
	if r := d.agent.Reset(t.Context(), control.ResetRequest{Wait: true}); r.Exit != control.ExitDone {
		t.Errorf("reset from a version with more streams: %+v", r)
	}
	if r := d.install(between); r.Exit != control.ExitRefused || r.Code != verify.CodeRollback {
		t.Errorf("a version below the floor after a reset: %+v", r)
	}
	d.mustInstall("5.0.0")
}

// What the signature and the security epoch forbid, no factory brings back.
func TestResetKeepsTheSecurityEpoch(t *testing.T) {
	d := newDevice(t)
	d.must(os.Link(d.pack("1.0.0", goodApp, nil), d.cfg.Factory))
	if r := d.install(d.pack("2.0.0", goodApp, func(m *verify.Manifest) { m.SecurityEpoch = 1 })); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	if r := d.agent.Reset(t.Context(), control.ResetRequest{Wait: true}); r.Exit != control.ExitRefused || r.Code != verify.CodeEpoch {
		t.Errorf("reset below the epoch: %+v", r)
	}
	key := d.key
	d.key = newKey(t)
	strange := d.pack("0.9.0", goodApp, nil)
	d.key = key
	d.must(os.Remove(d.cfg.Factory))
	d.must(os.Link(strange, d.cfg.Factory))
	if r := d.agent.Reset(t.Context(), control.ResetRequest{Wait: true}); r.Exit != control.ExitRefused || r.Code != verify.CodeUntrusted {
		t.Errorf("reset to a stranger's version: %+v", r)
	}
}
