package order

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/release"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/verify"
)

const (
	prefix  = "ord/"
	keyLast = "meta/order"

	// MaxNamed is how many devices an order names: a value of the store holds it several
	// times.
	MaxNamed = 2000
	// Life is how long an order is good for that says nothing of it, and MaxLife bounds it.
	Life = 30 * 24 * time.Hour
	// forRollouts is how long one is good for that a rollout needs.
	forRollouts = 90 * 24 * time.Hour
	MaxLife     = 400 * 24 * time.Hour

	maxTries = 20 // that other panels may be faster in one change
)

// Errors that callers tell apart.
var (
	ErrNone    = errors.New("there is no order for this release: sign one first")
	ErrExpired = errors.New("the order for this release has expired: sign another one")
	ErrInvalid = errors.New("such an order cannot be")
)

// Config is what orders are signed with.
type Config struct {
	Store    store.Store
	Audit    *audit.Log
	Releases *release.Releases
	Roots    []*verify.Root // of the fleet, each following the one before
	Keys     []*ecdsa.PrivateKey
	Log      *slog.Logger
}

// Orders is safe for concurrent use, also by several panels on one store that have the
// same keys.
type Orders struct {
	cfg     Config
	signers []signer

	signing sync.Mutex // one change at a time is this panel's

	numbering sync.Mutex // one taking of numbers at a time

	mu        sync.Mutex // guards what follows
	kept      map[string]record
	next, end int64 // numbers that this panel has taken and not used; next is 0 without any
}

// record is the newest order for a release, as the store has it.
type record struct {
	Number   int64     `json:"number"`
	Package  string    `json:"package"` // its digest
	All      bool      `json:"all,omitempty"`
	Devices  []string  `json:"devices,omitempty"`
	Selector string    `json:"selector"` // in the words of people
	Until    time.Time `json:"until"`
	Bundles  [][]byte  `json:"bundles"`
	rev      int64
}

func (r *record) covers(device string) bool { return r.All || slices.Contains(r.Devices, device) }

func (r *record) info() view.OrderInfo {
	return view.OrderInfo{ID: strconv.FormatInt(r.Number, 10), Until: r.Until, Devices: r.Selector}
}

// New checks that the keys are those of the roots.
func New(cfg Config) (*Orders, error) {
	if len(cfg.Roots) == 0 {
		return nil, errors.New("orders are signed under a fleet's root, and there is none")
	}
	signers, err := signersOf(cfg.Roots, cfg.Keys)
	if err != nil {
		return nil, err
	}
	return &Orders{cfg: cfg, signers: signers, kept: map[string]record{}}, nil
}

// Run follows the store until ctx ends.
func (o *Orders) Run(ctx context.Context) error {
	failed := func(err error) { o.cfg.Log.Warn("the orders cannot be followed; trying again", "cause", err) }
	var owned sync.WaitGroup
	defer owned.Wait()
	owned.Go(func() {
		store.Follow(ctx, o.cfg.Store, keyLast, store.Follower{Failed: failed, Changed: func(_ string, value []byte, _ int64) {
			var last int64
			if json.Unmarshal(value, &last) == nil {
				o.used(last)
			}
		}})
	})
	store.Follow(ctx, o.cfg.Store, prefix, store.Follower{Changed: o.heard, Failed: failed})
	return ctx.Err()
}

func (o *Orders) heard(release string, value []byte, rev int64) {
	var r record
	if value == nil {
		return // they are never deleted
	}
	if err := json.Unmarshal(value, &r); err != nil {
		o.cfg.Log.Error("an order in the store cannot be read", "release", release, "cause", err)
		return
	}
	r.rev = rev
	o.keep(release, r)
}

func (o *Orders) keep(release string, r record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.rev > o.kept[release].rev {
		o.kept[release] = r
	}
}

// KeyIDs are the keys under which devices take orders, to be compared by eye.
func (o *Orders) KeyIDs() []string { return o.newest().Trust().KeyIDs() }

func (o *Orders) newest() *verify.Root { return o.cfg.Roots[len(o.cfg.Roots)-1] }

// Newer are what devices have to know to come from an older root to the newest; none while
// there is only one.
func Newer(roots []*verify.Root) (chain [][]byte) {
	for i, root := range roots {
		if i > 0 {
			chain = append(chain, root.Bytes())
		}
	}
	return chain
}

