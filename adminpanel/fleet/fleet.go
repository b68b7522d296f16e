package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

const (
	prefixDevice = "d/"
	prefixPanel  = "hub/"
)

// Errors that callers tell apart.
var (
	ErrUnknown = errors.New("there is no such device")
	ErrChanged = errors.New("the device's record has changed meanwhile: look at it again")
)

// Config is what a fleet works with.
type Config struct {
	Store store.Store
	Audit *audit.Log
	// Panel is this panel's name among those on the store.
	Panel string
	// OfflineAfter, if set, is how long a device may be away until that is written
	// down. It is asked each time, for it is one of the settings.
	OfflineAfter func() time.Duration
	Log          *slog.Logger
}

// defaultOfflineAfter is long enough for a reboot of the device and a new start of the panel.
const defaultOfflineAfter = 10 * time.Minute

// Fleet keeps a [Table] in step with the store and the links. It is safe for concurrent
// use.
type Fleet struct {
	cfg    Config
	table  *Table
	loaded chan struct{} // closed when all records are in the table

	mu       sync.Mutex // guards what follows
	devices  map[string]*entry
	panels   map[string]panel
	began    time.Time
	before   time.Time           // when a panel of this name lived last, before this one began
	leading  bool                // it does what one panel of all does
	linked   int                 // devices whose link this panel has
	dirty    map[string]struct{} // records to be written
	wake     chan struct{}       // holds one token while dirty is not empty
	watchers map[*Watch]struct{}
}

type entry struct {
	known   bool // there is a record; else only a link was heard of
	rec     Record
	rev     int64
	link    Link
	left    time.Time // when it was last online here, or the panel began
	rollout string
	shown   []string // versions that the table counts as tried
}

// panel is another panel, or this one, as its last sign of life says.
type panel struct {
	life
	heard time.Time // by the clock of this one
	rev   int64
}

// New makes a fleet that is empty until [Fleet.Run].
func New(cfg Config) *Fleet {
	if cfg.Panel == "" {
		cfg.Panel = "panel"
	}
	if cfg.OfflineAfter == nil {
		cfg.OfflineAfter = func() time.Duration { return defaultOfflineAfter }
	}
	return &Fleet{
		cfg: cfg, table: NewTable(), loaded: make(chan struct{}), began: time.Now(),
		devices: map[string]*entry{}, panels: map[string]panel{}, dirty: map[string]struct{}{}, wake: make(chan struct{}, 1),
		watchers: map[*Watch]struct{}{},
	}
}

// Table is the fleet as of now.
func (f *Fleet) Table() *Table { return f.table }

// Loaded is closed when every record of the store is in the table.
func (f *Fleet) Loaded() <-chan struct{} { return f.loaded }

// Record returns what the store holds of a device, and its revision.
func (f *Fleet) Record(id string) (Record, int64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.devices[id]
	if e == nil || !e.known {
		return Record{}, 0, false
	}
	return e.rec, e.rev, true
}

// Admitted says whether a device is enrolled with this key (SHA-256 of the public key, hex)
// and was not revoked.
func (f *Fleet) Admitted(id, key string) bool {
	r, _, ok := f.Record(id)
	return ok && r.Key == key && key != "" && r.Revoked.IsZero()
}

// Admit is [Fleet.Admitted], but before it says no it asks the store: another panel may have
// let the device in just now.
func (f *Fleet) Admit(ctx context.Context, id, key string) bool {
	if f.Admitted(id, key) {
		return true
	}
	if CheckID(id) != nil {
		return false
	}
	f.refresh(ctx, id)
	return f.Admitted(id, key)
}

// Heard takes in what the hub knows of a device: that it came or went, or its newest
// status. One that the store does not know is added, unless it was revoked.
func (f *Fleet) Heard(id string, l Link) {
	if CheckID(id) != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.devices[id]
	if e == nil {
		e = &entry{rec: Record{ID: id}, left: l.Seen}
		f.devices[id] = e
	}
	switch {
	case l.Online && !e.link.Online:
		f.linked++
	case !l.Online && e.link.Online:
		f.linked--
		e.left = l.Seen
	}
	e.link = l
	f.show(e)
	f.judge(e, time.Now())
}

// InRollout says in which rollout devices are; "" ends it.
func (f *Fleet) InRollout(rollout string, ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		if e := f.devices[id]; e != nil && e.rollout != rollout {
			e.rollout = rollout
			f.show(e)
		}
	}
}

