package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

// maxTries is how often others may change a record in between.
const maxTries = 20

// ErrInvalid is wrapped by what is wrong with a change.
var ErrInvalid = errors.New("this cannot be")

// Patch changes what people say of a device. A revision that is not 0 must be the
// record's, else it is [ErrChanged].
func (f *Fleet) Patch(ctx context.Context, who audit.Who, id string, p view.DevicePatch, rev int64) (view.Device, error) {
	return f.change(ctx, id, rev, func(r *Record, known bool) (Record, *view.AuditLine, error) {
		if !known || !r.Revoked.IsZero() {
			return *r, nil, ErrUnknown
		}
		after := r.patched(p)
		if err := after.Check(); err != nil {
			return *r, nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		line := who.Line("device.patch", "device "+id)
		line.Before, line.After = audit.Value(r.said()), audit.Value(after.said())
		return after, &line, nil
	})
}

// Enrolled is what is known of a device that was let in.
type Enrolled struct {
	ID     string
	Key    string // SHA-256 of its public key, hex
	Serial string // of its certificate
	Until  time.Time
	Site   string   // given by the token, if it has none yet
	Tags   []string // likewise
	// May, if set, judges the record as it is in the instant in which the device is let in.
	May func(r Record, known bool) error
}

// Enrol lets a device in, also one that was revoked or has another key now. Ifs and ops are
// committed with it: the use of its token.
func (f *Fleet) Enrol(ctx context.Context, who audit.Who, d Enrolled, ifs []store.Cond, ops []store.Op) (view.Device, error) {
	if err := CheckID(d.ID); err != nil {
		return view.Device{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return f.changeWith(ctx, d.ID, 0, ifs, ops, func(r *Record, known bool) (Record, *view.AuditLine, error) {
		if d.May != nil {
			if err := d.May(*r, known); err != nil {
				return *r, nil, err
			}
		}
		after := *r
		after.ID, after.Key, after.Serial, after.Until = d.ID, d.Key, d.Serial, d.Until.UTC()
		after.Enrolled, after.Revoked = time.Now().UTC().Truncate(time.Second), time.Time{}
		if after.Site == "" {
			after.Site = d.Site
		}
		for _, tag := range d.Tags {
			if !slices.Contains(after.Tags, tag) {
				after.Tags = append(slices.Clone(after.Tags), tag)
			}
		}
		line := who.Line("device.enrol", "device "+d.ID)
		line.After = audit.Value(map[string]any{"key": d.Key, "serial": d.Serial, "again": known})
		return after, &line, nil
	})
}

// Renewed notes a device's newer certificate; nobody did that, so there is no audit line.
func (f *Fleet) Renewed(ctx context.Context, id, serial string, until time.Time) error {
	_, err := f.change(ctx, id, 0, func(r *Record, known bool) (Record, *view.AuditLine, error) {
		after := *r
		after.Serial, after.Until = serial, until.UTC()
		return after, nil, mustKnow(known, r)
	})
	return err
}

// Revoke shuts a device out and takes it off the lists. A token lets it in again.
func (f *Fleet) Revoke(ctx context.Context, who audit.Who, id string, rev int64) error {
	_, err := f.change(ctx, id, rev, func(r *Record, known bool) (Record, *view.AuditLine, error) {
		after := *r
		after.Revoked = time.Now().UTC()
		line := who.Line("device.revoke", "device "+id)
		line.Before = audit.Value(r.said())
		return after, &line, mustKnow(known, r)
	})
	return err
}

// NextEpoch reserves the epoch of the next ask of a device: one more than was ever used.
func (f *Fleet) NextEpoch(ctx context.Context, id string) (epoch int64, err error) {
	_, err = f.change(ctx, id, 0, func(r *Record, known bool) (Record, *view.AuditLine, error) {
		after := *r
		after.Epoch++
		epoch = after.Epoch
		return after, nil, mustKnow(known, r)
	})
	return epoch, err
}

func mustKnow(known bool, r *Record) error {
	if !known || !r.Revoked.IsZero() {
		return ErrUnknown
	}
	return nil
}

// changer makes a record of the one that is stored, and the line that tells of it, if
// anything does. It may be asked several times.
type changer func(r *Record, known bool) (Record, *view.AuditLine, error)

func (f *Fleet) change(ctx context.Context, id string, rev int64, how changer) (view.Device, error) {
	return f.changeWith(ctx, id, rev, nil, nil, how)
}

func (f *Fleet) changeWith(ctx context.Context, id string, rev int64, ifs []store.Cond, ops []store.Op, how changer) (view.Device, error) {
	for range maxTries {
		at, after, err := f.tryChange(ctx, id, rev, ifs, ops, how)
		if err == nil {
			return f.took(after, at), nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return view.Device{}, err
		}
		if err := f.stillHold(ctx, ifs); err != nil {
			return view.Device{}, err
		}
	}
	return view.Device{}, fmt.Errorf("device %s: %w", id, ErrChanged)
}

func (f *Fleet) tryChange(ctx context.Context, id string, rev int64, ifs []store.Cond, ops []store.Op, how changer) (int64, Record, error) {
	item, err := f.cfg.Store.Get(ctx, prefixDevice+id)
	known := err == nil
	r := Record{ID: id}
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return 0, r, err
	default:
		if r, err = Decode(item.Value); err != nil {
			return 0, r, err
		}
	}
	if rev != 0 && rev != item.Rev {
		return 0, r, ErrChanged
	}
	after, line, err := how(&r, known)
	if err != nil {
		return 0, r, err
	}
	value, err := after.encode()
	if err != nil {
		return 0, r, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	conds := append([]store.Cond{{Key: prefixDevice + id, Rev: item.Rev}}, ifs...)
	changes := append([]store.Op{{Key: prefixDevice + id, Value: value}}, ops...)
	var at int64
	if line == nil {
		at, err = f.cfg.Store.Commit(ctx, conds, changes)
	} else {
		at, err = f.cfg.Audit.Commit(ctx, conds, changes, *line)
	}
	return at, after, err
}

// stillHold returns [store.ErrConflict] if it was the caller's conditions that did not
// hold, and not the record that has changed.
func (f *Fleet) stillHold(ctx context.Context, ifs []store.Cond) error {
	if len(ifs) == 0 {
		return nil
	}
	for _, c := range ifs {
		item, err := f.cfg.Store.Get(ctx, c.Key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if item.Rev != c.Rev {
			return fmt.Errorf("%w: %s", store.ErrConflict, c.Key)
		}
	}
	return nil
}

// took puts what was committed into the table, before the store tells of it.
func (f *Fleet) took(r Record, rev int64) view.Device {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(r, rev)
	return f.row(f.devices[r.ID])
}
