package order

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/store"
)

const (
	// block is how many numbers a panel takes at a time for orders to single devices.
	block = 1000
	// blockTimeout bounds what that costs who waits to send one.
	blockTimeout = 10 * time.Second
)

// Covers tells whether a release is ordered for all of some devices at a time.
func (o *Orders) Covers(release string, devices []string, at time.Time) bool {
	r := o.now(release)
	return r.Number > 0 && r.Until.After(at) && !slices.ContainsFunc(devices, func(d string) bool { return !r.covers(d) })
}

// Named are the devices that the order for a release names; none if it is for all.
func (o *Orders) Named(release string) []string { return o.now(release).Devices }

// Cover orders a release for the devices of a rollout, or for all, unless that was done: who
// may start it may order it. More devices than can be named are all.
func (o *Orders) Cover(ctx context.Context, who audit.Who, release string, devices []string, all bool, why string) error {
	if all {
		devices = nil
	}
	if r := o.now(release); r.Until.After(time.Now().Add(Life/2)) && (r.All || !all && o.Covers(release, devices, time.Now())) {
		return nil
	}
	until := time.Now().Add(forRollouts)
	_, err := o.Sign(ctx, who, release, devices, why, until)
	if errors.Is(err, ErrInvalid) && len(devices) > 0 {
		_, err = o.Sign(ctx, who, release, nil, why, until)
	}
	return err
}

func (o *Orders) now(release string) record {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept[release]
}

// For is an order to one device for a release, by the newest number, none if the release is
// not ordered for it: then the device says so.
func (o *Orders) For(device, release string) [][]byte {
	r := o.now(release)
	if r.Number == 0 || !r.covers(device) {
		return nil
	}
	n, err := o.number()
	if err == nil {
		r.Number, r.All, r.Devices = n, false, []string{device}
		r.Bundles, err = o.signed(r)
	}
	if err != nil {
		o.cfg.Log.Error("a device got no order", "device", device, "release", release, "cause", err)
		return nil
	}
	return r.Bundles
}

// number is one that is above all that were ever used, as far as this panel has heard.
func (o *Orders) number() (int64, error) {
	o.numbering.Lock()
	defer o.numbering.Unlock()
	if n, ok := o.take(); ok {
		return n, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), blockTimeout)
	defer cancel()
	for range maxTries {
		last, err := read[int64](ctx, o.cfg.Store, keyLast)
		if err != nil {
			return 0, err
		}
		text, err := json.Marshal(last.value + block)
		if err != nil {
			return 0, err
		}
		_, err = o.cfg.Store.Commit(ctx, []store.Cond{{Key: keyLast, Rev: last.rev}}, []store.Op{{Key: keyLast, Value: text}})
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return 0, err
		}
		o.mu.Lock()
		o.next, o.end = last.value+2, last.value+block
		o.mu.Unlock()
		return last.value + 1, nil
	}
	return 0, fmt.Errorf("take numbers for orders: %w", store.ErrConflict)
}

func (o *Orders) take() (n int64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next == 0 || o.next > o.end {
		return 0, false
	}
	o.next++
	return o.next - 1, true
}

// used hears which numbers are used. What this panel has left of older ones is below
// those of others then.
func (o *Orders) used(upTo int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if upTo > o.end {
		o.next = 0
	}
}
