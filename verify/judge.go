package verify

import (
	"cmp"
	"slices"
	"time"
)

// Head is everything of a package before its first image, file by file, as it
// came: what is signed, and what the belief in the signatures rests on.
type Head struct {
	Bundles     [][]byte // manifest.sigstore.json, manifest.2.sigstore.json …: signatures over one statement
	VendorRoots [][]byte // trust/N.root.json, each number one higher
	FleetRoots  [][]byte // trust/fleet.N.root.json, likewise
	Orders      [][]byte // trust/order.sigstore.json, trust/order.2.sigstore.json …: signatures over one order
}

// Learned is what an accepted package brings a device besides itself. Whoever
// keeps the device's state takes it over once the package is accepted as a whole;
// of a refused one there is nothing to learn.
type Learned struct {
	Vendor *Root     // newer than the device's own, or nil
	Fleet  *Root     // likewise
	Order  *Order    // that let the package in; nil without a fleet, or by its policy
	Time   time.Time // it is later than this; zero if the package cannot tell
}

// judged is a head that was found right.
type judged struct {
	manifest Manifest
	signed   signed
	learned  Learned
}

// judge is the whole of a head's judgement, in its order; each step refuses with
// a code of its own. What comes before it: whoever asks holds the device's lock (1), and dev is
// what was read under it: secure time, floors, hardware (2); the head's own
// headers and sizes were compared when it was read (3). What comes after it
// concerns the images. Without a device only the package itself is judged.
func judge(h Head, trust *Trust, dev *Device) (judged, error) {
	// 4, 5: strict JSON, and the one shape that a bundle may have. 8 is here too: the
	// payload's type is compared before the signature over it is asked for.
	envelopes, err := parseBundles(packageWords, PayloadType, h.Bundles)
	if err != nil {
		return judged{}, err
	}
	// 6: the roots, along their chains; the last must not have expired.
	trust, learned, err := followRoots(h, trust, dev)
	if err != nil {
		return judged{}, err
	}
	// 7: enough signatures over the same bytes.
	s, err := checkSignatures(packageWords, envelopes, trust)
	if err != nil {
		return judged{}, err
	}
	// 9: the statement.
	m, err := parseStatement(s.payload)
	if err != nil {
		return judged{}, err
	}
	found := judged{manifest: m, signed: s, learned: learned}
	if dev == nil {
		return found, nil
	}
	name := digest(s.payload)
	// 10: product and hardware, and that it can be written at all.
	if err := m.fits(*dev); err != nil {
		return judged{}, err
	}
	if err := m.writable(*dev); err != nil {
		return judged{}, err
	}
	// 11: its dates, by secure time.
	if err := m.inTime(trust, *dev); err != nil {
		return judged{}, err
	}
	if dev.Fleet == nil || dev.Fleet.Root.freshness == nil { // else the fleet alone says what time it is
		found.learned.Time = m.tells(trust)
	}
	// 12: counters and epoch.
	if err := m.rises(name, trust, *dev); err != nil {
		return judged{}, err
	}
	// 13: the fleet's word.
	if dev.Fleet != nil {
		if found.learned.Order, err = dev.Fleet.allow(cmp.Or(learned.Fleet, dev.Fleet.Root), h.Orders, name, *dev); err != nil {
			return judged{}, err
		}
	}
	// 14: what the vendor took back by name. Keys that it took back have left the root.
	if trust.root != nil && slices.Contains(trust.root.terms.Revoked, name) {
		return judged{}, refuse(CodeRevoked, "version %s was taken back by its maker", m.Version)
	}
	return found, nil
}

// followRoots goes along the package's chains, and returns the trust that decides
// and what is new.
func followRoots(h Head, trust *Trust, dev *Device) (*Trust, Learned, error) {
	var at time.Time
	if dev != nil {
		at = dev.Time
	}
	var learned Learned
	if trust != nil && trust.root != nil { // a file of keys follows nobody
		newest, err := trust.root.lead(at, h.VendorRoots)
		if err != nil {
			return nil, Learned{}, err
		}
		if newest != trust.root {
			trust, learned.Vendor = newest.release, newest
		}
	}
	if dev != nil && dev.Fleet != nil {
		newest, err := dev.Fleet.Root.lead(at, h.FleetRoots, dev.Fleet.Roots)
		if err != nil {
			return nil, Learned{}, err
		}
		if newest != dev.Fleet.Root {
			learned.Fleet = newest
		}
	}
	return trust, learned, nil
}

// lead is the root at the end of the chains, which must not have expired.
func (r *Root) lead(at time.Time, chains ...[][]byte) (newest *Root, err error) {
	newest = r
	for _, chain := range chains {
		if newest, err = newest.Follow(chain); err != nil {
			return nil, err
		}
	}
	return newest, newest.CheckExpiry(at)
}
