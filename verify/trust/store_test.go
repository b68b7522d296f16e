package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/verify"
)

func TestFloorsWaitForTheOtherSlot(t *testing.T) {
	d, c := newMemDisk(), &bootTime{boot: "1"}
	hw := &fakeCounter{}
	f := alone(t)
	f.Counter = hw
	s := mustOpen(t, d, f, c)
	for _, step := range []struct {
		permanent    Installed
		others       []Installed
		floor, epoch int64
		what         string
	}{
		{installed(5, 1), nil, 5, 1, "the first version, alone"},
		{installed(8, 3), []Installed{installed(5, 1)}, 5, 1, "its successor, with the first still bootable"},
		{installed(9, 3), []Installed{installed(8, 3)}, 8, 3, "the third"},
		{installed(8, 3), []Installed{installed(9, 3)}, 8, 3, "back to the second, because the third was damaged"},
		{installed(7, 2), nil, 8, 3, "floors never go down"},
	} {
		must(t, s.Committed(step.permanent, step.others...))
		for range 2 { // as it is, and read again
			dev := device(t, s)
			if dev.FloorCounter != step.floor || dev.FloorEpoch != step.epoch || hw.value != uint64(step.epoch) {
				t.Errorf("%s: floors %d and %d, counter %d; want %d and %d", step.what, dev.FloorCounter, dev.FloorEpoch, hw.value, step.floor, step.epoch)
			}
			s = mustOpen(t, d, f, c)
		}
	}
	if other, err := s.Device("doorcam"); err != nil || other.FloorCounter != 0 {
		t.Errorf("another product's floor is %d (%v)", other.FloorCounter, err)
	}
}

func TestAnEmptySlotIsForgotten(t *testing.T) {
	d, c := newMemDisk(), &bootTime{boot: "1"}
	f := alone(t)
	s := mustOpen(t, d, f, c)
	must(t, s.Staged("a", installed(5, 1), verify.Learned{}))
	must(t, s.Staged("system-b", installed(6, 1), verify.Learned{}))
	must(t, s.Cleared("system-b"))
	must(t, s.Cleared("b")) // holds nothing
	for range 2 {           // as it is, and read again
		_, emptied := s.Installed("system-b")
		if was, other := s.Installed("a"); emptied || !other || was != installed(5, 1) {
			t.Errorf("the emptied slot is known: %v; the other one: %v, %+v", emptied, other, was)
		}
		s = mustOpen(t, d, f, c)
	}
}

// fakeCounter is hardware that may fail.
type fakeCounter struct {
	value uint64
	err   error
}

func (c *fakeCounter) Read() (uint64, error) { return c.value, c.err }

func (c *fakeCounter) Advance(to uint64) error {
	if c.err == nil {
		c.value = max(c.value, to)
	}
	return c.err
}

