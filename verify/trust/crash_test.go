package trust

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"slipstream/verify"
	"slipstream/verify/trusttest"
)

// remembered is what a device must never lose.
type remembered struct {
	Floor, Epoch, Sequence, Vendor, Fleet int64
	Slot                                  Installed
	Time                                  time.Time
}

func recall(t *rapid.T, s *Store) remembered {
	dev, err := s.Device("gatecam")
	if err != nil {
		t.Fatal(err)
	}
	slot, _ := s.Installed("a")
	return remembered{
		dev.FloorCounter, dev.FloorEpoch, dev.Fleet.Sequence, s.Vendor().Root().Version(), dev.Fleet.Root.Version(), slot, dev.Time,
	}
}

// published is all that a vendor and a fleet have signed.
type published struct {
	factory       Factory
	vendor, fleet [][]byte
	words         [][][]byte
	orders        []*verify.Order
}

func publish(t *testing.T) published {
	p := newParty(t)
	all := published{factory: p.factory(), orders: []*verify.Order{p.order(1), p.order(2), p.order(3)}}
	all.factory.Fleet = p.fleet.Parse(t)
	for i := range 3 {
		all.vendor = append(all.vendor, next(t, &p.vendor, nil))
		all.fleet = append(all.fleet, next(t, &p.fleet, nil))
		all.words = append(all.words, trusttest.Freshness(t, built.Add(time.Duration(i)*day), p.fleet.Timestamps.Keys...))
	}
	return all
}

// draw is one change of the state.
func (p published) draw(t *rapid.T) func(*Store) error {
	n := rapid.Int64Range(1, 100).Draw(t, "n")
	switch rapid.IntRange(0, 6).Draw(t, "change") {
	case 0:
		return func(s *Store) error { return s.Committed(installed(n, n/10), installed(n-1, n/20)) }
	case 1:
		return func(s *Store) error { return s.Staged("a", installed(1, 0), verify.Learned{Order: p.orders[n%3]}) }
	case 2:
		return func(s *Store) error { return s.Rotate(p.vendor[:n%4], nil) }
	case 3:
		return func(s *Store) error { return s.Rotate(nil, p.fleet[:n%4]) }
	case 4:
		return func(s *Store) error { return s.Freshen(p.words[n%3]) }
	case 5:
		return func(s *Store) error { return s.Staged("a", installed(n, 0), verify.Learned{}) }
	}
	return (*Store).Save
}

// Whatever is done, and at whatever write the power fails: after it the device
// remembers all that was done before, and of what was being done all or nothing.
// A twin on a disk that never fails tells what all would be.
func TestPowerCutAtAnyWrite(t *testing.T) {
	p := publish(t)
	cuts, undone := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		c := &bootTime{boot: "1"}
		start := func(d *memDisk) *Store {
			fresh := len(d.files) == 0
			s, err := open(d, p.factory, c.read)
			if err != nil || s.Fresh() != fresh {
				t.Fatalf("the state is lost: %v", err)
			}
			return s
		}
		d, safe := newMemDisk(), newMemDisk()
		s, twin := start(d), start(safe)
		if err := errors.Join(s.Save(), twin.Save()); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 10).Draw(t, "changes") {
			change := p.draw(t)
			c.since += time.Duration(rapid.IntRange(0, 3600).Draw(t, "seconds")) * time.Second
			before := recall(t, s)
			d.left, d.torn = rapid.IntRange(0, 9).Draw(t, "cut"), rapid.IntRange(0, 20_000).Draw(t, "torn")
			d.kept = rapid.IntRange(0, 1).Draw(t, "kept")
			err := change(s)
			if wantErr := change(twin); wantErr != nil || err != nil && !errors.Is(err, errPower) {
				t.Fatal(wantErr, err)
			}
			done := recall(t, twin)
			if err != nil && !cmp.Equal(recall(t, s), before) {
				t.Fatalf("what failed holds until the next start: %+v, before %+v", recall(t, s), before)
			}
			if d.left == 0 {
				cuts++
				d = d.reboot()
				s = start(d)
			}
			found := recall(t, s)
			if cmp.Equal(found, done) {
				continue
			}
			if err == nil || !cmp.Equal(found, before) {
				t.Fatalf("found %+v\nbefore %+v\nafter %+v\nerror %v", found, before, done, err)
			}
			undone++
			safe = d.reboot()
			twin = start(safe)
		}
	})
	if cuts < 50 || undone < 10 {
		t.Errorf("the power failed only %d times, and undid only %d changes", cuts, undone)
	}
}
