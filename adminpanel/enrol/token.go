package enrol

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
)

const (
	prefix = "e/"
	// MaxUses is how many devices may enrol by one token.
	MaxUses = 256
	// MaxLife bounds for how long a token may lie about.
	MaxLife     = 366 * 24 * time.Hour
	defaultLife = 24 * time.Hour
	// keptExpired is for how long an expired token is still known as such.
	keptExpired = 30 * 24 * time.Hour
)

// Errors that callers tell apart.
var (
	ErrUnknown = errors.New("there is no such enrolment token, or it was used up")
	ErrInvalid = errors.New("such an enrolment token cannot be made")

	errTokenUnknown = errors.New("the panel has made no such token")
	errTokenUsed    = errors.New("this token was used already: make another one")
	errTokenExpired = errors.New("this token has expired: make another one")
	errTokenDevice  = errors.New("this token is for another device")
)

// token is what the store holds of one: enough to know it again, not to show it.
type token struct {
	ID     string    `json:"id"`
	Hash   string    `json:"hash"`             // SHA-256 of the secret, hex
	Device string    `json:"device,omitempty"` // the one that it is for; "" for any
	Site   string    `json:"site,omitempty"`
	Tags   []string  `json:"tags,omitempty"`
	Left   int       `json:"left"` // devices that may still enrol
	By     string    `json:"by"`
	Until  time.Time `json:"until"`
	Used   []use     `json:"used,omitempty"`
}

// use is a device that has enrolled by a token.
type use struct {
	Device string `json:"device"`
	Key    string `json:"key"` // SHA-256 of its public key, hex
}

func (t *token) view() view.Enrolment {
	return view.Enrolment{ID: t.ID, Device: t.Device, Uses: t.Left, Site: t.Site, Tags: t.Tags, By: t.By, Until: t.Until}
}

// judge says whether the token lets a device in now. again: it has done so already. It takes
// as long for a wrong secret as for a right one.
func (t *token) judge(secret string, u use, now time.Time) (again bool, err error) {
	again = slices.Contains(t.Used, u)
	switch {
	case subtle.ConstantTimeCompare([]byte(hashed(secret)), []byte(t.Hash)) != 1:
		return false, errTokenUnknown
	case now.After(t.Until):
		return false, errTokenExpired
	case t.Device != "" && t.Device != u.Device:
		return false, errTokenDevice
	case !again && t.Left < 1:
		return false, errTokenUsed
	}
	return again, nil
}

func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// lets says whether the token lets a device in over what is known of it. One that has the
// name already with another key, or was revoked, gives way only to a token that names it,
// and once.
func (t *token) lets(u use, again bool) func(fleet.Record, bool) error {
	named := t.Device != "" && !again
	return func(r fleet.Record, known bool) error {
		switch {
		case !known, named:
			return nil
		case !r.Revoked.IsZero():
			return errRevoked
		case r.Key != "" && r.Key != u.Key:
			return errNameTaken
		}
		return nil
	}
}

// usedBy is the change that uses the token up for a device.
func (t *token) usedBy(u use) ([]store.Op, error) {
	after := *t
	after.Left--
	after.Used = append(slices.Clone(t.Used), u)
	value, err := json.Marshal(after)
	return []store.Op{{Key: prefix + t.ID, Value: value}}, err
}

// Tokens are the enrolment tokens in a store. It is safe for concurrent use, also by several
// panels.
type Tokens struct {
	store     store.Store
	audit     *audit.Log
	authority *ca.Authority
	url       string
	log       *slog.Logger
}

// NewTokens makes tokens that name an authority, for devices that call at a URL.
func NewTokens(s store.Store, a *audit.Log, authority *ca.Authority, url string, log *slog.Logger) *Tokens {
	return &Tokens{store: s, audit: a, authority: authority, url: url, log: log}
}

