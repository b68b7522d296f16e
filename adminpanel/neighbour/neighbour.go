package neighbour

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/live"
	"slipstream/adminpanel/store"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

const (
	prefix     = "far/"
	partAsk    = "/ask"
	partAnswer = "/answer"

	// askTime is how long an ask may take; asks have shorter times of their own.
	askTime = 30 * time.Second
	// statusTime is how long a page waits for what is good to have.
	statusTime = 3 * time.Second
	// statusGood is how long a status is not asked for again.
	statusGood = time.Second
	// tidyTime is for what is left of an ask.
	tidyTime = 5 * time.Second
	// maxKept bounds the devices whose status is remembered.
	maxKept = 1000
)

// ErrElsewhere is returned for a leg that a device would have to bring to this panel.
var ErrElsewhere = errors.New("the device is linked to another panel: its pictures go through that one, or directly to the browser")

// Config is what panels reach each other with.
type Config struct {
	Store store.Store
	Hub   *hub.Hub
	Panel string // the name of this one
	// At names the other panel that has a device's link. Nil: there is no other panel.
	At  func(device string) (panel string, ok bool)
	Log *slog.Logger
}

// Panels are all panels on one store, as one of them. It is safe for concurrent use.
type Panels struct {
	cfg Config

	mu    sync.Mutex // guards what follows
	kept  map[string]*kept
	relay Relay // nil: nobody watches through this panel
}

// kept is the status of a device at another panel.
type kept struct {
	done   chan struct{} // closed when what follows is set
	status *control.Status
	at     time.Time // of the status
	until  time.Time
}

// New makes them. [Panels.Run] answers the others.
func New(cfg Config) *Panels {
	if cfg.At == nil {
		cfg.At = func(string) (string, bool) { return "", false }
	}
	return &Panels{cfg: cfg, kept: map[string]*kept{}}
}

// request is what a panel wants of another one: an ask of the device, an ask of that panel's
// relay for the device's pictures, or without one the device's status.
type request struct {
	Device string    `json:"device"`
	Ask    *wire.Ask `json:"ask,omitempty"`
	Relay  *ofRelay  `json:"relay,omitempty"`
}

// reply is what came of it.
type reply struct {
	Answer *wire.Answer    `json:"answer,omitempty"`
	Status *control.Status `json:"status,omitempty"`
	AgeMS  int64           `json:"age_ms,omitempty"` // of the status

	Session *live.Session   `json:"session,omitempty"`
	Told    *wire.WHEPTold  `json:"told,omitempty"`
	Server  *live.ICEServer `json:"server,omitempty"`

	Kind    string        `json:"kind,omitempty"` // of an error
	Text    string        `json:"text,omitempty"`
	Refused *live.Refusal `json:"refused,omitempty"` // by the relay
}

// kinds are errors that callers tell apart, by the names that they travel under.
var kinds = map[string]error{
	"offline": hub.ErrOffline, "lost": hub.ErrLost, "busy": hub.ErrBusy, "late": context.DeadlineExceeded,
	"full": live.ErrFull, "crowded": live.ErrCrowded, "no session": live.ErrNoSession, "bad answer": live.ErrBadAnswer, "no relay": ErrNoRelay,
}

const kindFailed = "failed"

func (r *reply) fail(err error) {
	r.Kind, r.Text = kindFailed, err.Error()
	errors.As(err, &r.Refused)
	for kind, known := range kinds {
		if errors.Is(err, known) {
			r.Kind = kind
		}
	}
}

func (r *reply) err() error {
	switch {
	case r.Kind == "" && r.Answer != nil && r.Answer.Error != nil:
		return r.Answer.Error
	case r.Kind == "":
		return nil
	case kinds[r.Kind] != nil:
		return kinds[r.Kind]
	case r.Refused != nil:
		return r.Refused
	}
	return errors.New(r.Text)
}

// Ask is [hub.Hub.Ask], wherever the device is linked.
func (p *Panels) Ask(ctx context.Context, device string, ask wire.Ask) (wire.Answer, error) {
	answer, err := p.cfg.Hub.Ask(ctx, device, ask)
	if !errors.Is(err, hub.ErrOffline) {
		return answer, err
	}
	panel, ok := p.cfg.At(device)
	switch {
	case !ok:
		return answer, err
	case ask.Leg != nil || ask.EndLeg != nil:
		return answer, ErrElsewhere
	}
	r, err := p.forward(ctx, panel, request{Device: device, Ask: &ask})
	if r.Answer == nil {
		r.Answer = &wire.Answer{}
	}
	return *r.Answer, err
}

// Status is the newest status of a device and its age, wherever it is linked; nil if none
// is known.
func (p *Panels) Status(ctx context.Context, device string) (*control.Status, time.Duration) {
	here, ok := p.cfg.Hub.Device(device)
	panel, elsewhere := p.cfg.At(device)
	if ok && here.Online || !elsewhere {
		return here.Status, time.Since(here.StatusAt)
	}
	k, mine := p.keep(device)
	if mine {
		p.fetch(ctx, k, panel, device)
	}
	select {
	case <-k.done:
		return k.status, time.Since(k.at)
	case <-ctx.Done():
		return nil, 0
	}
}

// keep returns what is known of a device, or what the caller is to fetch.
func (p *Panels) keep(device string) (k *kept, mine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.kept[device]; k != nil && time.Now().Before(k.until) {
		return k, false
	}
	if len(p.kept) >= maxKept {
		clear(p.kept)
	}
	k = &kept{done: make(chan struct{}), until: time.Now().Add(statusTime + statusGood)}
	p.kept[device] = k
	return k, true
}

// fetch is bounded by its own time alone: others wait for it too.
func (p *Panels) fetch(ctx context.Context, k *kept, panel, device string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statusTime)
	defer cancel()
	r, err := p.forward(ctx, panel, request{Device: device})
	if err != nil {
		p.cfg.Log.Debug("the status of a device at another panel is not known", "device", device, "panel", panel, "cause", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	k.status, k.at = r.Status, time.Now().Add(-time.Duration(r.AgeMS)*time.Millisecond)
	k.until = time.Now().Add(statusGood)
	close(k.done)
}

// forward puts a request into the store and waits for the answer.
func (p *Panels) forward(ctx context.Context, panel string, q request) (r reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	text, err := json.Marshal(q)
	if err != nil {
		return r, err
	}
	base := prefix + panel + "/" + rand.Text()
	rev, err := p.cfg.Store.Commit(ctx, []store.Cond{{Key: base + partAsk}}, []store.Op{{Key: base + partAsk, Value: text}})
	if err != nil {
		return r, err
	}
	defer p.tidy(ctx, base)
	events, err := p.cfg.Store.Watch(ctx, base, rev)
	if err != nil {
		return r, err
	}
	for e := range events {
		if e.Key != base+partAnswer || e.Deleted {
			continue
		}
		if err := json.Unmarshal(e.Value, &r); err != nil {
			return r, err
		}
		return r, r.err()
	}
	if err := ctx.Err(); err != nil {
		return r, err
	}
	return r, hub.ErrLost // the store could not say more
}

// tidy takes both keys away, whatever is there.
func (p *Panels) tidy(ctx context.Context, base string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	if _, err := p.cfg.Store.Commit(ctx, nil, []store.Op{{Key: base + partAsk, Delete: true}, {Key: base + partAnswer, Delete: true}}); err != nil {
		p.cfg.Log.Warn("an ask to another panel is left in the store", "cause", err)
	}
}
