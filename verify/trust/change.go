package trust

import (
	"errors"
	"fmt"
	"time"

	"slipstream/verify"
)

// ErrEnrolled keeps one fleet from taking a device from another.
var ErrEnrolled = errors.New("this device belongs to a fleet already: leave it first")

// change makes a new state out of the present one, and puts it in its place once
// it is on disk. After an error the present one holds, here; on disk either may,
// and both are whole.
func (s *Store) change(what string, change func(next *state) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.state
	next.doc = s.state.doc.clone()
	if err := change(&next); err != nil {
		return fmt.Errorf("trust: %s: %w", what, err)
	}
	next.join()
	next.doc.Generation++
	next.doc.Time = next.time.moment()
	older, err := store(s.disk, next.doc, s.older)
	if err != nil {
		return fmt.Errorf("trust: %s: %w", what, err)
	}
	s.state, s.older = next, older
	return nil
}

// join writes down that the device belongs to the fleet of its configuration, so
// that it stays there when somebody edits that.
func (n *state) join() {
	if n.fleet == nil {
		return
	}
	f := n.doc.Fleet
	if f == nil {
		f = &fleet{}
		n.doc.Fleet = f
	}
	first := n.fleet.First()
	f.Root, f.Steps = first.Bytes(), n.fleet.Steps()
}

// Save writes secure time down. The agent does so each hour and when it ends: the
// time between the last Save and a power cut is lost.
func (s *Store) Save() error {
	return s.change("save secure time", func(*state) error { return nil })
}

// Staged notes that a slot holds a version, whole and read back, and remembers what
// its package brought: newer roots, the order's number and, where no fleet says what
// time it is, that it is later than the package's date. Both are one change. Nothing
// is to be learned of a package before the last byte of it was found right.
func (s *Store) Staged(slot string, v Installed, l verify.Learned) error {
	return s.change("note what slot "+slot+" holds", func(n *state) error {
		n.rotateVendor(l.Vendor, s.factory.Built)
		n.rotateFleet(l.Fleet)
		n.obey(l.Order)
		n.time.advance()
		n.time.own = later(n.time.own, l.Time)
		if n.doc.Slots == nil {
			n.doc.Slots = map[string]Installed{}
		}
		n.doc.Slots[slot] = v
		return n.doc.validate()
	})
}

// Cleared notes that a slot holds nothing any more.
func (s *Store) Cleared(slot string) error {
	if _, held := s.Installed(slot); !held {
		return nil
	}
	return s.change("note that slot "+slot+" is empty", func(n *state) error {
		delete(n.doc.Slots, slot)
		return nil
	})
}

// Rotate follows newer roots that came by the fleet's link.
func (s *Store) Rotate(vendor, fleet [][]byte) error {
	return s.change("follow newer roots", func(n *state) error {
		now := n.time.now()
		if root := n.root(); root != nil {
			newest, err := follow(root, vendor, now)
			if err != nil {
				return err
			}
			n.rotateVendor(newest, s.factory.Built)
		}
		if n.fleet != nil {
			newest, err := follow(n.fleet, fleet, now)
			if err != nil {
				return err
			}
			n.rotateFleet(newest)
		}
		return nil
	})
}

func follow(root *verify.Root, steps [][]byte, now time.Time) (*verify.Root, error) {
	newest, err := root.Follow(steps)
	if err == nil && newest != root {
		err = newest.CheckExpiry(now)
	}
	return newest, err
}

// Freshen moves secure time forward by the fleet's word. An older word is none.
func (s *Store) Freshen(bundles [][]byte) error {
	return s.change("take the time from the fleet", func(n *state) error {
		if n.fleet == nil {
			return &verify.Error{Code: verify.CodeFreshness, Message: "this device belongs to no fleet whose time it could take"}
		}
		at, err := verify.ParseFreshness(bundles, n.fleet)
		if err != nil {
			return err
		}
		n.time.advance()
		n.time.fleet = later(n.time.fleet, at)
		return nil
	})
}

