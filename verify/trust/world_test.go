package trust

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"time"

	"slipstream/verify"
	"slipstream/verify/trusttest"
)

var errPower = errors.New("the power is off")

// memDisk loses power before a chosen step. A write that is cut leaves a torn
// file; a rename counts once it is synced, and may count before.
type memDisk struct {
	files   map[string][]byte
	renames [][2]string // not synced yet
	left    int         // steps until the power fails; negative: never
	torn    int         // bytes that the cut write still brings
	kept    int         // renames that survive the cut though nobody synced them
}

var _ disk = (*memDisk)(nil)

func newMemDisk() *memDisk { return &memDisk{files: map[string][]byte{}, left: -1} }

func (d *memDisk) Read(name string) ([]byte, error) {
	for _, r := range d.renames {
		if r[1] == name {
			name = r[0]
		}
	}
	data, ok := d.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(data), nil
}

func (d *memDisk) step() bool {
	if d.left == 0 {
		return false
	}
	d.left--
	return true
}

func (d *memDisk) Write(name string, data []byte) error {
	if !d.step() {
		d.files[name] = bytes.Clone(data[:min(d.torn, len(data))])
		d.torn = 0
		return errPower
	}
	d.files[name] = bytes.Clone(data)
	return nil
}

func (d *memDisk) Rename(from, to string) error {
	if !d.step() {
		return errPower
	}
	d.renames = append(d.renames, [2]string{from, to})
	return nil
}

func (d *memDisk) Sync() error {
	if !d.step() {
		return errPower
	}
	d.settle(len(d.renames))
	return nil
}

func (d *memDisk) settle(n int) {
	for _, r := range d.renames[:n] {
		d.files[r[1]] = d.files[r[0]]
		delete(d.files, r[0])
	}
	d.renames = nil
}

// reboot is the disk as it comes back after a cut.
func (d *memDisk) reboot() *memDisk {
	after := &memDisk{files: maps.Clone(d.files), renames: d.renames, left: -1}
	after.settle(min(d.kept, len(d.renames)))
	return after
}

// bootTime is a clock that tests wind.
type bootTime struct {
	boot  string
	since time.Duration
}

func (b *bootTime) read() (string, time.Duration, error) { return b.boot, b.since, nil }

// party is a vendor and a fleet, with the roots that they have published.
type party struct {
	t             testing.TB
	vendor, fleet trusttest.Root
	strangers     trusttest.Role
}

var (
	built = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	day   = 24 * time.Hour
)

func newParty(t testing.TB) *party {
	keys := trusttest.Keys(t, 6)
	return &party{
		t: t, strangers: trusttest.Role{Keys: keys[5:]},
		vendor: trusttest.Root{
			Version: 1, Expires: built.AddDate(10, 0, 0), Terms: verify.Terms{Kind: verify.KindVendor},
			Root: trusttest.Role{Keys: keys[0:1]}, Targets: trusttest.Role{Keys: keys[1:2]},
		},
		fleet: trusttest.Root{
			Version: 1, Expires: built.AddDate(2, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
			Root: trusttest.Role{Keys: keys[2:3]}, Targets: trusttest.Role{Keys: keys[3:4]}, Timestamps: trusttest.Role{Keys: keys[4:5]},
		},
	}
}

// next publishes the next root of one of the two: its root keys stay.
func next(t testing.TB, r *trusttest.Root, change func(*trusttest.Root)) []byte {
	r.Version++
	if change != nil {
		change(r)
	}
	return r.Sign(t)
}

func (p *party) factory() Factory {
	return Factory{Vendor: p.vendor.Parse(p.t).Trust(), Built: built}
}

// alone is the factory of a device with a file of keys.
func alone(t testing.TB) Factory {
	t.Helper()
	p := newParty(t)
	root := string(p.vendor.Sign(t))
	pem, _, _ := strings.Cut(root[strings.Index(root, "-----BEGIN"):], `"`)
	keys, err := verify.ParseTrust([]byte(strings.ReplaceAll(pem, `\n`, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return Factory{Vendor: keys, Built: built}
}

func mustOpen(t testing.TB, d disk, f Factory, c *bootTime) *Store {
	t.Helper()
	s, err := open(d, f, c.read)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func device(t testing.TB, s *Store) verify.Device {
	t.Helper()
	dev, err := s.Device("gatecam")
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func installed(counter, epoch int64) Installed {
	return Installed{Product: "gatecam", Digest: strings.Repeat("ab", 32), Counter: counter, Epoch: epoch}
}
