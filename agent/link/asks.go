package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// maxAsks is how many asks of one kind run at once. Each kind has its own share,
// so that neither slow stages nor a crowd of viewers keep a revert out.
const maxAsks = 8

const (
	mediaTimeout = 10 * time.Second
	maxHistory   = 100
)

// asks carries out what the panel wants, for all links of one Run.
type asks struct {
	ctx     context.Context // of Run, not of a link: an ask outlives its link
	id      *Identity
	backend control.Backend
	media   Media
	log     *slog.Logger
	desire  *desire
	legs    *legs

	running sync.WaitGroup

	mu    sync.Mutex
	count map[string]int // asks that run, by kind
}

func newAsks(ctx context.Context, id *Identity, backend control.Backend, media Media, log *slog.Logger) *asks {
	a := &asks{
		ctx: ctx, id: id, backend: backend, media: media, log: log,
		count: make(map[string]int),
	}
	a.desire = newDesire(a.stage, backend, log)
	a.legs = newLegs(id, backend, log)
	a.running.Go(func() { a.desire.run(ctx) })
	return a
}

func (a *asks) wait() {
	a.running.Wait()
	a.legs.wait()
}

// begin starts an ask and does not wait for it, or answers that it is one too
// many. That answer is sent before the next line is read: a panel that floods
// waits for itself.
func (a *asks) begin(ask wire.Ask, c *conn) {
	kind := kindOf(ask)
	if !a.take(kind) {
		a.say(ask, c, errorAnswer(ask.ID, wire.CodeBusy, "the device is busy with earlier asks of this kind"))
		return
	}
	a.running.Go(func() {
		defer a.give(kind)
		a.do(ask, c)
	})
}

func (a *asks) take(kind string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count[kind] >= maxAsks {
		return false
	}
	a.count[kind]++
	return true
}

func (a *asks) give(kind string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count[kind]--
}

func kindOf(ask wire.Ask) string {
	switch {
	case ask.Stage != nil:
		return "stage"
	case ask.Activate != nil:
		return "activate"
	case ask.Trust != nil:
		return "trust"
	case ask.Greenlight != nil:
		return "greenlight"
	case ask.Revert != nil:
		return "revert"
	case ask.History != nil:
		return "history"
	case ask.WHEP != nil:
		return "whep"
	case ask.EndWHEP != nil:
		return "endWhep"
	case ask.TellWHEP != nil:
		return "tellWhep"
	case ask.Leg != nil:
		return "leg"
	case ask.EndLeg != nil:
		return "endLeg"
	default:
		return "unknown"
	}
}

func (a *asks) do(ask wire.Ask, c *conn) {
	switch {
	case ask.Stage != nil:
		a.result(ask, c, "stage", a.stage(a.ctx, *ask.Stage))
	case ask.Activate != nil:
		a.result(ask, c, "activate", a.activate(*ask.Activate))
	case ask.Trust != nil:
		a.result(ask, c, "trust", a.learn(*ask.Trust))
	case ask.Greenlight != nil:
		a.result(ask, c, "greenlight", a.backend.Greenlight(a.ctx))
	case ask.Revert != nil:
		a.result(ask, c, "revert", a.revert(ask.RevertFrom))
	case ask.History != nil:
		a.history(ask, c)
	case ask.WHEP != nil:
		a.say(ask, c, a.whep(ask))
	case ask.TellWHEP != nil:
		a.say(ask, c, a.tell(ask))
	case ask.EndWHEP != nil:
		a.media.EndWHEP(ask.EndWHEP.Session)
		a.say(ask, c, wire.Answer{ID: ask.ID})
	case ask.Leg != nil:
		a.say(ask, c, a.leg(ask, c))
	case ask.EndLeg != nil:
		a.legs.end(ask.EndLeg.ID)
		a.say(ask, c, wire.Answer{ID: ask.ID})
	default:
		a.say(ask, c, errorAnswer(ask.ID, wire.CodeUnknownAsk, "this device does not know what the panel asks for"))
	}
}

// stage takes packages from the panel and from nowhere else: who speaks for the
// panel must not be able to make the device call other addresses.
func (a *asks) stage(ctx context.Context, s wire.Stage) control.Result {
	ref, err := url.Parse(s.URL)
	if err != nil {
		return control.Result{Exit: control.ExitRefused, Code: wire.CodeRefused, Message: "the panel named a package by something that is not a url"}
	}
	h, _ := a.id.now()
	if h == nil {
		return control.Result{Exit: control.ExitError, Code: wire.CodeFailed, Message: errNoPanel.Error()}
	}
	from := h.base.ResolveReference(ref)
	if from.Scheme != h.base.Scheme || from.Host != h.base.Host || from.User != nil {
		return control.Result{Exit: control.ExitRefused, Code: wire.CodeRefused, Message: "the panel may only name packages of its own"}
	}
	return a.backend.Stage(ctx, control.StageRequest{URL: from.String(), Force: s.Force, Order: s.Order})
}

func (a *asks) activate(ask wire.Activate) control.Result {
	if ask.Epoch > 0 {
		return a.desire.activate(a.ctx, ask.Epoch, ask.Force)
	}
	return a.backend.Activate(a.ctx, control.ActivateRequest{Force: ask.Force})
}

