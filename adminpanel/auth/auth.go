package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

// Ledger commits what a person changes together with the line of the audit that tells of
// it. It gives the line its number, time and hash. [store.ErrConflict] means that one of
// ifs does not hold; that somebody else has added a line meanwhile is not the caller's.
type Ledger interface {
	Commit(ctx context.Context, ifs []store.Cond, ops []store.Op, lines ...view.AuditLine) (rev int64, err error)
}

// Config is how a panel lets people in. Zero values of spans, limits and effort mean the
// defaults.
type Config struct {
	// Plain is for panels that serve HTTP without TLS, on loopback addresses only.
	Plain bool
	// Hosts are the names and addresses that browsers have for the panel, without port.
	// Those of loopback always belong to them when Plain.
	Hosts []string
	// Proxies are addresses whose X-Forwarded-For is believed.
	Proxies []netip.Prefix

	Idle     func() time.Duration // a session ends so long after its last use; asked each time
	Longest  time.Duration        // and in any case
	MaxToken time.Duration        // that an API token may live

	Limits Limits
	Effort Effort
	Now    func() time.Time
}

// Defaults of a Config.
const (
	defaultIdle     = 12 * time.Hour
	defaultLongest  = 14 * 24 * time.Hour
	defaultMaxToken = 400 * 24 * time.Hour
)

// Auth is safe for concurrent use.
type Auth struct {
	store  store.Store
	ledger Ledger
	cfg    Config
	log    *slog.Logger
	now    func() time.Time

	routes routes
	hosts  map[string]bool
	cross  *http.CrossOriginProtection
	hasher *hasher

	names, addresses, tokens, strangers *buckets
}

// New makes one on a store.
func New(s store.Store, ledger Ledger, cfg Config, log *slog.Logger) (*Auth, error) {
	cfg = cfg.filled()
	if !cfg.Plain && len(cfg.Hosts) == 0 {
		return nil, errors.New("no name of the panel is configured: list the names that people type into their browsers")
	}
	if !cfg.Effort.sane() {
		return nil, fmt.Errorf("passwords cannot be hashed with %+v", cfg.Effort)
	}
	a := &Auth{store: s, ledger: ledger, cfg: cfg, log: log, now: cfg.Now, routes: newRoutes(),
		hosts: map[string]bool{}, cross: http.NewCrossOriginProtection(), hasher: newHasher(cfg.Effort),
		names: newBuckets(cfg.Limits.LoginName, maxBuckets), addresses: newBuckets(cfg.Limits.LoginAddress, maxBuckets),
		tokens: newBuckets(cfg.Limits.Token, maxBuckets), strangers: newBuckets(cfg.Limits.Stranger, maxBuckets)}
	for _, host := range cfg.Hosts {
		a.hosts[strings.ToLower(strings.Trim(host, "[]"))] = true
	}
	return a, nil
}

func (c Config) filled() Config {
	if c.Idle == nil {
		c.Idle = func() time.Duration { return defaultIdle }
	}
	if c.Longest <= 0 {
		c.Longest = defaultLongest
	}
	if c.MaxToken <= 0 {
		c.MaxToken = defaultMaxToken
	}
	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits
	}
	if c.Effort == (Effort{}) {
		c.Effort = DefaultEffort
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// tries is how often a change is made anew that met another one.
const tries = 8

// again runs change until it meets no other one.
func again(ctx context.Context, change func() error) (err error) {
	for range tries {
		if err = change(); !errors.Is(err, store.ErrConflict) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return ErrChanged
}

// get reads a record into v and returns its revision; 0 if there is none.
func (a *Auth) get(ctx context.Context, key string, v any) (rev int64, err error) {
	item, err := a.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(item.Value, v); err != nil {
		return 0, fmt.Errorf("the panel's record %s is damaged: %w", key, err)
	}
	return item.Rev, nil
}

// set is the change that writes a record.
func set(key string, v any) store.Op {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // records hold nothing that JSON cannot say
	}
	return store.Op{Key: key, Value: text}
}
