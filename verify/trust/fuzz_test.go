package trust

import (
	"bytes"
	"testing"
	"time"
)

// Whatever stands in the files, the state is read or lost, and what was read is
// written down again so that it says the same.
func FuzzState(f *testing.F) {
	full := &document{
		Generation: 7, Floors: map[string]int64{"gatecam": 7}, Epoch: 2, Vendor: [][]byte{[]byte("{}")},
		Fleet: &fleet{Root: []byte("{}"), Sequence: 5}, Left: "x", Time: moment{Own: built, Boot: "1", Since: int64(time.Hour)},
		Slots: map[string]Installed{"a": installed(7, 2)},
	}
	for _, d := range []*document{{}, full} {
		raw, err := d.seal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw[headerSize:], true)
		f.Add(raw, false)
	}
	f.Add([]byte(`{"generation":1,"moon":{"phase":[1]}}`), true)
	factory := alone(f)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		if sealed {
			data = sealText(data)
		}
		d := newMemDisk()
		d.files["state.0"] = data
		s := mustOpen(t, d, factory, &bootTime{boot: "1"})
		if s.Fresh() {
			if s.Problems() == nil {
				t.Fatal("the state is lost, and nobody says so")
			}
			return
		}
		before, err := unseal(data)
		must(t, err)
		raw, err := before.seal()
		must(t, err)
		after, err := unseal(raw)
		if err != nil {
			t.Fatalf("read %q, and not what was written of it: %v", data, err)
		}
		again, err := after.seal()
		must(t, err)
		if !bytes.Equal(raw, again) {
			t.Fatalf("%q becomes %q", raw, again)
		}
		s.Device("gatecam")
	})
}
