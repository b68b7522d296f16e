package agent_test

import (
	"crypto/ecdsa"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/verify"
	"slipstream/verify/trust"
	"slipstream/verify/trusttest"
)

// vendor is the root of a vendor whose release key is a device's.
func vendor(d *device) trusttest.Root {
	return trusttest.Root{
		Version: 1, Expires: time.Now().AddDate(10, 0, 0), Terms: verify.Terms{Kind: verify.KindVendor},
		Root: trusttest.Role{Keys: trusttest.Keys(d, 1)}, Targets: trusttest.Role{Keys: []*ecdsa.PrivateKey{d.key}},
	}
}

func (d *device) trusts(r trusttest.Root) {
	d.Helper()
	d.must(os.WriteFile(d.cfg.Trust, r.Sign(d), 0o644))
}

// kept is the device's trust as its files say it.
func (d *device) kept() verify.Device {
	d.Helper()
	s, err := trust.Open(filepath.Join(d.cfg.State, agent.TrustDir), trust.Factory{})
	d.must(err)
	dev, err := s.Device("camera")
	d.must(err)
	return dev
}

// A release key that was rotated out accepts nothing more, and takes nothing away:
// what it signed goes on, and starts again, also when the trust state is lost.
func TestReleaseKeyIsRotated(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	root := vendor(d)
	d.trusts(root)
	d.mustInstall("1.0.0")
	late := d.pack("1.1.0", goodApp, nil) // by the old key
	root.Version++
	d.key = newKey(t)
	root.Targets.Keys = []*ecdsa.PrivateKey{d.key}
	d.trusts(root)
	if r := d.stage(late); r.Code != verify.CodeUntrusted {
		t.Errorf("the old key's package: %+v", r)
	}
	again := func(what string) {
		t.Helper()
		pid := slot(d.wait(what, func(s control.Status) bool { return slot(s, "a").App == "ready" }), "a").PID
		d.kill("a")
		s := d.wait(what+", restarted", func(s control.Status) bool { return slot(s, "a").App == "ready" && slot(s, "a").PID != pid })
		if len(s.Problems) > 0 && what == "app" {
			t.Errorf("%s: %q", what, s.Problems)
		}
	}
	again("app")
	d.end()
	<-d.ended
	for _, name := range []string{"state.0", "state.1"} {
		d.must(os.WriteFile(filepath.Join(d.cfg.State, agent.TrustDir, name), []byte("rubbish"), 0o600))
	}
	d.boot()
	d.wait("a word about the lost state", func(s control.Status) bool {
		return slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "trust state was lost") })
	})
	again("app after the loss")
	d.mustInstall("1.2.0")
}

// Floors rise once a version is permanent, and no further than the version before
// satisfies, which may have to come back.
func TestFloorsAfterCommits(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	epoch := func(n int64) func(*verify.Manifest) { return func(m *verify.Manifest) { m.SecurityEpoch = n } }
	for _, step := range []struct{ epoch, floorCounter, floorEpoch int64 }{{1, 1, 1}, {2, 1, 1}, {2, 2, 2}} {
		if r := d.install(d.pack("1.0.0", goodApp, epoch(step.epoch))); r.Exit != control.ExitDone {
			t.Fatalf("install: %+v", r)
		}
		if dev := d.kept(); dev.FloorCounter != step.floorCounter || dev.FloorEpoch != step.floorEpoch {
			t.Errorf("floors %d and %d, want %+v", dev.FloorCounter, dev.FloorEpoch, step)
		}
		if r := d.stage(d.pack("1.0.0", goodApp, epoch(step.epoch-1))); r.Exit != control.ExitRefused || r.Code != verify.CodeEpoch {
			t.Errorf("a package of an older security epoch than %d: %+v", step.epoch, r)
		}
		d.counts--
	}
}

func TestFleetsOrderIsNeeded(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	fleet := trusttest.Root{
		Version: 1, Expires: time.Now().AddDate(10, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
		Root: trusttest.Role{Keys: trusttest.Keys(d, 1)}, Targets: trusttest.Role{Keys: trusttest.Keys(d, 1)},
	}
	d.cfg.Fleet.Root = filepath.Join(filepath.Dir(d.cfg.Trust), "fleet.json")
	d.restart() // and the file is not there
	d.wait("a word about the missing root", func(s control.Status) bool {
		return slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "fleet's root") })
	})
	path := d.pack("1.0.0", goodApp, nil)
	if r := d.stage(path); r.Exit != control.ExitError {
		t.Errorf("without the fleet's root: %+v", r)
	}
	d.must(os.WriteFile(d.cfg.Fleet.Root, fleet.Sign(d), 0o644))
	if r := d.stage(path); r.Exit != control.ExitRefused || r.Code != verify.CodeNoOrder {
		t.Errorf("without an order: %+v", r)
	}
	fleet.Terms.Offline = verify.OfflineRelease
	fleet.Version++
	d.must(os.WriteFile(d.cfg.Fleet.Root, fleet.Sign(d), 0o644))
	if r := d.stage(path); r.Exit != control.ExitDone {
		t.Errorf("by a policy that needs none: %+v", r)
	}
	d.cfg.Fleet.Root = ""
	if dev := d.kept(); dev.Fleet == nil || dev.Fleet.Root.Version() != 2 {
		t.Errorf("the device's fleet is %+v", dev.Fleet)
	}
}

