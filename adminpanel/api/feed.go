package api

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

const (
	feedAgain = time.Second // after the store's watch was lost
	// maxLines are how many of the newest audit lines a reader that comes back is told of.
	maxLines = 1000
	// recent is told to every reader: what has changed between the fetch of a page and the
	// beginning of its events, or was told by another panel a moment before.
	recent = 10 * time.Second
)

// Kinds of changes, as events name them.
const (
	kindDevice  = "device"
	kindRollout = "rollout"
	kindRelease = "release"
	kindAudit   = "audit"
	kindHub     = "hub"
	kindResync  = "resync"
	kindBeat    = "beat"
)

// change is what has changed: of a device its id, of the audit a line's key.
type change struct{ kind, id string }

// mark is when it last did.
type mark struct {
	rev int64
	at  time.Time
}

// feed knows what has changed last, and when: in the store, and of what the links tell.
// Changes of presence have no revision of their own and get the newest that is known, so
// who has seen all up to a revision is told what changed at it once more.
type feed struct {
	store store.Store
	fleet *fleet.Fleet
	log   *slog.Logger

	recent time.Duration
	table  *fleet.Watch // begun before anybody reads, so that nothing is missed at the start
	links  *hub.Watch   // likewise

	mu      sync.Mutex // guards what follows
	rev     int64      // newest of the store that was heard of
	floor   int64      // changes before it are not known
	marks   map[change]mark
	lines   []change // of the audit, the oldest first
	counts  view.Hub
	readers map[*feedReader]struct{}
}

// feedReader gathers what has changed for one reader. However slow that is, each change is
// there once.
type feedReader struct {
	feed  *feed
	dirty map[change]mark // guarded by feed.mu
	lost  bool            // something may be missing; likewise
	wake  chan struct{}   // holds one token while there is something
}

func newFeed(cfg Config) *feed {
	return &feed{
		store: cfg.Store, fleet: cfg.Fleet, log: cfg.Log, recent: recent,
		table: cfg.Fleet.Watch(), links: cfg.Hub.Watch(),
		marks: map[change]mark{}, readers: map[*feedReader]struct{}{},
	}
}

// now is the newest revision that all that is told from now on follows.
func (f *feed) now() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rev
}

// read begins to gather: what follows a revision (0: from now on) and what is recent.
func (f *feed) read(after int64) *feedReader {
	r := &feedReader{feed: f, dirty: map[change]mark{}, wake: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers[r] = struct{}{}
	r.lost = after > 0 && (after < f.floor || f.floor == 0)
	since := time.Now().Add(-f.recent)
	for c, m := range f.marks {
		if after > 0 && m.rev >= after || m.at.After(since) {
			r.dirty[c] = m
		}
	}
	if r.lost || len(r.dirty) > 0 {
		r.stir()
	}
	return r
}

func (r *feedReader) stir() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take returns what has changed since the last time, and the revision that it is told at.
func (r *feedReader) take() (dirty map[change]mark, lost bool, rev int64) {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	dirty, lost = r.dirty, r.lost
	r.dirty, r.lost = map[change]mark{}, false
	return dirty, lost, r.feed.rev
}

func (r *feedReader) close() {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	delete(r.feed.readers, r)
}

// mark notes a change and tells readers. The caller holds mu.
func (f *feed) mark(c change) {
	m := mark{f.rev, time.Now()}
	if _, known := f.marks[c]; !known && c.kind == kindAudit {
		f.lines = append(f.lines, c)
		if len(f.lines) > maxLines {
			delete(f.marks, f.lines[0])
			f.lines = f.lines[1:]
		}
	}
	f.marks[c] = m
	for r := range f.readers {
		r.dirty[c] = m
		r.stir()
	}
}

// run follows the store and the links until ctx ends.
func (f *feed) run(ctx context.Context) {
	var owned sync.WaitGroup
	defer owned.Wait()
	owned.Go(func() { f.devices(ctx) })
	for ctx.Err() == nil {
		err := f.follow(ctx)
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			return
		}
		f.log.Warn("events have a gap: what changes was not followed", "cause", err, "again_in", feedAgain)
		select {
		case <-time.After(feedAgain):
		case <-ctx.Done():
		}
	}
}

// devices tells of devices that changed, be it in the store or by their links.
func (f *feed) devices(ctx context.Context) {
	defer f.table.Close()
	defer f.links.Close()
	for {
		var ids []string
		select {
		case <-f.table.Changed():
			ids = f.table.Take()
		case <-f.links.Changed(): // a status that changes no row of the table
			ids = f.links.Take()
		case <-ctx.Done():
			return
		}
		counts := f.fleet.Counts()
		f.mu.Lock()
		for _, id := range ids {
			f.mark(change{kindDevice, id})
		}
		f.count(counts)
		f.mu.Unlock()
	}
}

// count tells of other counts than before. The caller holds mu.
func (f *feed) count(counts view.Hub) {
	if counts != f.counts {
		f.counts = counts
		f.mark(change{kind: kindHub})
	}
}

// follow watches the store. It returns when the watch is lost.
func (f *feed) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	page, err := f.store.Scan(ctx, "", "", 1)
	if err != nil {
		return err
	}
	events, err := f.store.Watch(ctx, "", page.Rev)
	if err != nil {
		return err
	}
	f.begin(page.Rev)
	for e := range events {
		f.heard(e)
	}
	return errors.New("the store's watch was lost")
}

// begin starts over: what changed before is not known.
func (f *feed) begin(rev int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.floor == 0
	f.rev, f.floor = max(rev, f.rev), max(rev, 1)
	if first {
		return
	}
	for r := range f.readers {
		r.lost = true
		r.stir()
	}
}

// heard takes in a change of the store. Devices' records are told of once the table has
// them.
func (f *feed) heard(e store.Event) {
	dir, name, _ := strings.Cut(e.Key, "/")
	var c change
	switch dir {
	case "da":
		c = change{kindDevice, name}
	case "r":
		c = change{kindRollout, name}
	case "rd":
		id, _, _ := strings.Cut(name, "/")
		c = change{kindRollout, id}
	case "rel":
		c = change{kindRelease, name}
	case "a":
		c = change{kindAudit, name}
	}
	var counts view.Hub
	if dir == "hub" {
		counts = f.fleet.Counts()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rev = max(f.rev, e.Rev)
	switch {
	case c.kind != "":
		f.mark(c)
	case dir == "hub":
		f.count(counts)
	}
}
