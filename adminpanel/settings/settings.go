// Package settings keeps the fleet's rules, which admins change while panels run: at set/fleet, with
// an audit line for each change.
//
// What it keeps: what is in force is whole and was judged, also if the store holds nonsense: then it is
// the last that was right, or the default. All panels on a store come to know a change.
package settings

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

const (
	prefix = "set/"
	name   = "fleet"
)

// Limits.
const (
	maxWalls   = 100
	maxViews   = 200
	maxName    = 60
	maxColumns = 24
)

// Errors that callers tell apart.
var (
	ErrInvalid = errors.New("these settings cannot be")
	ErrChanged = errors.New("the settings have changed meanwhile: look at them again")
)

// Default is what is in force until somebody changes it.
func Default() view.Settings {
	return view.Settings{
		SessionIdle: (12 * time.Hour).Milliseconds(), OfflineAfter: (10 * time.Minute).Milliseconds(), Zone: "UTC",
		Walls: []view.Wall{}, Views: []view.Saved{}, Roots: []string{},
	}
}

// Settings is safe for concurrent use.
type Settings struct {
	store store.Store
	audit *audit.Log
	log   *slog.Logger

	mu   sync.Mutex // guards what follows
	now  view.Settings
	next chan struct{} // closed when others are in force
}

// New makes settings that are the default until [Settings.Run].
func New(s store.Store, a *audit.Log, log *slog.Logger) *Settings {
	return &Settings{store: s, audit: a, log: log, now: Default(), next: make(chan struct{})}
}

// Now returns what is in force. It is not to be written to.
func (s *Settings) Now() view.Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// OfflineAfter is how long a device may be away until that is written down.
func (s *Settings) OfflineAfter() time.Duration {
	return time.Duration(s.Now().OfflineAfter) * time.Millisecond
}

// SessionIdle is how long a session lasts that nobody uses.
func (s *Settings) SessionIdle() time.Duration {
	return time.Duration(s.Now().SessionIdle) * time.Millisecond
}

// Run follows the store until ctx ends.
func (s *Settings) Run(ctx context.Context) error {
	store.Follow(ctx, s.store, prefix, store.Follower{Changed: s.heard, Failed: func(err error) {
		s.log.Warn("the settings cannot be followed; trying again", "cause", err)
	}})
	return ctx.Err()
}

func (s *Settings) heard(key string, value []byte, rev int64) {
	if key != name {
		return
	}
	set := Default()
	if value != nil {
		var err error
		if set, err = decode(value); err != nil {
			s.log.Error("the settings in the store cannot be read; those before stay", "cause", err)
			return
		}
	}
	s.take(set, rev)
}

func (s *Settings) take(set view.Settings, rev int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rev > s.now.Rev {
		set.Rev = rev
		s.now = set
		close(s.next)
		s.next = make(chan struct{})
	}
}

// Next is closed when others are in force than now.
func (s *Settings) Next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

func decode(value []byte) (view.Settings, error) {
	set := Default()
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(&set); err != nil {
		return set, err
	}
	return set, Check(set)
}

// Set puts settings into force. Their Rev must be that of those they change; Roots are not set
// here.
func (s *Settings) Set(ctx context.Context, who audit.Who, set view.Settings) (view.Settings, error) {
	if err := Check(set); err != nil {
		return view.Settings{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	item, err := s.store.Get(ctx, prefix+name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return view.Settings{}, err
	}
	if item.Rev != set.Rev {
		return view.Settings{}, ErrChanged
	}
	set.Rev, set.Roots = 0, []string{}
	value, err := json.Marshal(set)
	if err != nil {
		return view.Settings{}, err
	}
	line := who.Line("settings.set", "settings")
	line.Before, line.After = item.Value, value
	rev, err := s.audit.Commit(ctx, []store.Cond{{Key: prefix + name, Rev: item.Rev}}, []store.Op{{Key: prefix + name, Value: value}}, line)
	if errors.Is(err, store.ErrConflict) {
		return view.Settings{}, ErrChanged
	}
	if err != nil {
		return view.Settings{}, err
	}
	s.take(set, rev)
	set.Rev = rev
	return set, nil
}

// Check finds all that is wrong.
func Check(set view.Settings) error {
	problems := []error{
		span("sessionIdleMs", set.SessionIdle, time.Minute, 30*24*time.Hour),
		span("offlineAfterMs", set.OfflineAfter, time.Second, 30*24*time.Hour),
	}
	if set.ApproveAbove < 0 {
		problems = append(problems, errors.New("approveAbove cannot be negative"))
	}
	if _, err := time.LoadLocation(set.Zone); err != nil || set.Zone == "" || set.Zone == "Local" {
		problems = append(problems, fmt.Errorf("there is no time zone %.80q; one is Europe/Berlin", set.Zone))
	}
	if len(set.Walls) > maxWalls || len(set.Views) > maxViews {
		problems = append(problems, fmt.Errorf("there are at most %d walls and %d views", maxWalls, maxViews))
	}
	names := map[string]bool{}
	for _, w := range set.Walls {
		problems = append(problems, saved(names, "the wall", w.Name, w.Selector))
		if w.Columns < 0 || w.Columns > maxColumns {
			problems = append(problems, fmt.Errorf("the wall %q has at most %d columns", w.Name, maxColumns))
		}
	}
	for _, v := range set.Views {
		problems = append(problems, saved(names, "the view", v.Name, v.Selector))
	}
	return errors.Join(problems...)
}

func span(key string, ms int64, least, most time.Duration) error {
	if ms < least.Milliseconds() || ms > most.Milliseconds() {
		return fmt.Errorf("%s is from %d (%v) to %d (%v)", key, least.Milliseconds(), least, most.Milliseconds(), most)
	}
	return nil
}

func saved(names map[string]bool, what, name, selector string) error {
	if name == "" || len([]rune(name)) > maxName || names[what+name] {
		return fmt.Errorf("%s %.80q needs a name of its own, at most %d characters long", what, name, maxName)
	}
	names[what+name] = true
	if _, err := fleet.ParseSelector(selector); err != nil {
		return fmt.Errorf("%s %q: %w", what, name, err)
	}
	return nil
}
