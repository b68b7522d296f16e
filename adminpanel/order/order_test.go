package order_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/order"
	"slipstream/adminpanel/release"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/verify"
	"slipstream/verify/pack"
	"slipstream/verify/trusttest"
)

var ann = audit.Who{Actor: "user ann"}

// world is a vendor, a fleet with two roots, and a store with releases. The first root has
// the first order key, the second root the second one.
type world struct {
	*testing.T
	store    store.Store
	audit    *audit.Log
	releases *release.Releases
	vendor   *ecdsa.PrivateKey
	trust    *verify.Trust
	keys     []*ecdsa.PrivateKey
	roots    []*verify.Root
	slips    map[string][]byte // by release
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	s := bolttest.Open(t)
	all := trusttest.Keys(t, 5)
	w := &world{T: t, store: s, audit: audit.New(s), vendor: all[0], keys: all[2:4], slips: map[string][]byte{}}
	text, err := pack.PublicPEM(&w.vendor.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if w.trust, err = verify.ParseTrust(text); err != nil {
		t.Fatal(err)
	}
	root := trusttest.Root{
		Version: 1, Expires: time.Now().AddDate(3, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
		Root: trusttest.Role{Keys: all[1:2]}, Targets: trusttest.Role{Keys: w.keys[:1]}, Timestamps: trusttest.Role{Keys: all[4:5]},
	}
	w.roots = []*verify.Root{root.Parse(t)}
	root.Version, root.Targets.Keys = 2, w.keys[1:2]
	next, err := w.roots[0].Next(root.Sign(t))
	if err != nil {
		t.Fatal(err)
	}
	w.roots = append(w.roots, next)
	w.releases, err = release.Open(release.Config{
		Store: s, Audit: w.audit, Dir: dir, Trust: func() *verify.Trust { return w.trust }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) try(roots []*verify.Root, keys ...*ecdsa.PrivateKey) (*order.Orders, error) {
	return order.New(order.Config{Store: w.store, Audit: w.audit, Releases: w.releases, Roots: roots, Keys: keys, Log: slog.New(slog.DiscardHandler)})
}

// panel signs orders, and hears what others do on the store.
func (w *world) panel(roots []*verify.Root, keys ...*ecdsa.PrivateKey) *order.Orders {
	w.Helper()
	o, err := w.try(roots, keys...)
	if err != nil {
		w.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	owned.Go(func() { _ = o.Run(ctx) }) // it ends with ctx
	w.Cleanup(func() { stop(); owned.Wait() })
	return o
}

// build makes a package of a version such as "2.0.0", signed by a key.
func (w *world) build(version string, counter int64, key *ecdsa.PrivateKey) []byte {
	w.Helper()
	dir := w.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "camera"), []byte("#!/bin/sh\n# "+version+"\n"), 0o755); err != nil { //nolint:gosec // it is a program
		w.Fatal(err)
	}
	var out bytes.Buffer
	_, err := pack.Build(w.Context(), &out, pack.Options{Dir: dir, Key: key, Manifest: verify.Manifest{
		Format: 1, Product: "sample-camera", Hardware: []string{"rig"}, Version: version, ReleaseCounter: counter, SecurityEpoch: 1,
		IssuedAt: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		App:      &verify.App{Exec: []string{"camera"}, Streams: []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}}},
	}})
	if err != nil {
		w.Fatal(err)
	}
	return out.Bytes()
}

func (w *world) release(version string, counter int64) string {
	w.Helper()
	slip := w.build(version, counter, w.vendor)
	rel, _, err := w.releases.Add(w.Context(), ann, version, int64(len(slip)), bytes.NewReader(slip))
	if err != nil {
		w.Fatal(err)
	}
	w.slips[rel.ID] = slip
	return rel.ID
}

func (w *world) sign(o *order.Orders, release string, devices ...string) {
	w.Helper()
	if _, err := o.Sign(w.Context(), ann, release, devices, strings.Join(devices, ","), time.Time{}); err != nil {
		w.Fatal(err)
	}
}

// device is one that belongs to the fleet under a root.
type device struct {
	w  *world
	as verify.Device
}

func (w *world) device(id string, root *verify.Root) *device {
	return &device{w, verify.Device{ID: id, Product: "sample-camera", Hardware: "rig", Time: time.Now(), Fleet: &verify.Fleet{Root: root, Linked: true}}}
}

// takes judges a package that comes with an order by the link, and remembers what it brought.
func (d *device) takes(slip []byte, bundles [][]byte) string {
	d.w.Helper()
	as, fleet := d.as, *d.as.Fleet
	fleet.Orders, as.Fleet = bundles, &fleet
	p, err := verify.Open(bytes.NewReader(slip), int64(len(slip)), d.w.trust, as)
	if err != nil {
		if verify.Code(err) == "" {
			d.w.Fatal(err)
		}
		return verify.Code(err)
	}
	if p.Learned.Fleet != nil {
		d.as.Fleet.Root = p.Learned.Fleet
	}
	d.as.Fleet.Sequence, d.as.Fleet.Newest = p.Learned.Order.Sequence, p.Learned.Order.Digest
	return ""
}

func (d *device) expect(what string, slip []byte, bundles [][]byte, code string) {
	d.w.Helper()
	if got := d.takes(slip, bundles); got != code {
		d.w.Errorf("%s: %q, want %q", what, got, code)
	}
}

// An enrolled device takes what the vendor and the fleet have signed, and nothing less.
func TestBothWordsAreNeeded(t *testing.T) {
	w := newWorld(t)
	o := w.panel(w.roots[:1], w.keys[0])
	id := w.release("2.0.0", 2)
	slip := w.slips[id]
	one, two := w.device("cam-1", w.roots[0]), w.device("cam-2", w.roots[0])
	one.expect("without an order", slip, o.For("cam-1", id), verify.CodeNoOrder)
	w.sign(o, id, "cam-1")
	if o.For("cam-2", id) != nil || o.Covers(id, []string{"cam-1", "cam-2"}, time.Now()) || !o.Covers(id, []string{"cam-1"}, time.Now()) {
		t.Error("an order for one device covers another one")
	}
	two.expect("with another's order", slip, o.For("cam-1", id), verify.CodeOrderForeign)
	one.expect("with its order", slip, o.For("cam-1", id), "")
	stranger := w.build("2.0.0", 2, trusttest.Keys(t, 1)[0])
	one.expect("a stranger's package with an order", stranger, o.For("cam-1", id), verify.CodeUntrusted)
	next := w.release("3.0.0", 3)
	one.expect("another release's order", w.slips[next], o.For("cam-1", id), verify.CodeOrderPackage)
	w.sign(o, id, "cam-2")
	one.expect("after another one was added", slip, o.For("cam-1", id), "")
	two.expect("who was added", slip, o.For("cam-2", id), "")
	rel, err := w.releases.Get(t.Context(), id)
	if err != nil || rel.Order == nil || rel.Order.Devices != "2 devices" {
		t.Errorf("it is shown as %+v, %v", rel.Order, err)
	}
	lines, _, err := w.audit.Lines(t.Context(), audit.Query{Object: "release " + id})
	if err != nil || len(lines) != 3 || lines[0].Action != "release.order" || lines[0].Actor != "user ann" {
		t.Errorf("the audit has %+v, %v", lines, err)
	}
}

// A device may take releases in any order in which they were ordered, from any panel: what
// it gets is never below what it has obeyed.
func TestNumbersGrow(t *testing.T) {
	w := newWorld(t)
	one, two := w.panel(w.roots[:1], w.keys[0]), w.panel(w.roots[:1], w.keys[0])
	first, second := w.release("2.0.0", 2), w.release("3.0.0", 3)
	if _, err := one.Sign(t.Context(), ann, second, nil, "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.sign(one, first, "cam-1")
	for late := time.Now().Add(time.Minute); !two.Covers(second, []string{"cam-1"}, time.Now()) || !two.Covers(first, []string{"cam-1"}, time.Now()); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("the other panel hears nothing of it")
		}
	}
	cam := w.device("cam-1", w.roots[0])
	for i := range 8 {
		o, id := one, first
		if i/2%2 == 1 {
			o = two
		}
		if i%2 == 1 {
			id = second
		}
		// The other panel's numbers come by the store: a device that went over to it
		// took longer than that. A panel that did not hear of them used its own up first.
		got, tries := verify.CodeOrderOlder, 0
		for ; got == verify.CodeOrderOlder && tries < 900; tries++ {
			if got = cam.takes(w.slips[id], o.For("cam-1", id)); got == verify.CodeOrderOlder {
				time.Sleep(10 * time.Millisecond)
			}
		}
		if got != "" {
			t.Fatalf("release %d after %d tries: %s", i, tries, got)
		}
	}
	if cam.as.Fleet.Sequence < 3000 {
		t.Errorf("the panels took numbers up to %d only, and did not go past each other", cam.as.Fleet.Sequence)
	}
}

