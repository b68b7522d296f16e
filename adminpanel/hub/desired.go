package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"slipstream/agent/wire"
)

// teachTimeout is how long a device may take to follow roots.
const teachTimeout = 10 * time.Second

// desired is what a device shall come to, with the moment by the panel's clock.
type desired struct {
	wire.Desired
	at time.Time // to activate; zero: as soon as it is staged
}

// ErrOldEpoch is returned for what was desired before something else.
var ErrOldEpoch = errors.New("something newer is desired of this device already")

// SetDesired says what a device shall come to, now if it is linked, and at the
// beginning of each of its links. at is the moment of the activation, if there is to
// be one; zero is as soon as can be. It is kept in memory only: whoever decides about
// versions says it again after a restart of the panel.
func (h *Hub) SetDesired(device string, d wire.Desired, at time.Time) error {
	h.mu.Lock()
	if old, ok := h.desired[device]; ok && d.Epoch < old.Epoch {
		h.mu.Unlock()
		return fmt.Errorf("epoch %d: %w (epoch %d)", d.Epoch, ErrOldEpoch, old.Epoch)
	}
	h.desired[device] = desired{d, at}
	var l *link
	if e, ok := h.devices[device]; ok {
		l = e.link
	}
	h.mu.Unlock()
	if l != nil {
		h.desire(l)
	}
	return nil
}

// desire sends what is desired. A line that is lost with its link comes again on the
// next one.
func (h *Hub) desire(l *link) {
	if !l.taught.Load() {
		return // it follows
	}
	h.mu.Lock()
	d, ok := h.desired[l.device]
	h.mu.Unlock()
	if !ok {
		return
	}
	line := d.Desired
	if line.Activate && !d.at.IsZero() {
		line.ActivateInMS = max(0, time.Until(d.at).Milliseconds())
	}
	if err := l.lines.Write(wire.Down{Desired: &line}); err != nil {
		l.end(err)
	}
}

// greet says what a device must know at the beginning of a link.
func (h *Hub) greet(l *link) error {
	if h.cfg.Authorities != nil {
		a := h.cfg.Authorities(l.request)
		if err := l.lines.Write(wire.Down{Authorities: &a}); err != nil {
			return err
		}
	}
	if h.cfg.Roots == nil || len(h.cfg.Roots()) == 0 {
		l.taught.Store(true)
		h.desire(l)
		return nil
	}
	l.owned.Go(func() {
		h.teach(l)
		l.taught.Store(true)
		h.desire(l)
	})
	return nil
}

// teach tells a device the fleet's roots that came after the one it may have, before anything
// is desired of it that only the newest one allows. One that does not answer goes without.
func (h *Hub) teach(l *link) {
	ctx, cancel := context.WithTimeout(l.ctx, teachTimeout)
	defer cancel()
	if _, err := l.ask(ctx, wire.Ask{Trust: &wire.Trust{Fleet: h.cfg.Roots()}}); err != nil {
		h.log.Warn("a device was not told the fleet's newest root", "device", l.device, "cause", err)
	}
}

// reported keeps where the desired version stands. A report of an older epoch than
// the desired one says nothing any more.
func (h *Hub) reported(l *link, r wire.Report) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.devices[l.device]
	if e.link != l || r.Epoch < h.desired[l.device].Epoch {
		h.log.Debug("late report", "device", l.device, "epoch", r.Epoch, "state", r.State)
		return
	}
	e.Report = &r
	h.touch(l.device)
}

// all are the links of now.
func (h *Hub) all() (links []*link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.devices {
		if e.link != nil {
			links = append(links, e.link)
		}
	}
	return links
}

// Recheck ends the links of devices that may not call any more: of these, or of all if
// none is named.
func (h *Hub) Recheck(devices ...string) {
	links := make([]*link, 0, len(devices))
	for _, device := range devices {
		if l := h.linkOf(device); l != nil {
			links = append(links, l)
		}
	}
	if len(devices) == 0 {
		links = h.all()
	}
	for _, l := range links {
		if device, ok := h.cfg.Identify(l.request); !ok || device != l.device {
			l.end(errUnknown)
		}
	}
}

// Announce tells every device the authorities of now. None waits for another one.
func (h *Hub) Announce() {
	h.each(func(l *link) {
		a := h.cfg.Authorities(l.request)
		if err := l.lines.Write(wire.Down{Authorities: &a}); err != nil {
			l.end(err)
		}
	})
}

// Drain asks every device to leave and to come back within a time, spread over it,
// and takes no link any more.
func (h *Hub) Drain(over time.Duration) {
	h.mu.Lock()
	h.leaving = max(over, time.Millisecond)
	h.mu.Unlock()
	h.each(func(l *link) {
		_ = l.lines.Write(wire.Down{Leave: &wire.Leave{PauseMS: over.Milliseconds()}}) // it is ended in any case
		l.end(errLeaving)
	})
}

// each does something for all links at once, and waits for it: at most writeTimeout.
func (h *Hub) each(do func(*link)) {
	var under sync.WaitGroup
	for _, l := range h.all() {
		under.Go(func() { do(l) })
	}
	under.Wait()
}

func (h *Hub) isLeaving() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leaving
}
