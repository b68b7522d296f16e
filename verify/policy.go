package verify

import (
	"slices"
	"strings"
	"time"
)

// Device is what a package is judged against.
type Device struct {
	ID       string // by which a fleet names it; without a fleet maybe ""
	Product  string
	Hardware string
	// Kinds are the kinds of images that it can run an app from. None means trees.
	Kinds []string
	// Systems are the kinds of images that it can write to its system slots. None
	// means that it has no such slots.
	Systems []string
	// Runtimes are those that its slots of Slipstream's own programs can hold. None
	// means that its agent could not return from new ones.
	Runtimes []string
	// FloorCounter is the lowest acceptable releaseCounter; 0 on a device that
	// never had a version.
	FloorCounter int64
	// FloorDigest, if set, is the only package that may be installed again at
	// exactly the floor.
	FloorDigest string
	// FloorEpoch is the lowest acceptable securityEpoch.
	FloorEpoch int64
	// Time is the device's secure time. Zero means that it is not known, and then
	// nothing has expired.
	Time time.Time
	// Fleet is the fleet that the device belongs to, nil if none.
	Fleet *Fleet
}

// Allow says whether a device that belongs to no fleet may run this manifest's
// package, whose digest is given: product, hardware, dates, counters, epoch. The
// manifest must have been verified with trust.
//
// Names are compared whole and by byte: hardware "cam-a1" is neither "cam-a10"
// nor "CAM-A1".
func (m *Manifest) Allow(digest string, trust *Trust, dev Device) error {
	if err := m.fits(dev); err != nil {
		return err
	}
	if err := m.writable(dev); err != nil {
		return err
	}
	if err := m.inTime(trust, dev); err != nil {
		return err
	}
	return m.rises(digest, trust, dev)
}

// writable refuses what slots on devices cannot be made of.
func (m *Manifest) writable(dev Device) error {
	kinds := dev.Kinds
	if len(kinds) == 0 {
		kinds = []string{KindTree}
	}
	for _, image := range m.Images {
		able := kinds
		switch image.Class {
		case ClassSystem:
			able = dev.Systems
		case ClassRuntime:
			able = dev.Runtimes
		}
		switch {
		case len(able) == 0:
			return unsupportedClass(image)
		case !slices.Contains(able, image.Kind):
			return unsupportedKind(image)
		case image.Encryption != nil:
			return refuse(CodeEncrypted, "image %s of the package is encrypted, and this device cannot decrypt images", quote(image.Name))
		}
	}
	return nil
}

func (m *Manifest) fits(dev Device) error {
	switch {
	case m.Product != dev.Product:
		return refuse(CodeWrongProduct, "the package is for product %s, this device is a %s", quote(m.Product), quote(dev.Product))
	case !slices.Contains(m.Hardware, dev.Hardware):
		return refuse(CodeWrongHardware, "the package is for hardware %s, this device is %s", quoteList(m.Hardware), quote(dev.Hardware))
	}
	return nil
}

// inTime judges dates. That a release was issued after secure time says nothing:
// a device may have lain in a box for years. After its root's expiry nobody could
// sign it any more.
func (m *Manifest) inTime(trust *Trust, dev Device) error {
	switch {
	case trust != nil && trust.root != nil && m.IssuedAt.After(trust.root.expires):
		return refuse(CodeIssued, "version %s says that it was issued on %s, when the keys that signed it had expired (%s)",
			m.Version, day(m.IssuedAt), day(trust.root.expires))
	case !m.Expires.IsZero() && dev.Time.After(m.Expires):
		return refuse(CodeExpired, "version %s was to be installed until %s: a newer one is needed", m.Version, day(m.Expires))
	}
	return nil
}

// tells is the time that a release vouches for. Who can sign releases can say any
// date up to the root's expiry, and not beyond: [Manifest.inTime] has refused that.
// A file of keys has no expiry, so nothing bounds what its releases say.
func (m *Manifest) tells(trust *Trust) time.Time {
	if trust.root == nil {
		return time.Time{}
	}
	return m.IssuedAt
}

// rises judges what only ever goes up.
func (m *Manifest) rises(digest string, trust *Trust, dev Device) error {
	var lowest, epoch int64 // as the root says
	if trust != nil && trust.root != nil {
		lowest, epoch = trust.root.terms.Counters[m.Product], trust.root.terms.SecurityEpoch
	}
	floor := max(dev.FloorCounter, lowest)
	switch epoch = max(epoch, dev.FloorEpoch); {
	case m.ReleaseCounter < floor:
		return refuse(CodeRollback, "version %s is older than this device allows (release %d, lowest allowed %d)",
			m.Version, m.ReleaseCounter, floor)
	case m.ReleaseCounter == dev.FloorCounter && dev.FloorDigest != "" && digest != dev.FloorDigest:
		return refuse(CodeCounterReused, "version %s has the release number %d of the installed version but other content",
			m.Version, m.ReleaseCounter)
	case m.SecurityEpoch < epoch:
		return refuse(CodeEpoch, "version %s has known security faults (security epoch %d, lowest allowed %d)", m.Version, m.SecurityEpoch, epoch)
	case floor > 0 && m.ReleaseCounter-floor > MaxCounterStep:
		return refuse(CodeCounterJump, "release %d is too far above this device's release %d, at most %d at once are allowed",
			m.ReleaseCounter, floor, MaxCounterStep)
	case dev.FloorCounter > 0 && m.MinFromCounter > dev.FloorCounter:
		return refuse(CodeStep, "version %s can only follow release %d or later, this device has release %d: install a version in between first",
			m.Version, m.MinFromCounter, dev.FloorCounter)
	}
	return nil
}

// MayReturn says whether a device may be returned to this version, which was permanent on
// it and is in its slot still: by product, hardware and floors. What a package is judged by
// besides, its dates and what it may follow, was judged when it came.
func (m *Manifest) MayReturn(trust *Trust, dev Device) error {
	if err := m.fits(dev); err != nil {
		return err
	}
	lowest, epoch := dev.FloorCounter, dev.FloorEpoch
	if trust != nil && trust.root != nil {
		lowest, epoch = max(lowest, trust.root.terms.Counters[m.Product]), max(epoch, trust.root.terms.SecurityEpoch)
	}
	switch {
	case m.ReleaseCounter < lowest:
		return refuse(CodeRollback, "version %s is older than this device allows (release %d, lowest allowed %d)", m.Version, m.ReleaseCounter, lowest)
	case m.SecurityEpoch < epoch:
		return refuse(CodeEpoch, "version %s has known security faults (security epoch %d, lowest allowed %d)", m.Version, m.SecurityEpoch, epoch)
	}
	return nil
}

// quoteList shows the first few names of a list.
func quoteList(names []string) string {
	const most = 4
	var quoted []string
	for _, name := range names[:min(len(names), most)] {
		quoted = append(quoted, quote(name))
	}
	text := strings.Join(quoted, ", ")
	if len(names) > most {
		text += " …"
	}
	return text
}