// The order key is another one when the fleet's root says so: devices under either root obey
// a panel that has both, and the old key alone is worth nothing under the new root.
func TestTheKeyIsRotated(t *testing.T) {
	w := newWorld(t)
	id := w.release("2.0.0", 2)
	slip := w.slips[id]
	before := w.panel(w.roots[:1], w.keys[0])
	w.sign(before, id, "cam-1")
	if _, err := w.try(w.roots, w.keys[0]); err == nil || !strings.Contains(err.Error(), "has 0 of the keys") {
		t.Errorf("a panel without the newest key: %v", err)
	}
	after := w.panel(w.roots, w.keys...)
	w.sign(after, id, "cam-1")
	w.device("cam-1", w.roots[0]).expect("under the old root", slip, after.For("cam-1", id), "")
	w.device("cam-1", w.roots[1]).expect("under the new root", slip, after.For("cam-1", id), "")
	w.device("cam-1", w.roots[1]).expect("an order by the old key alone", slip, before.For("cam-1", id), verify.CodeOrderSigner)
	last := w.panel(w.roots, w.keys[1])
	w.sign(last, id, "cam-1")
	w.device("cam-1", w.roots[0]).expect("who has not heard of the new root", slip, last.For("cam-1", id), verify.CodeOrderSigner)
	behind := w.device("cam-1", w.roots[0])
	root, err := behind.as.Fleet.Root.Follow(order.Newer(w.roots))
	if err != nil {
		t.Fatal(err)
	}
	behind.as.Fleet.Root = root
	behind.expect("once it was told", slip, last.For("cam-1", id), "")
	if ids := after.KeyIDs(); len(ids) != 1 || ids[0] != w.roots[1].Trust().KeyIDs()[0] {
		t.Errorf("people are shown %q", ids)
	}
}

