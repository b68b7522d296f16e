package slots_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/slots"
)

// full is a record with everything that it can say.
func full(counter int64) slots.Record {
	r := permanent("a", counter)
	r.Systems = map[string]slots.System{
		"a": {Digest: "system a", Version: "12.1.0", Counter: 40},
		"b": {Digest: "system b", Version: "12.2.0", Counter: 40 + counter},
	}
	r.Runtime = map[string]slots.Runtime{"a": {
		Slot: "b", Digest: fmt.Sprintf("runtime %d", counter), Version: "3.0.0", Counter: counter,
		Previous: &slots.Previous{Slot: "a", Digest: "runtime before", Version: "2.9.0", Counter: counter - 1},
	}}
	return r
}

// The files are as the first agent, and one with all of today's fields, wrote them:
// they must be readable for ever.
func TestRecordsOfAllAgentsAreReadable(t *testing.T) {
	first := permanent("a", 7)
	first.Generation = 2
	first.Live["b"] = slots.Live{Slot: "b", Digest: "digest 6", Version: "6.0.0", Counter: 6}
	whole := full(7)
	whole.Generation = 1
	for name, want := range map[string]slots.Record{"record.first": first, "record.full": whole} {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := slots.DecodeRecord(raw)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestRecordIsWrittenAsBefore(t *testing.T) {
	dir := t.TempDir()
	replace(t, openRecord(t, dir), full(7))
	got, err := os.ReadFile(filepath.Join(dir, "record.0"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/record.full")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%q, before it was\n%q", got, want)
	}
}

// An agent older than the record must not take away what it does not know.
func TestReplaceKeepsWhatNewerAgentsWrote(t *testing.T) {
	const newer = `{"generation":9,"system":"a","later":[1,{"x":"y"}],
		"live":{"a":{"slot":"a","digest":"digest 8","version":"8.0.0","counter":8,"mood":"good",
			"previous":{"slot":"b","digest":"before","version":"0.9.0","counter":7,"fate":"sealed"}}},
		"runtime":{"b":{"slot":"a","digest":"r","version":"1.0.0","counter":1,"hue":3}}}`
	for _, row := range []struct {
		name   string
		change func(*slots.Record)
		want   string // what is carried over, in the order of its names
	}{
		{"the same again", func(*slots.Record) {}, `later live.a.mood live.a.previous.fate runtime.b.hue`},
		{"another live version", func(r *slots.Record) {
			r.Live["a"] = slots.Live{Slot: "b", Digest: "digest 9", Version: "9.0.0", Counter: 9}
		}, `later runtime.b.hue`},
		{"no runtime", func(r *slots.Record) { r.Runtime = nil }, `later live.a.mood live.a.previous.fate`},
		{"a record made from nothing", func(r *slots.Record) { *r = permanent("b", 3) }, `later`},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "record.0"), slots.SealRecord(newer), 0o644); err != nil {
				t.Fatal(err)
			}
			f := openRecord(t, dir)
			r, err := f.Load()
			if err != nil {
				t.Fatal(err)
			}
			row.change(&r)
			replace(t, f, r)
			r.Generation++
			for i := range 2 {
				raw, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("record.%d", i)))
				if err != nil {
					t.Fatal(err)
				}
				got, err := slots.DecodeRecord(raw)
				got.Generation = r.Generation
				if diff := cmp.Diff(r, got); err != nil || diff != "" {
					t.Errorf("what it knows: %v (-want +got):\n%s", err, diff)
				}
				if carried := unknown(t, raw[20:]); carried != row.want {
					t.Errorf("carried over: %s, want %s", carried, row.want)
				}
			}
		})
	}
}

// unknown lists the members that only the newer agent knows.
func unknown(t *testing.T, doc []byte) (list string) {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(doc, &all); err != nil {
		t.Fatal(err)
	}
	at := func(path ...string) any {
		var v any = all
		for _, name := range path {
			object, ok := v.(map[string]any)
			if !ok {
				return nil
			}
			v = object[name]
		}
		return v
	}
	for _, path := range [][]string{{"later"}, {"live", "a", "mood"}, {"live", "a", "previous", "fate"}, {"runtime", "b", "hue"}} {
		if at(path...) == nil {
			continue
		}
		for i, name := range path {
			if i > 0 {
				list += "."
			} else if list != "" {
				list += " "
			}
			list += name
		}
	}
	return list
}

// TestPowerCutAndBadBlocksWhileReplacing cuts at every step, and then damages one
// copy, or the other, or both: there is the old record, or the new one, or the
// plain word that it is lost, and never a device that is like new.
func TestPowerCutAndBadBlocksWhileReplacing(t *testing.T) {
	for n, done := 1, false; !done; n++ {
		for bad := range 4 {
			dir := t.TempDir()
			f := openRecord(t, dir)
			replace(t, f, full(1))
			replace(t, f, full(2))
			power := cutAt(n)
			cut, err := slots.OpenRecordOn(dir, power.wrap)
			if err != nil {
				t.Fatal(err)
			}
			_ = cut.Replace(full(3))
			cut.Close()
			done = power.step < n
			for i := range 2 {
				if bad&(1<<i) != 0 {
					damage(t, filepath.Join(dir, fmt.Sprintf("record.%d", i)), []string{"cut", "empty"}[n%2])
				}
			}
			r, err := f.Load()
			switch {
			case bad == 3:
				if !errors.Is(err, slots.ErrRecordLost) {
					t.Fatalf("cut at %d, both copies bad: %+v, %v", n, r, err)
				}
				continue
			case err != nil:
				t.Fatalf("cut at %d, copies %b bad: %v", n, bad, err)
			}
			for _, counter := range []int64{2, 3} {
				want := full(counter)
				if want.Generation = r.Generation; cmp.Equal(want, r) {
					err = errors.New("is one of them")
				}
			}
			if err == nil {
				t.Fatalf("cut at %d, copies %b bad: neither the old nor the new: %+v", n, bad, r)
			}
		}
	}
}