func TestLostCopies(t *testing.T) {
	p := newParty(t)
	hw := &fakeCounter{}
	f := p.factory()
	f.Counter = hw
	begin := func() (*memDisk, *bootTime) {
		hw.value = 0
		d, c := newMemDisk(), &bootTime{boot: "1"}
		s := mustOpen(t, d, f, c)
		must(t, s.Committed(installed(7, 2)))
		must(t, s.Save())
		return d, c
	}
	spoil := func(raw []byte) []byte { return bytes.Replace(raw, []byte(`"gatecam":7`), []byte(`"gatecam":5`), 1) }
	for _, row := range []struct {
		name         string
		spoil        func(*memDisk)
		floor, epoch int64
		fresh        bool
		says         string
	}{
		{"nothing", func(*memDisk) {}, 7, 2, false, ""},
		{"the first copy is gone", func(d *memDisk) { delete(d.files, "state.0") }, 7, 2, false, "one of the two copies"},
		{"the second copy is gone", func(d *memDisk) { delete(d.files, "state.1") }, 7, 2, false, "one of the two copies"},
		{"the first copy says another number", func(d *memDisk) { d.files["state.0"] = spoil(d.files["state.0"]) }, 7, 2, false, "one of the two copies"},
		{"the second copy is cut", func(d *memDisk) { d.files["state.1"] = d.files["state.1"][:40] }, 7, 2, false, "one of the two copies"},
		{"both are damaged", func(d *memDisk) {
			d.files["state.0"], d.files["state.1"] = spoil(d.files["state.0"]), nil
		}, 0, 2, true, "was lost"},
		{"one is damaged, the other gone", func(d *memDisk) {
			d.files["state.0"] = spoil(d.files["state.0"])
			delete(d.files, "state.1")
		}, 0, 2, true, "was lost"},
		{"a copy of another format, the other gone", func(d *memDisk) {
			d.files["state.0"][len(magic)+3] = 2
			delete(d.files, "state.1")
		}, 0, 2, true, "was lost"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d, c := begin()
			row.spoil(d)
			s := mustOpen(t, d, f, c)
			dev := device(t, s)
			if dev.FloorCounter != row.floor || dev.FloorEpoch != row.epoch || s.Fresh() != row.fresh {
				t.Errorf("floors %d and %d, fresh %v; want %d, %d, %v", dev.FloorCounter, dev.FloorEpoch, s.Fresh(), row.floor, row.epoch, row.fresh)
			}
			if said := strings.Join(s.Problems(), "\n"); (row.says == "") != (said == "") || !strings.Contains(said, row.says) {
				t.Errorf("it says %q, want %q in it", said, row.says)
			}
			must(t, s.Save()) // which repairs the copies
			if s = mustOpen(t, d, f, c); len(s.Problems()) > 0 && !row.fresh {
				t.Errorf("after the next write it still says %q", s.Problems())
			}
		})
	}
}

func TestHardwareCounter(t *testing.T) {
	d, c := newMemDisk(), &bootTime{boot: "1"}
	hw := &fakeCounter{}
	f := alone(t)
	f.Counter = hw
	s := mustOpen(t, d, f, c)
	hw.err = errors.New("no answer")
	if err := s.Committed(installed(7, 2)); err == nil {
		t.Error("nobody hears of a counter that does not advance")
	}
	if s = mustOpen(t, d, f, c); s.Problems() == nil {
		t.Error("nobody hears of a counter that cannot be read")
	}
	if _, err := s.Device("gatecam"); verify.Code(err) != verify.CodeCounter {
		t.Errorf("without its counter a device judges packages: %v", err)
	}
	hw.err = nil
	if s = mustOpen(t, d, f, c); len(s.Problems()) != 1 || !strings.Contains(s.Problems()[0], "behind") {
		t.Errorf("a counter behind the state: %q", s.Problems())
	}
	must(t, s.Committed(installed(7, 2))) // again, as at each start
	if hw.value != 2 {
		t.Errorf("the counter is at %d, it was to catch up to 2", hw.value)
	}
	hw.value = 9 // another installation's state was copied onto this device
	if dev := device(t, mustOpen(t, d, f, c)); dev.FloorEpoch != 9 {
		t.Errorf("epoch floor %d below the hardware's 9", dev.FloorEpoch)
	}
}

func TestFileCounter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "counter")
	c := FileCounter(path)
	if n, err := c.Read(); n != 0 || err != nil {
		t.Fatalf("a new counter is at %d (%v)", n, err)
	}
	for _, step := range []struct{ to, want uint64 }{{3, 3}, {2, 3}, {3, 3}, {1 << 40, 1 << 40}} {
		must(t, c.Advance(step.to))
		if n, err := c.Read(); n != step.want || err != nil {
			t.Errorf("after %d the counter is at %d (%v), want %d", step.to, n, err, step.want)
		}
	}
	raw, err := os.ReadFile(path)
	must(t, err)
	for i := range raw {
		damaged := bytes.Clone(raw)
		damaged[i] ^= 1
		must(t, os.WriteFile(path, damaged, 0o600))
		if _, err := c.Read(); err == nil {
			t.Errorf("a counter with byte %d changed is read", i)
		}
		if err := c.Advance(1 << 50); err == nil {
			t.Errorf("a counter with byte %d changed is advanced over", i)
		}
	}
}

