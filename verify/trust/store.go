package trust

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"slipstream/verify"
)

// Factory is what a device comes with, in its verified image or its
// configuration: the anchors that everything else is proved from.
type Factory struct {
	Vendor  *verify.Trust // the vendor's root, or a file of keys; nil: nobody is trusted
	Fleet   *verify.Root  // the root of a fleet to belong to, or nil
	Built   time.Time     // it is later than this: when this software was built
	Counter Counter       // nil: [None]
}

// Store is a device's trust on disk. Its caller holds the device's lock: there is
// one process that writes. Everything it says may be asked for at any time.
type Store struct {
	disk    disk
	factory Factory

	mu       sync.Mutex // guards what follows
	state    state
	older    int    // the copy to overwrite first
	hardware uint64 // the counter as it was last seen
	broken   error  // why the counter cannot be read
	fresh    bool
	problems []string
	vendor   string // what is wrong with the vendor's roots
	fleet    string // and with the fleet's
	behind   string // and with the counter, until it has caught up: a power cut may come before it is advanced
}

// state is the document with what was proved from it.
type state struct {
	doc    *document
	time   secureTime
	vendor *verify.Trust // the newest
	fleet  *verify.Root  // the newest; nil outside of a fleet
}

// Open reads the state in dir. It writes nothing: a command may look while an
// agent runs. A state that is not there yet is a new device's. A state that is
// lost is begun anew from the factory and the hardware's counter, and
// [Store.Problems] says so.
func Open(dir string, factory Factory) (*Store, error) {
	return open(osDisk{dir}, factory, bootClock)
}

func open(d disk, factory Factory, c clock) (*Store, error) {
	if factory.Counter == nil {
		factory.Counter = None{}
	}
	s := &Store{disk: d, factory: factory}
	doc, older, damage, err := load(d)
	switch {
	case errors.Is(err, errNone):
		doc, s.fresh = &document{}, true
	case errors.Is(err, errLost):
		doc, s.fresh = &document{}, true
		s.problem("the trust state was lost (%v): of what this device had only the factory and the hardware still tell", err)
	case err != nil:
		return nil, fmt.Errorf("trust: open the state: %w", err)
	case damage != nil:
		s.problem("one of the two copies of the trust state is damaged (%v); the other is used", damage)
	}
	s.older, s.state = older, state{doc: doc, time: doc.Time.resume(c, factory.Built)}
	s.anchorVendor()
	s.anchorFleet()
	s.readCounter()
	return s, nil
}

// AnchorVendor takes the factory's anchor as it is now, because its file may be put
// there, or replaced, at any time, and returns whose signature on releases is
// accepted.
func (s *Store) AnchorVendor(vendor *verify.Trust) *verify.Trust {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.factory.Vendor
	if before == nil || before.Root() == nil || vendor.Root() == nil || before.Root().Digest() != vendor.Root().Digest() {
		s.factory.Vendor = vendor
		s.anchorVendor()
	}
	return s.state.vendor
}

// AnchorFleet does the same with the root of the fleet that the device is to
// belong to. One that it belongs to already, or has left, it keeps or leaves out.
func (s *Store) AnchorFleet(root *verify.Root) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.factory.Fleet == nil || s.factory.Fleet.Digest() != root.Digest() {
		s.factory.Fleet = root
		s.anchorFleet()
	}
}

// anchorVendor proves the newest root again, from the factory's on: whoever can
// write the disk cannot add one.
func (s *Store) anchorVendor() {
	s.state.vendor, s.vendor = s.factory.Vendor, ""
	if s.factory.Vendor == nil || s.factory.Vendor.Root() == nil {
		return
	}
	first := s.factory.Vendor.Root()
	newest, err := first.Follow(s.state.doc.Vendor)
	if err != nil {
		s.vendor = fmt.Sprintf("the stored roots do not follow the vendor's root %d (%v), and are left out", first.Version(), err)
		return
	}
	s.state.vendor = newest.Trust()
}

