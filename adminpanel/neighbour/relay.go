package neighbour

import (
	"context"
	"errors"

	"slipstream/adminpanel/live"
	"slipstream/agent/wire"
)

// ErrNoRelay says that a panel brings no pictures to viewers.
var ErrNoRelay = errors.New("the panel that the device is linked to brings no pictures to viewers itself: its configuration names no address for that")

// Relay brings the pictures of a panel's devices to viewers, as [live.Live] does.
type Relay interface {
	Watch(ctx context.Context, device, stream string, offer []byte, way live.Way) (live.Session, error)
	Tell(ctx context.Context, device string, what wire.TellWHEP) (wire.WHEPTold, error)
	End(ctx context.Context, device, session string) error
	ICEServer(host string) (live.ICEServer, bool)
}

// ofRelay is what a panel wants of another one's relay: one of these.
type ofRelay struct {
	Watch  *wire.WHEP     `json:"watch,omitempty"`
	Tell   *wire.TellWHEP `json:"tell,omitempty"`
	End    *wire.EndWHEP  `json:"end,omitempty"`
	Server bool           `json:"server,omitempty"` // for ICE
}

// Far is another panel's relay. Viewers' pictures come from that panel's addresses.
type Far struct {
	panels *Panels
	panel  string
}

// Relay is that of the panel that has a device's link; false if no other one has.
func (p *Panels) Relay(device string) (Far, bool) {
	if here, ok := p.cfg.Hub.Device(device); ok && here.Online {
		return Far{}, false
	}
	panel, ok := p.cfg.At(device)
	return Far{p, panel}, ok
}

// Watch is [live.Live.Watch], on the way through that panel.
func (f Far) Watch(ctx context.Context, device, stream string, offer []byte, _ live.Way) (live.Session, error) {
	r, err := f.ask(ctx, device, ofRelay{Watch: &wire.WHEP{Stream: stream, Offer: string(offer)}})
	if err == nil && r.Session == nil {
		err = live.ErrBadAnswer
	}
	if err != nil {
		return live.Session{}, err
	}
	return *r.Session, nil
}

// Tell is [live.Live.Tell].
func (f Far) Tell(ctx context.Context, device string, what wire.TellWHEP) (wire.WHEPTold, error) {
	r, err := f.ask(ctx, device, ofRelay{Tell: &what})
	if err == nil && r.Told == nil {
		err = live.ErrBadAnswer
	}
	if err != nil {
		return wire.WHEPTold{}, err
	}
	return *r.Told, nil
}

// End is [live.Live.End].
func (f Far) End(ctx context.Context, device, session string) error {
	_, err := f.ask(ctx, device, ofRelay{End: &wire.EndWHEP{Session: session}})
	return err
}

// ICEServer is [live.Live.ICEServer] of a panel whose configuration says where browsers find its
// server; false: none does, or the panel does not answer.
func (f Far) ICEServer(ctx context.Context, device string) (live.ICEServer, bool) {
	r, err := f.ask(ctx, device, ofRelay{Server: true})
	if err != nil || r.Server == nil {
		return live.ICEServer{}, false
	}
	return *r.Server, true
}

func (f Far) ask(ctx context.Context, device string, what ofRelay) (reply, error) {
	return f.panels.forward(ctx, f.panel, request{Device: device, Relay: &what})
}

// obeyForRelay does for another panel's viewers what the relay does for this one's.
func (p *Panels) obeyForRelay(ctx context.Context, q request, r *reply) (err error) {
	p.mu.Lock()
	relay := p.relay
	p.mu.Unlock()
	if relay == nil {
		return ErrNoRelay
	}
	switch what := q.Relay; {
	case what.Watch != nil:
		var s live.Session
		if s, err = relay.Watch(ctx, q.Device, what.Watch.Stream, []byte(what.Watch.Offer), live.Relayed); err == nil {
			r.Session = &s
		}
	case what.Tell != nil:
		var told wire.WHEPTold
		if told, err = relay.Tell(ctx, q.Device, *what.Tell); err == nil {
			r.Told = &told
		}
	case what.End != nil:
		err = relay.End(ctx, q.Device, what.End.Session)
	case what.Server:
		if s, ok := relay.ICEServer(""); ok {
			r.Server = &s
		}
	}
	return err
}