// An older agent that writes the state keeps what a newer one put there.
func TestUnknownMembersAreKept(t *testing.T) {
	d, c, f := newMemDisk(), &bootTime{boot: "1"}, alone(t)
	s := mustOpen(t, d, f, c)
	must(t, s.Committed(installed(7, 2)))
	doc, _, _, err := load(d)
	must(t, err)
	doc.others = map[string]json.RawMessage{"moon": json.RawMessage(`{"phase":"full"}`)}
	_, err = store(d, doc, 0)
	must(t, err)

	s = mustOpen(t, d, f, c)
	must(t, s.Committed(installed(8, 2)))
	doc, _, _, err = load(d)
	must(t, err)
	if string(doc.others["moon"]) != `{"phase":"full"}` || doc.Floors["gatecam"] != 8 {
		t.Errorf("the newer agent's member is %s, the floor %v", doc.others["moon"], doc.Floors)
	}
	raw, err := doc.seal()
	must(t, err)
	for name := range doc.others {
		if bytes.Count(raw, []byte(`"`+name+`"`)) != 1 {
			t.Errorf("%s is written %d times", name, bytes.Count(raw, []byte(name)))
		}
	}
}

// The names in members are exactly those of document's fields.
func TestMembersNamesEveryField(t *testing.T) {
	full := document{
		Generation: 1, Floors: map[string]int64{"x": 1}, Epoch: 1, Vendor: [][]byte{{1}}, Fleet: &fleet{}, Left: "x",
		Time: moment{Boot: "x"}, Slots: map[string]Installed{"a": {}},
	}
	raw, err := json.Marshal(full)
	must(t, err)
	var names map[string]json.RawMessage
	must(t, json.Unmarshal(raw, &names))
	for _, name := range members {
		delete(names, name)
	}
	if len(names) > 0 {
		t.Errorf("members lacks %v", names)
	}
}

func TestOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trust")
	f := alone(t)
	s, err := Open(dir, f)
	must(t, err)
	if _, err := os.Stat(dir); err == nil {
		t.Error("looking at the state made its directory")
	}
	must(t, s.Staged("a", installed(7, 1), verify.Learned{}))
	must(t, s.Committed(installed(7, 1)))
	if s, err = Open(dir, f); err != nil || s.Fresh() || s.Problems() != nil {
		t.Fatalf("opened again: fresh %v, problems %q, %v", s.Fresh(), s.Problems(), err)
	}
	if v, ok := s.Installed("a"); !ok || v != installed(7, 1) {
		t.Errorf("slot a holds %+v", v)
	}
	info, err := os.Stat(filepath.Join(dir, "state.0"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the state has the mode %v", info.Mode())
	}
}

func TestStateIsNotToBeTakenOverFromElsewhere(t *testing.T) {
	p := newParty(t)
	d, c := newMemDisk(), &bootTime{boot: "1"}
	s := mustOpen(t, d, p.factory(), c)
	first := p.factory()
	must(t, s.Rotate([][]byte{next(t, &p.vendor, nil)}, nil))
	// Whoever can write the disk, checksums and all, still has no root key.
	forged := newParty(t)
	doc, _, _, err := load(d)
	must(t, err)
	doc.Vendor = [][]byte{next(t, &forged.vendor, nil)}
	_, err = store(d, doc, 0)
	must(t, err)
	s = mustOpen(t, d, first, c)
	if s.Vendor().Root().Version() != 1 || len(s.Problems()) != 1 {
		t.Errorf("root %d, problems %q", s.Vendor().Root().Version(), s.Problems())
	}
}
