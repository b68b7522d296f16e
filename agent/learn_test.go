package agent_test

import (
	"bytes"
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
	"slipstream/verify/pack"
	"slipstream/verify/trusttest"
)

// edit changes a package's head.
func (d *device) edit(path string, change func(*pack.File)) string {
	d.Helper()
	f, err := pack.OpenFile(path)
	d.must(err)
	defer f.Close()
	change(f)
	d.must(f.Save(path))
	return path
}

func (d *device) signed(path string, by ...*ecdsa.PrivateKey) string {
	d.Helper()
	return d.edit(path, func(f *pack.File) {
		for _, key := range by {
			s, err := pack.KeySigner(key)
			d.must(err)
			d.must(f.Sign(d.Context(), s))
		}
	})
}

func (d *device) stop() {
	d.Helper()
	d.end()
	<-d.ended
}

// trustFiles are the files of the trust state.
func (d *device) trustFiles() (files []string) {
	for _, name := range []string{"state.0", "state.1"} {
		files = append(files, filepath.Join(d.cfg.State, agent.TrustDir, name))
	}
	return files
}

// Of several signatures all are kept with the version: which of them a device
// believes may change between staging and starting.
func TestEverySignatureIsKept(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	trusted := d.key
	d.key = newKey(t) // of a signature that means nothing here, and is the first
	path := d.signed(d.pack("1.0.0", goodApp, nil), trusted)
	if r := d.stage(path); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	if r := d.agent.Activate(t.Context(), control.ActivateRequest{Wait: true}); r.Exit != control.ExitDone {
		t.Errorf("activate: %+v", r)
	}
	d.restart()
	d.wait("the app", func(s control.Status) bool {
		return slot(s, "a").App == "ready" && slot(s, "a").State == control.StatePermanent
	})
}

// fleetRoot is a fleet's root, with an order key and a freshness key.
func fleetRoot(t testing.TB) trusttest.Root {
	t.Helper()
	return trusttest.Root{
		Version: 1, Expires: time.Now().AddDate(3, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
		Root: trusttest.Role{Keys: trusttest.Keys(t, 1)}, Targets: trusttest.Role{Keys: trusttest.Keys(t, 1)},
		Timestamps: trusttest.Role{Keys: trusttest.Keys(t, 1)},
	}
}

// fleetOf is a fleet to which the device belongs by its configuration.
func fleetOf(d *device) trusttest.Root {
	d.Helper()
	fleet := fleetRoot(d)
	d.cfg.Fleet.Root = filepath.Join(filepath.Dir(d.cfg.Trust), "fleet.json")
	d.must(os.WriteFile(d.cfg.Fleet.Root, fleet.Sign(d), 0o644))
	return fleet
}

// laden is a package that brings a new root, by whose two keys it is signed, and a
// fleet's order.
func (d *device) laden(vendor, fleet trusttest.Root) string {
	d.Helper()
	next := vendor
	next.Version++
	next.Targets.Keys = []*ecdsa.PrivateKey{newKey(d.T), newKey(d.T)}
	d.key = next.Targets.Keys[0]
	path := d.signed(d.pack("1.0.0", goodApp, nil), next.Targets.Keys[1])
	return d.edit(path, func(f *pack.File) {
		d.must(f.AttachRoot(next.Sign(d)))
		for _, order := range trusttest.Order(d, verify.Order{
			All: true, Package: f.Digest, Sequence: 7, IssuedAt: time.Now().Add(-time.Hour), Expires: time.Now().Add(time.Hour),
		}, fleet.Targets.Keys...) {
			d.must(f.AttachOrder(order))
		}
	})
}

// A head that is right before an image that is not: the package as a whole is refused,
// and nothing of it is remembered, neither its root nor its order.
func TestDamagedPackageTeachesNothing(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	root := vendor(d)
	d.trusts(root)
	fleet := fleetOf(d)
	d.restart()
	good := d.laden(root, fleet)
	raw, err := os.ReadFile(good)
	d.must(err)
	before := d.learned()
	bad := filepath.Join(t.TempDir(), "bad.slip")
	for name, at := range map[string]int{"the program": bytes.Index(raw, []byte(appHead)), "the image's end": len(raw) - 1025} {
		spoilt := bytes.Clone(raw)
		spoilt[at] ^= 1
		d.must(os.WriteFile(bad, spoilt, 0o644))
		if r := d.stage(bad); r.Exit == control.ExitDone {
			t.Fatalf("%s changed: %+v", name, r)
		}
		if now := d.learned(); now != before {
			t.Errorf("%s changed: the device has learned %+v, and had %+v", name, now, before)
		}
	}
	if r := d.stage(good); r.Exit != control.ExitDone {
		t.Fatalf("the whole package: %+v", r)
	}
	if now := d.learned(); now.vendor != 2 || now.sequence != 7 {
		t.Errorf("of the whole package the device has learned %+v", now)
	}
}

// learned is what packages have brought a device.
type learned struct {
	vendor, sequence int64
	time             string // the day
}

func (d *device) learned() (l learned) {
	d.Helper()
	vendor, dev, err := agent.Trust(d.cfg)
	d.must(err)
	l.vendor, l.time = vendor.Root().Version(), dev.Time.Format(time.DateOnly)
	if dev.Fleet != nil {
		l.sequence = dev.Fleet.Sequence
	}
	return l
}

// Power is lost when the last byte is on disk and nothing was remembered yet, or the
// trust state is lost as a whole: what is staged says again what it brought.
func TestStagedPackageTeachesAgain(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"as before", "lost"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			root := vendor(d)
			d.trusts(root)
			fleet := fleetOf(d)
			d.restart()
			path := d.laden(root, fleet)
			d.stop()
			before := d.readAll(d.trustFiles())
			d.boot()
			if r := d.stage(path); r.Exit != control.ExitDone {
				t.Fatalf("stage: %+v", r)
			}
			d.stop()
			for i, name := range d.trustFiles() {
				if state == "lost" {
					before[i] = []byte("rubbish")
				}
				d.must(os.WriteFile(name, before[i], 0o600))
			}
			if now := d.learned(); now.vendor != 1 || now.sequence != 0 {
				t.Fatalf("the device knows %+v", now)
			}
			d.boot()
			s := d.wait("the staged version", func(s control.Status) bool { return slot(s, "a").State == control.StateStaged })
			if lost := slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "was lost") }); lost != (state == "lost") {
				t.Errorf("problems %q", s.Problems)
			}
			if now := d.learned(); now.vendor != 2 || now.sequence != 7 {
				t.Errorf("the device has learned %+v", now)
			}
		})
	}
}

func (d *device) readAll(names []string) (contents [][]byte) {
	d.Helper()
	for _, name := range names {
		data, err := os.ReadFile(name)
		d.must(err)
		contents = append(contents, data)
	}
	return contents
}