// show puts a device into the table and tells who watches. It needs the lock.
func (f *Fleet) show(e *entry) {
	switch {
	case !e.rec.Revoked.IsZero(), !e.known && e.link.Seen.IsZero():
		f.table.Delete(e.rec.ID)
		e.shown = nil
	default:
		f.table.Put(f.row(e))
		if !slices.Equal(e.shown, e.rec.Tried) {
			f.table.Tried(e.rec.ID, e.rec.Tried)
			e.shown = e.rec.Tried
		}
	}
	f.touch(e.rec.ID)
}

func (f *Fleet) row(e *entry) view.Device {
	d := row(&e.rec, e.rev, e.link, f.elsewhere(e), e.rollout)
	d.LastSeen = f.lastSeen(e)
	return d
}

// lastSeen is at least when the panel lived that had the device's link, if nobody has
// written that it went: it is written only some time later.
func (f *Fleet) lastSeen(e *entry) time.Time {
	seen := e.rec.LastSeen
	if e.link.Seen.After(seen) {
		seen = e.link.Seen
	}
	if !e.rec.Away && e.link.Seen.IsZero() {
		at := f.panels[e.rec.Home].At
		if e.rec.Home == f.cfg.Panel {
			at = f.before
		}
		if at.After(seen) {
			seen = at
		}
	}
	return seen.UTC()
}

// At names the other panel that lives and has a device's link.
func (f *Fleet) At(id string) (panel string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.devices[id]; e != nil && f.elsewhere(e) {
		return e.rec.Home, true
	}
	return "", false
}

// elsewhere says whether another panel that lives has the device's link.
func (f *Fleet) elsewhere(e *entry) bool {
	home := e.rec.Home
	return !e.link.Online && e.known && home != f.cfg.Panel && home != "" && !e.rec.Away && f.lives(home, time.Now())
}

// put takes a record of the store. It needs the lock.
func (f *Fleet) put(rec Record, rev int64) {
	e := f.devices[rec.ID]
	if e == nil {
		e = &entry{left: f.began}
		f.devices[rec.ID] = e
	}
	if e.known && rev <= e.rev {
		return
	}
	if e.link.Online && e.known && e.rec.Home == f.cfg.Panel && rec.Home != e.rec.Home {
		e.link.Online = false // it has called another panel, and this link is dead
		f.linked--
	}
	e.rec, e.rev, e.known = rec, rev, true
	f.show(e)
	f.judge(e, time.Now())
}

// drop forgets a record that is no more in the store. It needs the lock.
func (f *Fleet) drop(id string, rev int64) {
	e := f.devices[id]
	if e == nil || !e.known || rev <= e.rev {
		return
	}
	if e.link.Online {
		f.linked--
	}
	delete(f.devices, id)
	f.table.Delete(id)
	f.touch(id)
}

// Counts says how many devices are enrolled, and how many are linked, over all panels that live.
func (f *Fleet) Counts() view.Hub {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := view.Hub{Panels: 1, Linked: f.linked, Devices: f.table.Len()}
	for name, p := range f.panels {
		if name != f.cfg.Panel && f.lives(name, time.Now()) {
			h.Panels++
			h.Linked += p.Linked
		}
	}
	return h
}

// Run follows the store, writes what has to be remembered, and shows that this panel
// lives, until ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	var owned sync.WaitGroup
	defer owned.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	owned.Go(func() { f.follow(ctx, prefixPanel, f.panelChanged, f.panelsSwept) })
	owned.Go(func() { f.write(ctx) })
	owned.Go(func() { f.live(ctx) })
	owned.Go(func() { f.lead(ctx) })
	f.follow(ctx, prefixDevice, f.deviceChanged, f.devicesSwept)
	return ctx.Err()
}

func (f *Fleet) deviceChanged(id string, value []byte, rev int64) {
	if value == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.drop(id, rev)
		return
	}
	rec, err := Decode(value)
	if err == nil && rec.ID != id {
		err = fmt.Errorf("it is that of %q", rec.ID)
	}
	if err != nil {
		f.cfg.Log.Error("a device's record cannot be read and is left as it is", "device", id, "cause", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(rec, rev)
}

// devicesSwept drops what a scan did not find.
func (f *Fleet) devicesSwept(found map[string]bool, rev int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range slices.Collect(maps.Keys(f.devices)) {
		if !found[id] {
			f.drop(id, rev)
		}
	}
	select {
	case <-f.loaded:
	default:
		close(f.loaded)
	}
}
