package live

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"slipstream/agent/wire"
	"slipstream/stream/orders"
)

const (
	askTime   = 12 * time.Second // a little longer than the device's own
	byeTime   = 3 * time.Second
	againTime = time.Second
)

// line is a device's stream as it comes to the panel, from the first who watches it
// until a while after the last.
type line struct {
	live           *Live
	device, stream string
	udp            bool // by which way it is asked for next

	mu       sync.Mutex // guards what follows
	asked    time.Time  // when it was last asked for
	name     string     // of the relay's stream; "" before the first
	declared []wire.LegTrack
	ready    bool
	failure  error         // of the newest try, if it was in vain
	changed  chan struct{} // closed when ready or failure are others
}

// await waits until the relay has the stream, and returns its name there.
func (l *line) await(ctx context.Context) (name string, err error) {
	for {
		l.mu.Lock()
		name, ready, failure, changed := l.name, l.ready, l.failure, l.changed
		l.mu.Unlock()
		switch {
		case ready:
			return name, nil
		case failure != nil:
			return "", failure
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("the stream did not come from the device in time: %w", ctx.Err())
		}
	}
}

func (l *line) say(ready bool, failure error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready, l.failure = ready, failure
	close(l.changed)
	l.changed = make(chan struct{})
}

// watched says whether somebody has the stream on his screen, or waits for it to come back.
func (l *line) watched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.name != "" && l.live.relay.watched(l.name) > 0
}

// wanted says whether somebody watches, or did just now.
func (l *line) wanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.name != "" && l.live.relay.watched(l.name) > 0 {
		l.asked = time.Now()
	}
	return time.Since(l.asked) < l.live.cfg.Linger
}

// run brings the stream here for as long as it is wanted.
func (l *line) run(ctx context.Context) {
	defer l.live.relay.declare(l, nil)
	log := l.live.cfg.Log.With("device", l.device, "stream", l.stream)
	for ctx.Err() == nil && l.live.keeps(l) {
		by := "link"
		if l.udp {
			by = "udp"
		}
		log.Info("a stream is asked for", "by", by)
		came, err := l.once(ctx)
		log.Info("a leg has ended", "by", by, "cause", err)
		switch {
		case err == nil:
			continue
		case !came && errors.Is(err, errSilent) && l.udp:
			l.udp = false // it may be blocked
			continue
		case !came && !l.watched(): // whoever asked is told, and may ask again
			l.say(false, err)
			return
		case !came:
			l.udp = l.live.legs.udp != nil
		}
		rest(ctx, againTime)
	}
}

func (l *line) key() string { return l.device + "/" + l.stream }

// once brings the stream here by one leg. came says whether anything did.
func (l *line) once(ctx context.Context) (came bool, err error) {
	port := 0
	if l.udp {
		port = l.live.legs.port()
	}
	r, err := newReceiver(l.device, newLeg(l.stream, port, random))
	if err != nil {
		return false, err
	}
	defer r.close()
	l.live.legs.expect(r)
	defer l.live.legs.forget(r)
	asking, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answer, err := l.live.cfg.Asker.Ask(asking, l.device, wire.Ask{Leg: &r.spec})
	if err != nil {
		return false, err
	}
	defer l.bye(ctx, r.spec.ID)
	if answer.Leg == nil {
		return false, errors.New("the device has answered something else")
	}
	if err := l.declare(r, answer.Leg.Tracks); err != nil {
		return false, err
	}
	r.began = func() { l.say(true, nil) }
	defer l.say(false, nil)
	err = r.run(ctx, l.wanted)
	return r.came, err
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// bye tells the device that the leg is not needed. One that does not hear it notices
// that nobody checks on the leg.
func (l *line) bye(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), byeTime)
	defer cancel()
	_, _ = l.live.cfg.Asker.Ask(ctx, l.device, wire.Ask{EndLeg: &wire.EndLeg{ID: id}})
}

// declare tells the relay what comes. If that is something else than before, it comes
// under another name: who watches has agreed to what it was.
func (l *line) declare(r *receiver, tracks []wire.LegTrack) error {
	if err := checkTracks(&r.spec, tracks); err != nil {
		return fmt.Errorf("the device has answered what makes no sense: %w", err)
	}
	known := make([]wire.LegTrack, len(tracks))
	for i, t := range tracks {
		t.SSRC = 0
		known[i] = t
	}
	l.mu.Lock()
	if !reflect.DeepEqual(known, l.declared) {
		l.declared, l.name = known, l.live.newName()
	}
	name := l.name
	l.mu.Unlock()
	for i, t := range tracks {
		r.tracks = append(r.tracks, newTrack(t, name+[]string{"", soundSuffix}[i], l.live.relay.run))
	}
	l.live.relay.declare(l, declarations(r.tracks))
	return nil
}

func checkTracks(spec *wire.Leg, tracks []wire.LegTrack) error {
	if n := len(tracks); n < 1 || n > 2 {
		return fmt.Errorf("%d tracks", n)
	}
	for i, t := range tracks {
		picture := t.Codec == orders.H264 || t.Codec == orders.H265
		sound := t.Codec == orders.Opus || t.Codec == orders.PCMU || t.Codec == orders.PCMA
		if i == 0 && !picture || i > 0 && !sound || t.SSRC != spec.SSRC+uint32(i) || t.PayloadType > 127 || len(t.Profile) > 6 {
			return fmt.Errorf("a track %+v", t)
		}
	}
	return nil
}
