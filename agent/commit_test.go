package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"testing"

	"slipstream/slots"
)

// flaky is a real active record on a disk that fails some writes, before or after
// they took hold. White-box, because no device has such a disk.
type flaky struct {
	*slots.RecordFile
	faults []fault // of the next writes
}

type fault int

const (
	works     fault = iota
	lost            // nothing of it arrived
	tookAfter       // it arrived, but that could not be told
	noRoom          // nor could it be begun
)

var errDisk = errors.New("input/output error")

func (f *flaky) Replace(r slots.Record) error {
	now := works
	if len(f.faults) > 0 {
		now, f.faults = f.faults[0], f.faults[1:]
	}
	switch now {
	case lost:
		return errDisk
	case noRoom:
		return fmt.Errorf("%w: %w", slots.ErrUntouched, syscall.ENOSPC)
	case tookAfter:
		if err := f.RecordFile.Replace(r); err != nil {
			return err
		}
		return errDisk
	}
	return f.RecordFile.Replace(r)
}

func TestACommitIsKnownBeforeItIsTold(t *testing.T) {
	one := Version{Slot: "a", Digest: "d1", Version: "1.0.0", Counter: 1}
	two := Version{Slot: "b", Digest: "d2", Version: "2.0.0", Counter: 2}
	tests := []struct {
		name    string
		first   bool // there is no record yet
		faults  []fault
		commits bool
	}{
		{"a good disk", false, nil, true},
		{"one write is lost", false, []fault{lost}, false},
		{"one write is lost, and so is the old record's", false, []fault{lost, lost}, true},
		{"a write takes hold and nobody knows", false, []fault{tookAfter}, true},
		{"so does the old record's", false, []fault{lost, tookAfter}, true},
		{"the first record of all", true, []fault{lost, lost}, true},
		{"a full disk", false, []fault{noRoom}, false},
		{"a full disk after a write that nobody knows of", false, []fault{lost, noRoom, noRoom, noRoom}, true},
		{"a full disk, and there was no record", true, []fault{noRoom}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file, err := slots.OpenRecord(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			f := &flaky{RecordFile: file}
			a := &Agent{record: f, log: slog.New(slog.DiscardHandler)}
			if !test.first {
				if err := a.replaceRecord(one, Version{}); err != nil {
					t.Fatal(err)
				}
			}
			f.faults = append([]fault{}, test.faults...)
			err = a.commitRecord(t.Context(), two, one)
			if (err == nil) != test.commits {
				t.Errorf("commit: %v", err)
			}
			want := one.Version
			if test.commits {
				want = two.Version
			}
			if test.first && !test.commits {
				if r, err := file.Load(); !errors.Is(err, slots.ErrNoRecord) {
					t.Errorf("the record says %+v, %v", r, err)
				}
				return
			}
			if got, err := file.Load(); err != nil || got.Live[firstSystem].Version != want {
				t.Errorf("the record says %+v, %v, not %s", got.Live, err, want)
			}
			if len(f.faults) != 0 {
				t.Errorf("%d writes were not tried", len(f.faults))
			}
		})
	}
}