// Sign orders a release for devices, or for all of the fleet if named is nil, until a time
// (zero: [Life] from now), besides those that it is ordered for already. Selector says
// the same in the words of people.
func (o *Orders) Sign(ctx context.Context, who audit.Who, id string, named []string, selector string, until time.Time) (view.Release, error) {
	now := time.Now().UTC().Truncate(time.Second)
	if until.IsZero() {
		until = now.Add(Life)
	}
	until = until.UTC().Truncate(time.Second)
	switch {
	case !until.After(now) || until.After(now.Add(MaxLife)):
		return view.Release{}, fmt.Errorf("%w: it ends at a time to come, within %d days", ErrInvalid, MaxLife/(24*time.Hour))
	case named != nil && len(named) == 0:
		return view.Release{}, fmt.Errorf("%w: no device meets the selector", ErrInvalid)
	}
	want := record{All: named == nil, Devices: named, Selector: selector, Until: until}
	return o.change(ctx, who, id, func(old record) (record, error) {
		next := want.besides(old, now)
		if len(next.Devices) > MaxNamed {
			return next, fmt.Errorf("%w: it would name %d devices, and %d are the most; order it for all", ErrInvalid, len(next.Devices), MaxNamed)
		}
		return next, nil
	})
}

// besides adds what another order says that has not expired.
func (r record) besides(old record, now time.Time) record {
	if old.Number == 0 || !old.Until.After(now) || r.All && !r.Until.Before(old.Until) {
		return r.tidy()
	}
	if old.Until.After(r.Until) {
		r.Until = old.Until
	}
	if old.All {
		r.All = true
	} else if before := len(r.Devices); !r.All {
		r.Devices = append(slices.Clone(r.Devices), old.Devices...)
		if r = r.tidy(); len(r.Devices) > before {
			r.Selector = fmt.Sprintf("%d devices", len(r.Devices))
		}
	}
	return r.tidy()
}

func (r record) tidy() record {
	if r.All {
		r.Devices, r.Selector = nil, "all"
		return r
	}
	r.Devices = slices.Compact(slices.Sorted(slices.Values(r.Devices)))
	return r
}

// change signs what how makes of the newest order for a release, by the next number.
func (o *Orders) change(ctx context.Context, who audit.Who, id string, how func(old record) (record, error)) (view.Release, error) {
	o.signing.Lock()
	defer o.signing.Unlock()
	for range maxTries {
		rel, err := o.try(ctx, who, id, how)
		if !errors.Is(err, store.ErrConflict) {
			return rel, err
		}
	}
	return view.Release{}, fmt.Errorf("order release %s: %w", id, store.ErrConflict)
}

func (o *Orders) try(ctx context.Context, who audit.Who, id string, how func(old record) (record, error)) (view.Release, error) {
	rel, err := o.cfg.Releases.Get(ctx, id)
	if err != nil {
		return rel, err
	}
	if rel.Withdrawn {
		return rel, release.ErrWithdrawn
	}
	old, err := read[record](ctx, o.cfg.Store, prefix+id)
	if err != nil {
		return rel, err
	}
	last, err := read[int64](ctx, o.cfg.Store, keyLast)
	if err != nil {
		return rel, err
	}
	next, err := how(old.value)
	if err != nil {
		return rel, err
	}
	next.Number, next.Package = last.value+1, rel.Digest
	if next.Bundles, err = o.signed(next); err != nil {
		return rel, err
	}
	line := who.Line("release.order", "release "+id)
	line.Detail = fmt.Sprintf("order %d for %s until %s", next.Number, next.Selector, next.Until.Format(time.RFC3339))
	line.After = audit.Value(next.info())
	ops := []store.Op{{Key: prefix + id, Value: audit.Value(next)}, {Key: keyLast, Value: audit.Value(next.Number)}}
	rel, rev, err := o.cfg.Releases.SetOrder(ctx, id, next.info(), []store.Cond{{Key: prefix + id, Rev: old.rev}, {Key: keyLast, Rev: last.rev}}, ops, line)
	if err == nil {
		next.rev = rev
		o.keep(id, next)
		o.used(next.Number)
	}
	return rel, err
}

// signed is an order as devices read it, which is tried here first.
func (o *Orders) signed(r record) ([][]byte, error) {
	bundles, err := sign(o.signers, verify.Order{
		Format: verify.OrderFormat, Devices: r.Devices, All: r.All, Sequence: r.Number,
		IssuedAt: time.Now().UTC().Truncate(time.Second), Expires: r.Until, Package: r.Package,
	})
	if err != nil {
		return nil, err
	}
	_, err = verify.ParseOrder(bundles, o.newest())
	return bundles, err
}

// item is a value of the store with its revision; 0: it is not there.
type item[T any] struct {
	value T
	rev   int64
}

func read[T any](ctx context.Context, s store.Store, key string) (i item[T], err error) {
	found, err := s.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return i, nil
	}
	if err == nil {
		err = json.Unmarshal(found.Value, &i.value)
	}
	i.rev = found.Rev
	return i, err
}
