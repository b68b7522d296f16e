package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipstream/slots"
)

const (
	firstRecordPause = 100 * time.Millisecond
	maxRecordPause   = 5 * time.Second
)

// errUndecided means that the agent ended while nobody could tell which record
// holds. Nothing may be concluded from it: the next agent reads what does.
var errUndecided = errors.New("it is not known which active record holds")

// recordFile is the active record on disk, [slots.RecordFile].
type recordFile interface {
	Load() (slots.Record, error)
	Replace(slots.Record) error
	Close() error
}

// writeRecord is the commit point.
func (a *Agent) writeRecord(ctx context.Context, e WriteRecord) {
	switch err := a.commitRecord(ctx, e.Version, e.Previous); {
	case err == nil:
		a.raiseFloors(e.Version, e.Previous)
		a.post(RecordWritten{e.Trial})
	case !errors.Is(err, errUndecided):
		a.post(RecordFailed{Trial: e.Trial, Error: sentence(err)})
	}
}

// commitRecord makes a version permanent. After nil it is for good. After an error
// the record before is, for good as well, because no write came as far as to touch it,
// as on a full disk, or because it was written back: a write
// that failed may still have reached the disk, and what Load returns then may be
// another thing after the next power cut. As long as neither is certain it goes
// on trying, and nobody is told anything.
func (a *Agent) commitRecord(ctx context.Context, v, previous Version) error {
	before, loadErr := a.record.Load()
	pause := firstRecordPause
	untouched := loadErr == nil || errors.Is(loadErr, slots.ErrNoRecord)
	for {
		err := a.replaceRecord(v, previous)
		if err == nil {
			return nil
		}
		a.log.Error("active record not written", "version", v.Version, "reason", err)
		untouched = untouched && errors.Is(err, slots.ErrUntouched)
		if untouched || loadErr == nil && a.putBack(before) {
			return fmt.Errorf("the active record could not be written: %w", err)
		}
		if !Wait(ctx, pause) {
			return errUndecided
		}
		pause = min(2*pause, maxRecordPause)
	}
}

// putBack makes the record before certain again, if it still is what holds.
func (a *Agent) putBack(before slots.Record) bool {
	now, err := a.record.Load()
	if err != nil || now.Generation != before.Generation {
		return false
	}
	if err := a.record.Replace(before); err != nil {
		a.log.Error("active record not written back", "reason", err)
		return false
	}
	return true
}