// anchorFleet does the same for the fleet. The configuration brings a device into
// a fleet, and never out of one.
func (s *Store) anchorFleet() {
	s.state.fleet, s.fleet = nil, ""
	configured, enrolled := s.factory.Fleet, s.state.doc.Fleet
	if enrolled == nil {
		if configured != nil && configured.Digest() != s.state.doc.Left {
			s.state.fleet = configured
		}
		return
	}
	newest, err := prove(enrolled)
	if err != nil { // it was right when it was written under its checksum
		s.fleet = fmt.Sprintf("the fleet's stored roots are not valid (%v): leave the fleet, and enrol again", err)
		return
	}
	if configured != nil && !newest.Descends(configured) {
		next, err := newest.Follow([][]byte{configured.Bytes()})
		if err != nil || !next.Descends(configured) {
			s.fleet = "the configuration names another fleet than this device belongs to: leave that one first"
		} else {
			newest = next
		}
	}
	s.state.fleet = newest
}

func prove(f *fleet) (*verify.Root, error) {
	first, err := verify.ParseRoot(f.Root)
	if err != nil {
		return nil, err
	}
	return first.Follow(f.Steps)
}

func (s *Store) readCounter() {
	now, err := s.factory.Counter.Read()
	if err == nil && now > verify.MaxJSONInteger {
		err = fmt.Errorf("its value %d cannot be", now)
	}
	if err != nil {
		s.problem("the hardware's rollback counter cannot be read (%v): no package is accepted until it can", err)
		s.broken = err
		return
	}
	s.hardware = now
	if _, none := s.factory.Counter.(None); !none && int64(now) < s.state.doc.Epoch {
		s.behind = fmt.Sprintf("the hardware's rollback counter is at %d, behind this device's security epoch %d: it was not advanced, or was taken back",
			now, s.state.doc.Epoch)
	}
}

func (s *Store) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// Problems are what a person should know of, one sentence each.
func (s *Store) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.problems)
	for _, problem := range []string{s.vendor, s.fleet, s.behind} {
		if problem != "" {
			all = append(all, problem)
		}
	}
	return all
}

// Fresh says that no earlier state was readable: whoever knows better what the
// device has, says it with [Store.Committed] and [Store.Staged].
func (s *Store) Fresh() bool { return s.fresh }

// Now is secure time. Zero means that it is not known.
func (s *Store) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.time.now()
}

// Vendor is whose signature on releases is accepted now, nil if nobody's.
func (s *Store) Vendor() *verify.Trust {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.vendor
}

// Device is what a package for a product is judged against now, but for what only
// the caller knows: the device's name and hardware, what is permanent, and how
// the package came.
func (s *Store) Device(product string) (verify.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return verify.Device{}, &verify.Error{Code: verify.CodeCounter,
			Message: fmt.Sprintf("this device cannot tell what it may run: %v", s.broken)}
	}
	doc := s.state.doc
	if doc.Fleet != nil && s.state.fleet == nil {
		return verify.Device{}, &verify.Error{Code: verify.CodeRoot, Message: s.fleet}
	}
	dev := verify.Device{
		Product: product, FloorCounter: doc.Floors[product],
		FloorEpoch: max(doc.Epoch, int64(s.hardware)), Time: s.state.time.now(),
	}
	if s.state.fleet != nil {
		dev.Fleet = &verify.Fleet{Root: s.state.fleet}
		if f := doc.Fleet; f != nil {
			dev.Fleet.Sequence, dev.Fleet.Newest = f.Sequence, f.Newest
		}
	}
	return dev, nil
}

// Installed is the version that was verified and lies whole in a slot. It may be
// started by its digest alone: the keys that have signed it may be gone from the
// root since, and a camera whose picture goes dark for that is no safer.
func (s *Store) Installed(slot string) (Installed, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.state.doc.Slots[slot]
	return v, ok
}