// revert ends the trial under way, or has the device return to the version before. It may
// be asked for again after a broken link, which must neither end the return nor go back once
// more: so what is to be left is named, by all panels but old ones.
func (a *asks) revert(from string) control.Result {
	s, err := a.backend.Status(a.ctx)
	switch {
	case err != nil:
	case s.Trial != nil && s.Trial.Return != "":
		return control.Result{Exit: control.ExitDone, Message: "version " + s.Trial.Version + ", which was permanent before, is being tried already"}
	case from != "" && !inUse(s, from):
		return control.Result{Exit: control.ExitNothing, Message: "the version that is to be left is neither on trial nor permanent on this device"}
	}
	return a.backend.Revert(a.ctx)
}

// inUse says whether a package is on trial or permanent, in a slot of whatever class.
func inUse(s control.Status, digest string) bool {
	for _, slot := range s.Slots {
		if slot.Digest == digest && (slot.State == control.StateTrial || slot.State == control.StatePermanent) {
			return true
		}
	}
	for _, systems := range [][]control.System{s.Systems, s.Runtimes} {
		for _, system := range systems {
			if system.Stored != nil && system.Stored.Digest == digest && (system.State == control.StateTrial || system.State == control.StatePermanent) {
				return true
			}
		}
	}
	return false
}

// Learner is a backend that follows newer roots and takes the time from its fleet.
type Learner interface {
	LearnTrust(ctx context.Context, vendor, fleet, time [][]byte) control.Result
}

func (a *asks) learn(t wire.Trust) control.Result {
	l, ok := a.backend.(Learner)
	if !ok {
		return control.Result{Exit: control.ExitRefused, Code: wire.CodeRefused, Message: "this device follows no roots"}
	}
	return l.LearnTrust(a.ctx, t.Vendor, t.Fleet, t.Time)
}

func (a *asks) result(ask wire.Ask, c *conn, verb string, r control.Result) {
	a.log.Info("did what the panel asked", "ask", verb, "exit", r.Exit, "message", r.Message)
	text, err := json.Marshal(r)
	if err != nil {
		a.say(ask, c, errorAnswer(ask.ID, wire.CodeFailed, err.Error()))
		return
	}
	a.say(ask, c, wire.Answer{ID: ask.ID, Result: text})
}

func (a *asks) history(ask wire.Ask, c *conn) {
	records, err := a.backend.History(a.ctx, min(max(ask.History.Max, 1), maxHistory))
	if err != nil {
		a.say(ask, c, errorAnswer(ask.ID, wire.CodeFailed, err.Error()))
		return
	}
	if err := c.sendHistory(ask.ID, records); err != nil {
		a.log.Debug("the answer found no link", "cause", err)
	}
}

func (a *asks) whep(ask wire.Ask) wire.Answer {
	if len(ask.WHEP.Offer) > wire.MaxOffer {
		return errorAnswer(ask.ID, wire.CodeRefused, "the offer is too long")
	}
	ctx, cancel := context.WithTimeout(a.ctx, mediaTimeout)
	defer cancel()
	sdp, session, tag, err := a.media.WHEP(ctx, ask.WHEP.Stream, []byte(ask.WHEP.Offer))
	if err != nil {
		return errorAnswer(ask.ID, wire.CodeFailed, fmt.Sprintf("no picture from the device: %v", err))
	}
	return wire.Answer{ID: ask.ID, WHEP: &wire.WHEPAnswer{SDP: string(sdp), Session: session, Tag: tag}}
}

func (a *asks) tell(ask wire.Ask) wire.Answer {
	if len(ask.TellWHEP.Fragment) > wire.MaxFragment || len(ask.TellWHEP.Match) > wire.MaxTag {
		return errorAnswer(ask.ID, wire.CodeRefused, "what is told of the session is too long")
	}
	ctx, cancel := context.WithTimeout(a.ctx, mediaTimeout)
	defer cancel()
	status, tag, body, err := a.media.TellWHEP(ctx, ask.TellWHEP.Session, ask.TellWHEP.Match, []byte(ask.TellWHEP.Fragment))
	if err != nil {
		return errorAnswer(ask.ID, wire.CodeFailed, fmt.Sprintf("the device's gateway cannot be told: %v", err))
	}
	return wire.Answer{ID: ask.ID, Told: &wire.WHEPTold{Status: status, Tag: tag, Body: string(body)}}
}

func (a *asks) leg(ask wire.Ask, c *conn) wire.Answer {
	if err := ask.Leg.Check(); err != nil {
		return errorAnswer(ask.ID, wire.CodeRefused, err.Error())
	}
	ctx, cancel := context.WithTimeout(a.ctx, mediaTimeout)
	defer cancel()
	tracks, err := a.legs.open(ctx, c, *ask.Leg)
	if err != nil {
		return errorAnswer(ask.ID, wire.CodeFailed, fmt.Sprintf("no leg from the device: %v", err))
	}
	return wire.Answer{ID: ask.ID, Leg: &wire.LegAnswer{Tracks: tracks}}
}

// say sends an answer. One that is too long becomes an error, so that the panel
// does not wait; one that finds no link is lost, and the status tells the rest.
func (a *asks) say(ask wire.Ask, c *conn, answer wire.Answer) {
	err := c.send(wire.Up{Answer: &answer})
	if errors.Is(err, wire.ErrTooLong) {
		err = c.send(wire.Up{Answer: new(errorAnswer(ask.ID, wire.CodeFailed, "the answer is too long for the link"))})
	}
	if err != nil {
		a.log.Debug("the answer found no link", "cause", err)
	}
}

func errorAnswer(id uint64, code, message string) wire.Answer {
	return wire.Answer{ID: id, Error: &wire.Error{Code: code, Message: message}}
}
