package slots_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/slots"
)

func openRecord(t testing.TB, dir string) *slots.RecordFile {
	t.Helper()
	f, err := slots.OpenRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func permanent(slot string, counter int64) slots.Record {
	return slots.Record{System: "a", Live: map[string]slots.Live{"a": {
		Slot: slot, Digest: fmt.Sprintf("digest %d", counter), Version: fmt.Sprintf("%d.0.0", counter), Counter: counter,
		Previous: &slots.Previous{Slot: "b", Digest: "before", Version: "0.9.0", Counter: counter - 1},
	}}}
}

func replace(t testing.TB, f *slots.RecordFile, r slots.Record) {
	t.Helper()
	if err := f.Replace(r); err != nil {
		t.Fatal(err)
	}
}

func TestRecordIsWhatWasReplacedLast(t *testing.T) {
	dir := t.TempDir()
	if _, err := openRecord(t, dir).Load(); !errors.Is(err, slots.ErrNoRecord) {
		t.Fatalf("a new device: %v", err)
	}
	for i := int64(1); i <= 5; i++ {
		replace(t, openRecord(t, dir), permanent("a", i))
		want := permanent("a", i)
		want.Generation = uint64(i)
		got, err := openRecord(t, dir).Load()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("record %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestEitherCopyIsEnough(t *testing.T) {
	for _, lost := range []string{"record.0", "record.1"} {
		for _, how := range []string{"missing", "empty", "cut"} {
			t.Run(lost+" "+how, func(t *testing.T) {
				dir := t.TempDir()
				f := openRecord(t, dir)
				replace(t, f, permanent("a", 1))
				replace(t, f, permanent("b", 2))
				damage(t, filepath.Join(dir, lost), how)
				if r, err := f.Load(); err != nil || r.Live["a"].Counter != 2 {
					t.Errorf("got %+v, %v", r, err)
				}
				replace(t, f, permanent("a", 3))
				for i := range 2 { // both copies are whole again
					other := filepath.Join(dir, fmt.Sprintf("record.%d", i))
					raw, err := os.ReadFile(other)
					if err != nil {
						t.Fatal(err)
					}
					damage(t, other, "missing")
					if r, err := f.Load(); err != nil || r.Live["a"].Counter != 3 || r.Generation != 3 {
						t.Errorf("without %s: %+v, %v", other, r, err)
					}
					if err := os.WriteFile(other, raw, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

func damage(t *testing.T, name, how string) {
	t.Helper()
	info, err := os.Stat(name)
	if err == nil {
		switch how {
		case "missing":
			err = os.Remove(name)
		case "empty":
			err = os.Truncate(name, 0)
		case "cut":
			err = os.Truncate(name, info.Size()-1)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestALostRecordIsNotANewDevice(t *testing.T) {
	dir := t.TempDir()
	f := openRecord(t, dir)
	replace(t, f, permanent("a", 1))
	damage(t, filepath.Join(dir, "record.0"), "cut")
	damage(t, filepath.Join(dir, "record.1"), "missing")
	_, err := f.Load()
	if !errors.Is(err, slots.ErrRecordLost) || errors.Is(err, slots.ErrNoRecord) {
		t.Errorf("got %v, want %v", err, slots.ErrRecordLost)
	}
	replace(t, f, permanent("b", 7))
	if r, err := f.Load(); err != nil || r.Live["a"].Counter != 7 {
		t.Errorf("after a new start: %+v, %v", r, err)
	}
}

// TestEveryBitOfACopyIsGuarded flips each bit of one copy while the other is
// gone: a record that was changed is never believed.
func TestEveryBitOfACopyIsGuarded(t *testing.T) {
	dir := t.TempDir()
	f := openRecord(t, dir)
	replace(t, f, permanent("a", 1))
	damage(t, filepath.Join(dir, "record.1"), "missing")
	name := filepath.Join(dir, "record.0")
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			if err := os.WriteFile(name, raw, 0o644); err != nil {
				t.Fatal(err)
			}
			if r, err := f.Load(); !errors.Is(err, slots.ErrRecordLost) {
				t.Fatalf("bit %d of byte %d: %+v, %v", bit, i, r, err)
			}
			raw[i] ^= 1 << bit
		}
	}
}

// TestPowerCutWhileReplacing cuts at every step: before the commit point the old
// record holds, after it the new one, and the answer says which, except at the
// very step between.
func TestPowerCutWhileReplacing(t *testing.T) {
	for n, done := 1, false; !done; n++ {
		dir := t.TempDir()
		f := openRecord(t, dir)
		replace(t, f, permanent("a", 1))
		replace(t, f, permanent("b", 2))
		power := cutAt(n)
		cut, err := slots.OpenRecordOn(dir, power.wrap)
		if err != nil {
			t.Fatal(err)
		}
		err = cut.Replace(permanent("a", 3))
		done = power.step < n
		cut.Close()
		r, errLoad := f.Load()
		if errLoad != nil {
			t.Fatalf("cut at %d: %v", n, errLoad)
		}
		got := r.Live["a"].Counter
		if got != 2 && got != 3 || err == nil && got != 3 || errors.Is(err, slots.ErrUntouched) && got != 2 {
			t.Fatalf("cut at %d: counter %d after %v", n, got, err)
		}
		replace(t, f, permanent("b", 4))
		if r, err := f.Load(); err != nil || r.Live["a"].Counter != 4 || r.Generation <= 2 {
			t.Fatalf("cut at %d: next record %+v, %v", n, r, err)
		}
	}
}

// A full disk fails at the first byte, and then it is known that nothing has changed.
func TestADiskWithoutRoomTouchesNoRecord(t *testing.T) {
	dir := t.TempDir()
	replace(t, openRecord(t, dir), permanent("a", 1))
	full := &faults{fails: func(step int) bool { return step >= 2 }} // the first one removes a file
	f, err := slots.OpenRecordOn(dir, full.wrap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Replace(permanent("b", 2)); !errors.Is(err, slots.ErrUntouched) || !errors.Is(err, errFault) {
		t.Errorf("replaced: %v", err)
	}
}

func TestARecordTooLargeIsRefused(t *testing.T) {
	f := openRecord(t, t.TempDir())
	replace(t, f, permanent("a", 1))
	if err := f.Replace(slots.Record{System: strings.Repeat("x", 1<<17)}); err == nil {
		t.Error("not refused")
	}
	if r, err := f.Load(); err != nil || r.Generation != 1 {
		t.Errorf("the record changed: %+v, %v", r, err)
	}
}

// A later agent adds fields; this one must still read the rest.
func TestFieldsOfLaterAgentsAreSkipped(t *testing.T) {
	r, err := slots.DecodeRecord(slots.SealRecord(`{"generation":9,"system":"b","live":{},"later":{"a":1}}`))
	if err != nil || r.Generation != 9 || r.System != "b" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(slots.SealRecord(`{"generation":1,"system":"a","live":{"a":{"slot":"b"}}}`))
	f.Add(slots.SealRecord(``))
	f.Add([]byte("SLIPREC\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := slots.DecodeRecord(raw)
		if err != nil && (r.Generation != 0 || r.System != "" || r.Live != nil) {
			t.Errorf("refused and yet returned %+v", r)
		}
	})
}
