package viewer

import (
	"sync"
	"time"

	"github.com/pion/rtp"

	"slipstream/stream/publish"
)

// Kinds of viewers.
const (
	WHEP    = "whep"
	RTSPTCP = "rtsp-tcp"
	RTSPUDP = "rtsp-udp"
)

// dialTimeout bounds each step of joining a stream, unless [Within] does.
const dialTimeout = 10 * time.Second

// socketBuffer is a UDP viewer's, in bytes: a second and more of video.
const socketBuffer = 4 << 20

// Viewer is one session that plays one stream.
type Viewer struct {
	*Recorder
	Kind string
	URL  string

	sink   func(at time.Duration, p *rtp.Packet)
	answer func(sdp string) string
	repair *repairer // nil: what is lost stays lost
	limit  time.Duration
	bearer string // token; "": it shows none

	hangUp func()
	once   sync.Once

	mu    sync.Mutex // guards what follows
	ended string
}

// Option changes how a viewer plays.
type Option func(*Viewer)

// Sink gives packets to a function as they come, and records nothing.
func Sink(f func(at time.Duration, p *rtp.Packet)) Option { return func(v *Viewer) { v.sink = f } }

// Also gives packets to a function beside the record.
func Also(f func(p *rtp.Packet)) Option {
	return func(v *Viewer) {
		record := v.sink
		v.sink = func(at time.Duration, p *rtp.Packet) { record(at, p); f(p) }
	}
}

// Answer lets a function change the SDP answer that a WHEP viewer takes, such as
// to a relay's address.
func Answer(f func(sdp string) string) Option { return func(v *Viewer) { v.answer = f } }

// Repair makes a WHEP viewer ask for lost packets and put them in their places,
// as a browser does. What does not come is seen as lost.
func Repair() Option { return func(v *Viewer) { v.repair = newRepairer() } }

// Within makes a viewer patient with a device that is far slower than a real one: it
// bounds the steps of joining, and how long a WHEP viewer hears nothing before its
// session is over.
func Within(limit time.Duration) Option { return func(v *Viewer) { v.limit = limit } }

// Bearer makes a WHEP viewer show a token.
func Bearer(token string) Option { return func(v *Viewer) { v.bearer = token } }

func newViewer(kind, url string, options []Option) *Viewer {
	v := &Viewer{Recorder: NewRecorder(), Kind: kind, URL: url, limit: dialTimeout, answer: func(sdp string) string { return sdp }}
	v.sink = v.Packet
	for _, change := range options {
		change(v)
	}
	return v
}

// Asked is how many packets the viewer asked for again.
func (v *Viewer) Asked() int {
	if v.repair == nil {
		return 0
	}
	return v.repair.count()
}

// Alive says that the session has stood since it was made. What the server ended
// or the network broke stays dead: a real viewer would have had to join again.
func (v *Viewer) Alive() bool { return v.Ended() == "" }

// Ended says why the session is over, "" if it is not.
func (v *Viewer) Ended() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ended
}

func (v *Viewer) end(reason string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended == "" {
		v.ended = reason
	}
}

// Close leaves the stream and waits for the session's goroutines.
func (v *Viewer) Close() {
	v.end("closed by the viewer")
	v.once.Do(v.hangUp)
}

// now is the clock of every record.
func now() time.Duration { return publish.Monotonic() }
