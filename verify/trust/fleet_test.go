package trust

import (
	"strings"
	"testing"

	"slipstream/verify"
	"slipstream/verify/trusttest"
)

// order is a fleet's order for every device, as an accepted package brings it.
func (p *party) order(sequence int64) *verify.Order {
	p.t.Helper()
	files := trusttest.Order(p.t, verify.Order{
		All: true, Package: strings.Repeat("cd", 32), Sequence: sequence, IssuedAt: built, Expires: built.Add(day),
	}, p.fleet.Targets.Keys...)
	root, err := verify.ParseRoot(p.fleet.Sign(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	o, err := verify.ParseOrder(files, root)
	if err != nil {
		p.t.Fatal(err)
	}
	return o
}

func TestEnrolAndLeave(t *testing.T) {
	p := newParty(t)
	d, c, f := newMemDisk(), &bootTime{boot: "1"}, p.factory()
	s := mustOpen(t, d, f, c)
	if device(t, s).Fleet != nil {
		t.Fatal("a new device belongs to a fleet")
	}
	if err := s.Enroll(f.Vendor.Root()); verify.Code(err) != verify.CodeRoot {
		t.Errorf("enrolled with the vendor's root: %v", err)
	}
	must(t, s.Enroll(p.fleet.Parse(t)))
	must(t, s.Staged("a", installed(1, 0), verify.Learned{Order: p.order(5)}))
	must(t, s.Staged("a", installed(1, 0), verify.Learned{Order: p.order(4)})) // judged before the other was learned
	if err := s.Enroll(newParty(t).fleet.Parse(t)); err == nil {
		t.Error("another fleet took the device")
	}
	s = mustOpen(t, d, f, c)
	if fl := device(t, s).Fleet; fl == nil || fl.Sequence != 5 || fl.Newest == "" {
		t.Fatalf("after the next start the fleet is %+v", fl)
	}
	must(t, s.Leave())
	if s = mustOpen(t, d, f, c); device(t, s).Fleet != nil {
		t.Error("the device has left, and belongs to the fleet")
	}
}

// The configuration can bring a device into a fleet, and neither out of it nor
// into another one.
func TestConfiguredFleet(t *testing.T) {
	p := newParty(t)
	d, c, f := newMemDisk(), &bootTime{boot: "1"}, p.factory()
	without := f
	f.Fleet = p.fleet.Parse(t)
	s := mustOpen(t, d, f, c)
	if device(t, s).Fleet == nil {
		t.Fatal("the configured fleet is not the device's")
	}
	must(t, s.Save())
	if s = mustOpen(t, d, without, c); device(t, s).Fleet == nil {
		t.Error("who edits the configuration takes the device out of its fleet")
	}
	other := f
	other.Fleet = newParty(t).fleet.Parse(t)
	if s = mustOpen(t, d, other, c); device(t, s).Fleet.Root.Digest() != f.Fleet.Digest() || len(s.Problems()) != 1 {
		t.Errorf("who edits the configuration gives the device to another fleet (%q)", s.Problems())
	}
	newer := f
	raw := next(t, &p.fleet, nil)
	root, err := verify.ParseRoot(raw)
	must(t, err)
	newer.Fleet = root
	if s = mustOpen(t, d, newer, c); device(t, s).Fleet.Root.Version() != 2 || s.Problems() != nil {
		t.Errorf("the fleet's next root in the configuration is not followed: %q", s.Problems())
	}
	s = mustOpen(t, d, f, c)
	must(t, s.Leave())
	if s = mustOpen(t, d, f, c); device(t, s).Fleet != nil {
		t.Error("the fleet that was left takes the device back at its next start")
	}
	if s = mustOpen(t, d, other, c); device(t, s).Fleet == nil {
		t.Error("after leaving one fleet the device does not come into another")
	}
}

// A fleet whose root expired and whose keys are lost accepts nothing any more, and
// gives nothing back. Leaving is the only way out, and gives nothing away.
func TestLostFleet(t *testing.T) {
	p := newParty(t)
	d, c, f := newMemDisk(), &bootTime{boot: "1"}, p.factory()
	s := mustOpen(t, d, f, c)
	must(t, s.Committed(installed(7, 2)))
	must(t, s.Enroll(p.fleet.Parse(t)))
	must(t, s.Freshen(trusttest.Freshness(t, p.fleet.Expires, p.fleet.Timestamps.Keys...)))
	c.since += day
	dev := device(t, s)
	if err := dev.Fleet.Root.CheckExpiry(dev.Time); verify.Code(err) != verify.CodeRootExpired {
		t.Fatalf("the fleet's root: %v", err)
	}
	late := p.fleet
	if err := s.Rotate(nil, [][]byte{next(t, &late, nil)}); verify.Code(err) != verify.CodeRootExpired {
		t.Errorf("the next root, which expired too: %v", err)
	}
	must(t, s.Leave())
	dev = device(t, mustOpen(t, d, f, c))
	if dev.Fleet != nil || dev.FloorCounter != 7 || dev.FloorEpoch != 2 {
		t.Errorf("after leaving: fleet %v, floors %d and %d", dev.Fleet, dev.FloorCounter, dev.FloorEpoch)
	}
}

// An expired fleet root is followed by one that has not expired.
func TestExpiredFleetRootIsFollowed(t *testing.T) {
	p := newParty(t)
	f := p.factory()
	f.Fleet = p.fleet.Parse(t)
	c := &bootTime{boot: "1"}
	s := mustOpen(t, newMemDisk(), f, c)
	must(t, s.Freshen(trusttest.Freshness(t, p.fleet.Expires, p.fleet.Timestamps.Keys...)))
	c.since += day
	must(t, s.Rotate(nil, [][]byte{next(t, &p.fleet, func(r *trusttest.Root) { r.Expires = r.Expires.AddDate(2, 0, 0) })}))
	dev := device(t, s)
	if err := dev.Fleet.Root.CheckExpiry(dev.Time); err != nil {
		t.Error(err)
	}
}

func TestRotation(t *testing.T) {
	p := newParty(t)
	d, c, f := newMemDisk(), &bootTime{boot: "1"}, p.factory()
	f.Fleet = p.fleet.Parse(t)
	s := mustOpen(t, d, f, c)
	must(t, s.Staged("a", installed(1, 0), verify.Learned{Order: p.order(9)}))

	second := next(t, &p.vendor, nil)
	third := next(t, &p.vendor, nil)
	if err := s.Rotate([][]byte{third}, nil); verify.Code(err) != verify.CodeRootStep {
		t.Errorf("a root was left out: %v", err)
	}
	must(t, s.Rotate([][]byte{second}, nil))
	newest, err := s.Vendor().Root().Next(third)
	must(t, err)
	must(t, s.Staged("a", installed(1, 0), verify.Learned{Vendor: newest})) // as a package brings it
	s = mustOpen(t, d, f, c)
	if v := s.Vendor().Root().Version(); v != 3 || s.Problems() != nil {
		t.Fatalf("after the next start the root is %d (%q)", v, s.Problems())
	}
	old, err := verify.ParseRoot(second)
	must(t, err)
	must(t, s.Staged("a", installed(1, 0), verify.Learned{Vendor: old}))
	if v := s.Vendor().Root().Version(); v != 3 {
		t.Errorf("an older root took the place of the newest: %d", v)
	}

	// A new freshness key leaves the orders' number alone, a new order key does not.
	must(t, s.Rotate(nil, [][]byte{next(t, &p.fleet, func(r *trusttest.Root) { r.Timestamps = p.strangers })}))
	if n := device(t, s).Fleet.Sequence; n != 9 {
		t.Errorf("after a new freshness key the newest order is %d", n)
	}
	must(t, s.Rotate(nil, [][]byte{next(t, &p.fleet, func(r *trusttest.Root) { r.Targets = p.strangers })}))
	if fl := device(t, mustOpen(t, d, f, c)).Fleet; fl.Sequence != 0 || fl.Newest != "" || fl.Root.Version() != 3 {
		t.Errorf("after a new order key the newest order is %d, the root %d", fl.Sequence, fl.Root.Version())
	}
}

// A new factory image brings a newer root than those that were learned.
func TestNewerFactory(t *testing.T) {
	p := newParty(t)
	d, c, old := newMemDisk(), &bootTime{boot: "1"}, p.factory()
	s := mustOpen(t, d, old, c)
	steps := [][]byte{next(t, &p.vendor, nil), next(t, &p.vendor, nil), next(t, &p.vendor, nil)}
	must(t, s.Rotate(steps[:1], nil))
	root, err := verify.ParseRoot(steps[2])
	must(t, err)
	s = mustOpen(t, d, Factory{Vendor: root.Trust()}, c)
	if v := s.Vendor().Root().Version(); v != 4 || s.Problems() != nil {
		t.Errorf("root %d, problems %q", v, s.Problems())
	}
	must(t, s.Save())
	if s = mustOpen(t, d, old, c); s.Vendor().Root().Version() != 2 {
		t.Errorf("the older image again: root %d", s.Vendor().Root().Version())
	}
}