// Add makes a token. Device, Uses, Site, Tags and Until are what it shall be good for; no Uses
// is one, no Until a day. Its text is in the answer, and can never be had again.
func (t *Tokens) Add(ctx context.Context, who audit.Who, e view.Enrolment) (view.Enrolment, error) {
	now := time.Now()
	if e.Uses == 0 {
		e.Uses = 1
	}
	if e.Until.IsZero() {
		e.Until = now.Add(defaultLife)
	}
	if err := check(e, now); err != nil {
		return view.Enrolment{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	t.sweep(ctx, now)
	text := wire.NewToken(wire.Pin(t.authority.Pinned()))
	made := token{
		ID: text.ID, Hash: hashed(text.Secret), Device: e.Device, Site: e.Site, Tags: e.Tags,
		Left: e.Uses, By: who.Actor, Until: e.Until.UTC().Truncate(time.Second),
	}
	value, err := json.Marshal(made)
	if err != nil {
		return view.Enrolment{}, err
	}
	shown := made.view()
	line := who.Line("enrolment.add", "enrolment "+made.ID)
	line.After = audit.Value(shown)
	if _, err := t.audit.Commit(ctx, []store.Cond{{Key: prefix + made.ID}}, []store.Op{{Key: prefix + made.ID, Value: value}}, line); err != nil {
		return view.Enrolment{}, fmt.Errorf("keep the enrolment token: %w", err)
	}
	shown.Text = text.String()
	shown.Line = "echo " + shown.Text + " | slipstream enroll --panel " + t.url + " --token-file -"
	return shown, nil
}

func check(e view.Enrolment, now time.Time) error {
	r := fleet.Record{ID: e.Device, Site: e.Site, Tags: e.Tags}
	if e.Device == "" {
		r.ID = "any"
	}
	switch life := e.Until.Sub(now); {
	case e.Uses < 1 || e.Uses > MaxUses || e.Device != "" && e.Uses > 1:
		return fmt.Errorf("it is for 1 to %d devices, and for one if it names it", MaxUses)
	case life <= 0 || life > MaxLife:
		return fmt.Errorf("it is good for at most %d days from now on", MaxLife/(24*time.Hour))
	}
	return r.Check()
}

// List returns the tokens that can still be used, in the order of their ids.
func (t *Tokens) List(ctx context.Context) ([]view.Enrolment, error) {
	list, now := []view.Enrolment{}, time.Now()
	err := t.each(ctx, func(made token, _ store.Item) {
		if made.Left > 0 && now.Before(made.Until) {
			list = append(list, made.view())
		}
	})
	return list, err
}

func (t *Tokens) each(ctx context.Context, each func(token, store.Item)) error {
	_, err := store.All(ctx, t.store, prefix, func(item store.Item) error {
		made, err := decode(item)
		if err != nil {
			return err
		}
		each(made, item)
		return nil
	})
	return err
}

func decode(item store.Item) (made token, err error) {
	if err := json.Unmarshal(item.Value, &made); err != nil || prefix+made.ID != item.Key {
		return token{}, fmt.Errorf("the panel's record %s is damaged", item.Key)
	}
	return made, nil
}

// Remove makes a token worthless.
func (t *Tokens) Remove(ctx context.Context, who audit.Who, id string) error {
	for range maxTries {
		made, rev, err := t.get(ctx, id)
		if err == nil && made.Left == 0 {
			err = errTokenUnknown
		}
		if errors.Is(err, errTokenUnknown) {
			return ErrUnknown
		}
		if err != nil {
			return err
		}
		line := who.Line("enrolment.remove", "enrolment "+id)
		line.Before = audit.Value(made.view())
		_, err = t.audit.Commit(ctx, []store.Cond{{Key: prefix + id, Rev: rev}}, []store.Op{{Key: prefix + id, Delete: true}}, line)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("remove the enrolment token %s: %w", id, store.ErrConflict)
}

// get reads a token for a commit that changes it.
func (t *Tokens) get(ctx context.Context, id string) (token, int64, error) {
	if !isID(id) {
		return token{}, 0, errTokenUnknown
	}
	item, err := t.store.Get(ctx, prefix+id)
	if errors.Is(err, store.ErrNotFound) {
		return token{}, 0, errTokenUnknown
	}
	if err != nil {
		return token{}, 0, fmt.Errorf("read an enrolment token: %w", err)
	}
	made, err := decode(item)
	return made, item.Rev, err
}

// isID knows the ids of tokens, which are letters of base 32.
func isID(id string) bool {
	return len(id) >= 8 && len(id) <= 32 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// sweep drops tokens that nobody will ask about any more; what goes wrong is tried again
// with the next token.
func (t *Tokens) sweep(ctx context.Context, now time.Time) {
	var ops []store.Op
	err := t.each(ctx, func(made token, item store.Item) {
		if now.Sub(made.Until) > keptExpired && len(ops) < store.MaxOps {
			ops = append(ops, store.Op{Key: item.Key, Delete: true})
		}
	})
	if err == nil && len(ops) > 0 {
		_, err = t.store.Commit(ctx, nil, ops)
	}
	if err != nil {
		t.log.Warn("expired enrolment tokens stay a while", "cause", err)
	}
}
