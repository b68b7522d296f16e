package live

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/adminpanel/live/turn"
	"slipstream/agent/wire"
	"slipstream/stream/whep"
)

const (
	linger = 40 * time.Second
	// relayTime bounds the way of a picture to the relay, for one who asks to watch.
	relayTime = 15 * time.Second
	// maxLines bounds the streams that come here at once; each may have a sound, and the
	// forwarder has 64 in all.
	maxLines = 32
	// maxViewers bounds those of all streams together.
	maxViewers = 256
)

// Asker asks devices by their links.
type Asker interface {
	Ask(ctx context.Context, device string, ask wire.Ask) (wire.Answer, error)
}

// Refusal is why the relay grants nothing.
type Refusal = whep.Refusal

// Way is where pictures go.
type Way int

const (
	Direct  Way = iota // from the device to the browser
	Relayed            // through the panel
)

var (
	// ErrFull says that the relay takes no more streams just now.
	ErrFull = fmt.Errorf("the panel brings %d streams to viewers already, as many as it can", maxLines)
	// ErrCrowded says that the relay takes no more viewers just now.
	ErrCrowded = fmt.Errorf("the panel brings pictures to %d viewers already, as many as it can", maxViewers)
	// ErrNoSession says that a session is none, or is another device's.
	ErrNoSession = errors.New("there is no such session")

	// ErrBadAnswer says that a device makes no sense.
	ErrBadAnswer = errors.New("the device has answered something else than was asked")
)

// Live is safe for concurrent use.
type Live struct {
	cfg   Config
	relay *relay
	legs  *legs
	turn  *turn.Server // nil: there is none
	ctx   context.Context
	stop  context.CancelFunc
	owned sync.WaitGroup
	names atomic.Int64 // how many were given

	mu     sync.Mutex // guards what follows
	lines  map[string]*line
	begun  bool // the relay runs
	closed bool
}

// New makes a Live. Its relay runs from when the first stream is to go through it.
func New(cfg Config) (*Live, error) {
	if cfg.Linger == 0 {
		cfg.Linger = linger
	}
	legs, err := newLegs(cfg.Legs)
	if err != nil {
		return nil, err
	}
	r, err := newRelay(cfg)
	if err != nil {
		legs.close()
		return nil, err
	}
	t, err := startTURN(cfg)
	if err != nil {
		legs.close()
		r.close()
		return nil, err
	}
	l := &Live{cfg: cfg, relay: r, legs: legs, turn: t, lines: map[string]*line{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	if legs.udp != nil {
		l.owned.Go(legs.read)
	}
	return l, nil
}

// Close ends all that goes through the panel. Nobody asks any more.
func (l *Live) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stop()
	l.legs.close()
	if l.turn != nil {
		l.turn.Close()
	}
	l.owned.Wait()
	l.relay.close()
}

// Session is one browser's way to a stream.
type Session struct {
	Answer []byte // to its offer
	Name   string // by which the session can be spoken of
	Tag    string // of its ICE session; "": the device is older than these
}

// Watch takes a browser's offer for a device's stream.
func (l *Live) Watch(ctx context.Context, device, stream string, offer []byte, way Way) (Session, error) {
	if way == Direct {
		return Offer(ctx, l.cfg.Asker, device, stream, offer)
	}
	ctx, cancel := context.WithTimeout(ctx, relayTime)
	defer cancel()
	if l.relay.all() >= maxViewers {
		return Session{}, ErrCrowded
	}
	line, err := l.line(device, stream)
	if err != nil {
		return Session{}, err
	}
	name, err := line.await(ctx)
	if err != nil {
		return Session{}, err
	}
	answer, session, tag, err := l.relay.offer(ctx, name, offer)
	if err != nil {
		return Session{}, fmt.Errorf("ask the panel's relay: %w", err)
	}
	_, id, _ := strings.Cut(session, "/")
	return Session{answer, stream + "/" + relayed + name + "_" + id, tag}, nil
}

// Offer takes an offer to a device itself.
func Offer(ctx context.Context, asker Asker, device, stream string, offer []byte) (Session, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	a, err := asker.Ask(ctx, device, wire.Ask{WHEP: &wire.WHEP{Stream: stream, Offer: string(offer)}})
	if err == nil && a.WHEP == nil {
		err = ErrBadAnswer
	}
	if err != nil {
		return Session{}, err
	}
	return Session{[]byte(a.WHEP.SDP), a.WHEP.Session, a.WHEP.Tag}, nil
}

// relayed begins the name of a session of the relay, behind the stream's.
const relayed = "relay_"

var relayedForm = regexp.MustCompile(`^([A-Za-z0-9_-]{1,64})/relay_(s[0-9]+)_([A-Za-z0-9_-]{1,128})$`)

// IsRelayed tells whether a session's name is that of a relay's, and not of a device's.
func IsRelayed(session string) bool { return relayedForm.MatchString(session) }

// at says whose a session is: the relay's by a name there, or the device's, by "".
func (l *Live) at(device, session string) (name string, err error) {
	m := relayedForm.FindStringSubmatch(session)
	if m == nil {
		return "", nil
	}
	l.mu.Lock()
	its := l.lines[device+"/"+m[1]]
	l.mu.Unlock()
	if its == nil || !its.is(m[2]) {
		return "", ErrNoSession
	}
	return m[2] + "/" + m[3], nil
}

// End ends a session of a device that Watch has named. One that has gone is fine.
func (l *Live) End(ctx context.Context, device, session string) error {
	name, err := l.at(device, session)
	switch {
	case err != nil:
		return err
	case name == "":
		return End(ctx, l.cfg.Asker, device, session)
	}
	l.relay.client.EndWHEP(name)
	return nil
}

// End ends a session of a device itself.
func End(ctx context.Context, asker Asker, device, session string) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	_, err := asker.Ask(ctx, device, wire.Ask{EndWHEP: &wire.EndWHEP{Session: session}})
	return err
}