// A fleet's order may come by the link, beside the package; so may newer roots and the
// time. All of it is believed by its signatures.
func TestWhatTheFleetSaysByTheLink(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	orders, clock := trusttest.Keys(d, 1), trusttest.Keys(d, 1)
	fleet := trusttest.Root{
		Version: 1, Expires: time.Now().AddDate(10, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
		Root: trusttest.Role{Keys: trusttest.Keys(d, 1)}, Targets: trusttest.Role{Keys: orders}, Timestamps: trusttest.Role{Keys: clock},
	}
	d.cfg.Fleet.Root = filepath.Join(filepath.Dir(d.cfg.Trust), "fleet.json")
	d.must(os.WriteFile(d.cfg.Fleet.Root, fleet.Sign(d), 0o644))
	d.restart()
	path := d.pack("1.0.0", goodApp, nil)
	f, err := os.Open(path)
	d.must(err)
	defer f.Close()
	info, err := f.Stat()
	d.must(err)
	p, err := verify.Unverified(f, info.Size())
	d.must(err)
	order := func(device string, by ...*ecdsa.PrivateKey) [][]byte {
		return trusttest.Order(d, verify.Order{
			Format: verify.OrderFormat, Devices: []string{device}, Sequence: 7, Package: p.Digest,
			IssuedAt: time.Now().Add(-time.Hour), Expires: time.Now().Add(time.Hour),
		}, by...)
	}
	stage := func(order [][]byte) control.Result {
		return d.agent.Stage(t.Context(), control.StageRequest{Path: path, Order: order})
	}
	for _, refused := range []struct {
		order [][]byte
		code  string
	}{
		{nil, verify.CodeNoOrder}, {order("cam-1", newKey(t)), verify.CodeOrderSigner}, {order("cam-2", orders...), verify.CodeOrderForeign},
	} {
		if r := stage(refused.order); r.Exit != control.ExitRefused || r.Code != refused.code {
			t.Errorf("got %+v, want %s", r, refused.code)
		}
	}
	if r := stage(order("cam-1", orders...)); r.Exit != control.ExitDone {
		t.Fatalf("with the fleet's order: %+v", r)
	}
	if dev := d.kept(); dev.Fleet.Sequence != 7 {
		t.Errorf("the order is not remembered: %+v", dev.Fleet)
	}

	fleet.Version++
	now := time.Now().Add(time.Hour).UTC()
	foreign := fleet
	foreign.Root = trusttest.Role{Keys: trusttest.Keys(d, 1)}
	if r := d.agent.LearnTrust(t.Context(), nil, [][]byte{foreign.Sign(d)}, nil); r.Exit != control.ExitRefused {
		t.Errorf("a root that does not follow: %+v", r)
	}
	if r := d.agent.LearnTrust(t.Context(), nil, nil, trusttest.Freshness(d, now, newKey(t))); r.Exit != control.ExitRefused {
		t.Errorf("a foreign clock: %+v", r)
	}
	if r := d.agent.LearnTrust(t.Context(), nil, [][]byte{fleet.Sign(d)}, trusttest.Freshness(d, now, clock...)); r.Exit != control.ExitDone {
		t.Errorf("the fleet's own: %+v", r)
	}
	if dev := d.kept(); dev.Fleet.Root.Version() != 2 || dev.Time.Before(now.Truncate(time.Second)) {
		t.Errorf("root %d at %v", dev.Fleet.Root.Version(), dev.Time)
	}
}

func TestOnlyTheVersionThatIsMeantIsActivated(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	if r := d.stage(d.pack("2.0.0", goodApp, nil)); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	other := strings.Repeat("0", 64)
	if r := d.agent.Activate(t.Context(), control.ActivateRequest{Digest: other}); r.Exit != control.ExitRefused || r.Code != agent.CodeOtherStaged {
		t.Errorf("another package: %+v", r)
	}
	status, err := d.agent.Status(t.Context())
	d.must(err)
	if r := d.agent.Activate(t.Context(), control.ActivateRequest{Digest: slot(status, "b").Digest, Wait: true}); r.Exit != control.ExitDone {
		t.Errorf("the package that is meant: %+v", r)
	}
}