// Enroll makes the device belong to a fleet. Its caller has the word of a person
// at the device, and logs it.
func (s *Store) Enroll(root *verify.Root) error {
	return s.change("enrol", func(n *state) error {
		switch {
		case n.fleet != nil || n.doc.Fleet != nil:
			return ErrEnrolled
		case root.Terms().Kind != verify.KindFleet:
			return &verify.Error{Code: verify.CodeRoot, Message: "it is not a fleet's root"}
		}
		n.fleet, n.doc.Fleet, n.doc.Left = root, nil, ""
		return nil
	})
}

// Leave makes the device belong to no fleet, also to none that is dead or lost.
// Its caller has the word of a person at the device, and logs it. The fleet that
// the configuration names is not joined again.
func (s *Store) Leave() error {
	return s.change("leave the fleet", func(n *state) error {
		n.fleet, n.doc.Fleet = nil, nil
		n.time.advance()
		n.time.fleet = time.Time{}
		if f := s.factory.Fleet; f != nil {
			n.doc.Left = f.Digest()
		}
		return nil
	})
}

// Committed raises the floors after a version became permanent: so far that every
// version that the device can still start satisfies them, or its way back would be
// cut off. The hardware's counter comes last: it cannot be taken back.
func (s *Store) Committed(permanent Installed, others ...Installed) error {
	err := s.change("raise the floors", func(n *state) error {
		counter, epoch := permanent.Counter, permanent.Epoch
		for _, o := range others {
			counter, epoch = min(counter, o.Counter), min(epoch, o.Epoch)
		}
		if n.doc.Floors == nil {
			n.doc.Floors = map[string]int64{}
		}
		n.doc.Floors[permanent.Product] = max(n.doc.Floors[permanent.Product], counter)
		n.doc.Epoch = max(n.doc.Epoch, epoch)
		return n.doc.validate()
	})
	if err != nil {
		return err
	}
	return s.advanceCounter()
}

// advanceCounter brings the hardware up to the stored epoch.
func (s *Store) advanceCounter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := uint64(s.state.doc.Epoch)
	if s.broken != nil || s.hardware >= to {
		return nil
	}
	if err := s.factory.Counter.Advance(to); err != nil {
		return fmt.Errorf("trust: advance the hardware's rollback counter to %d: %w", to, err)
	}
	s.hardware, s.behind = to, ""
	return nil
}

// root is the vendor's newest, nil without one.
func (n *state) root() *verify.Root {
	if n.vendor == nil {
		return nil
	}
	return n.vendor.Root()
}

// rotateVendor takes a newer root, if it is one. If it takes back a release key, then
// the dates of releases are forgotten too: that key may have signed false ones.
func (n *state) rotateVendor(newest *verify.Root, built time.Time) {
	root := n.root()
	if newest == nil || root == nil || !newest.Descends(root) {
		return
	}
	if root.SignersWithdrawn(newest) {
		n.time.advance()
		n.time.own = built
	}
	n.vendor, n.doc.Vendor = newest.Trust(), newest.Steps()
}

// rotateFleet takes a newer root. What a key has said that the new root no longer
// knows is forgotten, so that a stolen key cannot block a device for ever with a
// high number or a late date.
func (n *state) rotateFleet(newest *verify.Root) {
	if newest == nil || n.fleet == nil || !newest.Descends(n.fleet) {
		return
	}
	n.join()
	if n.fleet.SignersWithdrawn(newest) {
		n.doc.Fleet.Sequence, n.doc.Fleet.Newest = 0, ""
	}
	if n.fleet.FreshnessWithdrawn(newest) {
		n.time.advance()
		n.time.fleet = time.Time{}
	}
	n.fleet = newest
}

// obey notes an order as the newest.
func (n *state) obey(o *verify.Order) {
	if o == nil || n.fleet == nil {
		return
	}
	n.join()
	if f := n.doc.Fleet; o.Sequence > f.Sequence {
		f.Sequence, f.Newest = o.Sequence, o.Digest
	}
}