// Tell passes on what a browser says of a session's ICE: more candidates, or that it begins
// another one, as it does when its network has changed.
func (l *Live) Tell(ctx context.Context, device string, what wire.TellWHEP) (wire.WHEPTold, error) {
	name, err := l.at(device, what.Session)
	switch {
	case err != nil:
		return wire.WHEPTold{}, err
	case name == "":
		return Tell(ctx, l.cfg.Asker, device, what)
	}
	status, tag, body, err := l.relay.client.TellWHEP(ctx, name, what.Match, []byte(what.Fragment))
	if err != nil {
		return wire.WHEPTold{}, fmt.Errorf("ask the panel's relay: %w", err)
	}
	return wire.WHEPTold{Status: status, Tag: tag, Body: string(body)}, nil
}

// Tell passes it on to a device itself.
func Tell(ctx context.Context, asker Asker, device string, what wire.TellWHEP) (wire.WHEPTold, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	a, err := asker.Ask(ctx, device, wire.Ask{TellWHEP: &what})
	if err == nil && a.Told == nil {
		err = ErrBadAnswer
	}
	if err != nil {
		return wire.WHEPTold{}, err
	}
	return *a.Told, nil
}

func (l *line) is(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.name == name
}

// line is a device's stream, which is asked for if it is not there.
func (l *Live) line(device, stream string) (*line, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, context.Canceled
	}
	key := device + "/" + stream
	if its := l.lines[key]; its != nil {
		its.mu.Lock()
		defer its.mu.Unlock()
		its.asked = time.Now()
		return its, nil
	}
	if len(l.lines) >= maxLines {
		return nil, ErrFull
	}
	if !l.begun {
		l.begun = true
		l.relay.start(l.ctx)
	}
	its := &line{live: l, device: device, stream: stream, udp: l.legs.udp != nil, asked: time.Now(), changed: make(chan struct{})}
	l.lines[key] = its
	l.owned.Go(func() {
		its.run(l.ctx)
		l.drop(its)
	})
	return its, nil
}

// keeps says whether a line is wanted; one that is not is in the books no more.
func (l *Live) keeps(its *line) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if its.wanted() {
		return true
	}
	delete(l.lines, its.key())
	return false
}

func (l *Live) drop(its *line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines[its.key()] == its {
		delete(l.lines, its.key())
	}
}

// newName is what a stream is called at the relay, once.
func (l *Live) newName() string {
	return fmt.Sprintf("s%d", l.names.Add(1))
}
