package verify_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/verify"
	"slipstream/verify/trusttest"
)

func TestKnownByItsDigestAlone(t *testing.T) {
	f := newFixture(t)
	want, digest, err := verify.Recheck(f.head, f.trust)
	if err != nil {
		t.Fatal(err)
	}
	got, err := verify.Known(f.head, digest)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("manifest (-verified +known):\n%s", diff)
	}
	other := f.sign(f.statement(func(m *verify.Manifest) { m.Version = "9.9.9" }))
	for name, head := range map[string][]byte{"another package": other, "no bundle": []byte("{}"), "nothing": nil} {
		if m, err := verify.Known(head, digest); verify.Code(err) == "" {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// stored writes a head down as a device keeps it that has taken the package with it.
func (w *trustWorld) stored(t *testing.T, h verify.Head) []byte {
	t.Helper()
	var head [][]byte
	add := func(name string, n int, data []byte) {
		number := ""
		if n > 0 {
			number = fmt.Sprintf(".%d", n+1)
		}
		head = append(head, member(fmt.Sprintf(name, number), data))
	}
	for i, data := range h.Bundles {
		add("manifest%s.sigstore.json", i, data)
	}
	for i, data := range h.VendorRoots {
		head = append(head, member(fmt.Sprintf("trust/%d.root.json", w.vendor.Version+int64(i)+1), data))
	}
	for i, data := range h.Orders {
		add("trust/order%s.sigstore.json", i, data)
	}
	file := join(join(head...), member("app.tree.chunks", w.f.index), member("app.tree", w.f.image), make([]byte, 1024))
	p, err := verify.Open(bytes.NewReader(file), int64(len(file)), w.vendorRoot.Trust(), w.dev)
	if err != nil {
		t.Fatal(err)
	}
	return p.Stored()
}

// All that let a package in is kept: the disk alone convinces a device again that has
// lost everything but its factory's root.
func TestStoredHeadIsEnoughToJudgeAgain(t *testing.T) {
	w := newTrustWorld(newFixture(t)).enrolled()
	rotated := next(w.vendor, func(r *trusttest.Root) { r.Targets.Keys = trusttest.Keys(t, 2) })
	h := w.ordering(w.head(rotated.Targets.Keys...))
	h.VendorRoots = [][]byte{bothSign(t, w.vendor, rotated)}
	stored := w.stored(t, h)

	if _, digest, err := verify.Recheck(stored, w.vendorRoot.Trust()); err != nil || digest != w.digest {
		t.Errorf("package %s: %v", digest, err)
	}
	learned, err := verify.Relearn(stored, w.vendorRoot.Trust(), w.dev)
	if err != nil || learned.Vendor.Version() != 2 || learned.Order.Sequence != w.order.Sequence {
		t.Errorf("learned %+v: %v", learned, err)
	}
	w.dev.Fleet.Sequence = w.order.Sequence + 1
	if _, err := verify.Relearn(stored, w.vendorRoot.Trust(), w.dev); verify.Code(err) != verify.CodeOrderOlder {
		t.Errorf("an order that was overtaken: %v", err)
	}
	if names := command(t, writeStored(t, stored), "tar", "tf", "head.tar"); names !=
		"manifest.sigstore.json\nmanifest.2.sigstore.json\ntrust/2.root.json\ntrust/order.sigstore.json\n" {
		t.Errorf("tar finds in it %q", names)
	}
}

func writeStored(t *testing.T, stored []byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	writeFile(t, filepath.Join(dir, "head.tar"), string(stored), 0o644)
	return dir
}

// A stored head is read as strictly as one in a package.
func TestStoredHeadIsRefused(t *testing.T) {
	w := newTrustWorld(newFixture(t))
	trust := w.vendorRoot.Trust()
	stored := w.stored(t, w.head(w.vendor.Targets.Keys[:2]...))
	if _, _, err := verify.Recheck(stored, trust); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(stored); n += verify.Record {
		if _, _, err := verify.Recheck(stored[:n], trust); verify.Code(err) == "" {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	second := bytes.Index(stored, []byte("manifest.2."))
	for name, spoilt := range map[string][]byte{
		"appended": append(bytes.Clone(stored), 0),
		"padding":  bytes.Join([][]byte{stored[:second-1], {1}, stored[second:]}, nil),
		"end":      append(bytes.Clone(stored[:len(stored)-1]), 1),
		"one less": append(bytes.Clone(stored[:second]), make([]byte, 1024)...),
	} {
		if _, _, err := verify.Recheck(spoilt, trust); verify.Code(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