// What is on a stick is enough for a device without a link, also one that is behind.
func TestSticks(t *testing.T) {
	w := newWorld(t)
	o := w.panel(w.roots, w.keys...)
	id := w.release("2.0.0", 2)
	if _, err := o.Package(t.Context(), id); !errors.Is(err, order.ErrNone) {
		t.Errorf("without an order: %v", err)
	}
	w.sign(o, id, "cam-1")
	p, err := o.Package(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	stick, err := io.ReadAll(p)
	if err != nil || int64(len(stick)) != p.Size || p.Name != "sample-camera-2.0.0.slip" {
		t.Errorf("%s has %d bytes of %d, %v", p.Name, len(stick), p.Size, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	cam := w.device("cam-1", w.roots[0])
	cam.as.Fleet.Linked = false
	cam.expect("the bare package", w.slips[id], nil, verify.CodeNoOrder)
	cam.expect("the stick", stick, nil, "")
	if cam.as.Fleet.Root.Version() != 2 {
		t.Error("it has not heard of the new root")
	}
	other := w.device("cam-2", w.roots[1])
	other.as.Fleet.Linked = false
	other.expect("another's stick", stick, nil, verify.CodeOrderForeign)
	checked, err := verify.Inspect(bytes.NewReader(stick), int64(len(stick)), w.trust)
	if err == nil {
		err = checked.CheckAll(t.Context())
	}
	if err != nil {
		t.Errorf("the images are not as they were: %v", err)
	}
	file, err := o.File(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	said, err := verify.ParseOrder([][]byte{file}, w.roots[1])
	if err != nil || said.Devices[0] != "cam-1" {
		t.Errorf("the file says %+v, %v", said, err)
	}
}

func TestOrdersThatCannotBe(t *testing.T) {
	w := newWorld(t)
	o := w.panel(w.roots[:1], w.keys[0])
	id := w.release("2.0.0", 2)
	many := make([]string, order.MaxNamed+1)
	for i := range many {
		many[i] = fmt.Sprintf("cam-%04d", i)
	}
	for name, c := range map[string]struct {
		release string
		devices []string
		until   time.Time
		want    error
	}{
		"for nobody":             {id, []string{}, time.Time{}, order.ErrInvalid},
		"for the past":           {id, nil, time.Unix(0, 0), order.ErrInvalid},
		"for a century":          {id, nil, time.Now().AddDate(100, 0, 0), order.ErrInvalid},
		"for too many":           {id, many, time.Time{}, order.ErrInvalid},
		"of no release":          {strings.Repeat("0", 32), nil, time.Time{}, release.ErrUnknown},
		"of something elsewhere": {"../x", nil, time.Time{}, release.ErrUnknown},
	} {
		if _, err := o.Sign(t.Context(), ann, c.release, c.devices, "", c.until); !errors.Is(err, c.want) {
			t.Errorf("an order %s: %v, want %v", name, err, c.want)
		}
	}
	if err := o.Cover(t.Context(), ann, id, many, false, "rollout x"); err != nil || !o.Covers(id, many, time.Now()) {
		t.Errorf("a rollout to many: %v", err)
	}
	if _, err := w.releases.Withdraw(t.Context(), ann, id); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Sign(t.Context(), ann, id, nil, "", time.Time{}); !errors.Is(err, release.ErrWithdrawn) {
		t.Errorf("of a withdrawn release: %v", err)
	}
	if _, err := w.try(w.roots[:1], w.vendor); err == nil {
		t.Error("a key that the root does not name was taken")
	}
}

func TestFilesOfRootsAndKeys(t *testing.T) {
	t.Parallel()
	w := &world{T: t}
	keys := trusttest.Keys(t, 3)
	root := trusttest.Root{
		Version: 1, Expires: time.Now().AddDate(3, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
		Root: trusttest.Role{Keys: keys[:1]}, Targets: trusttest.Role{Keys: keys[1:2]},
	}
	dir := t.TempDir()
	write := func(name string, data []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, mode); err != nil {
			w.Fatal(err)
		}
		return path
	}
	first := write("fleet.1.root.json", root.Sign(t), 0o644)
	root.Version = 2
	write("fleet.2.root.json", root.Sign(t), 0o644)
	if roots, err := order.LoadRoots(dir); err != nil || len(roots) != 2 || roots[1].Version() != 2 || len(order.Newer(roots)) != 1 {
		t.Errorf("of a directory: %d, %v", len(roots), err)
	}
	if roots, err := order.LoadRoots(first); err != nil || len(roots) != 1 || order.Newer(roots) != nil {
		t.Errorf("of a file: %d, %v", len(roots), err)
	}
	root.Version, root.Root.Keys = 3, keys[2:]
	write("fleet.3.root.json", root.Sign(t), 0o644)
	if _, err := order.LoadRoots(dir); verify.Code(err) != verify.CodeRootUntrusted {
		t.Errorf("with one that nobody before has signed: %v", err)
	}
	text, err := pack.PrivatePEM(keys[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := order.LoadKey(write("good.key", text, 0o600)); err != nil {
		t.Error(err)
	}
	for name, path := range map[string]string{
		"that others can read": write("open.key", text, 0o644), "that is none": write("none.key", []byte("hello"), 0o600), "that is a directory": dir,
	} {
		if _, err := order.LoadKey(path); err == nil {
			t.Errorf("a key %s was taken", name)
		}
	}
}
