package verify

import (
	"slices"
	"strings"
)

// Device is what a package is judged against.
type Device struct {
	Product  string
	Hardware string
	// FloorCounter is the lowest acceptable releaseCounter; 0 on a device that
	// never had a version.
	FloorCounter int64
	// FloorDigest, if set, is the only package that may be installed again at
	// exactly the floor.
	FloorDigest string
}

// Allow says whether the device may run this manifest's package, whose digest is
// given. The manifest must have been verified.
//
// Names are compared whole and by byte: hardware "cam-a1" is neither "cam-a10"
// nor "CAM-A1".
func (m *Manifest) Allow(digest string, dev Device) error {
	switch {
	case m.Product != dev.Product:
		return refuse(CodeWrongProduct, "the package is for product %s, this device is a %s", quote(m.Product), quote(dev.Product))
	case !slices.Contains(m.Hardware, dev.Hardware):
		return refuse(CodeWrongHardware, "the package is for hardware %s, this device is %s", quoteList(m.Hardware), quote(dev.Hardware))
	case m.ReleaseCounter < dev.FloorCounter:
		return refuse(CodeRollback, "version %s is older than this device allows (release %d, lowest allowed %d)",
			m.Version, m.ReleaseCounter, dev.FloorCounter)
	case m.ReleaseCounter == dev.FloorCounter && dev.FloorDigest != "" && digest != dev.FloorDigest:
		return refuse(CodeCounterReused, "version %s has the release number %d of the installed version but other content",
			m.Version, m.ReleaseCounter)
	case dev.FloorCounter == 0: // the first version: there is nothing to step from
		return nil
	case m.ReleaseCounter-dev.FloorCounter > MaxCounterStep:
		return refuse(CodeCounterJump, "release %d is too far above this device's release %d, at most %d at once are allowed",
			m.ReleaseCounter, dev.FloorCounter, MaxCounterStep)
	case m.MinFromCounter > dev.FloorCounter:
		return refuse(CodeStep, "version %s can only follow release %d or later, this device has release %d: install a version in between first",
			m.Version, m.MinFromCounter, dev.FloorCounter)
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
