package viewer

import (
	"sync"
	"time"

	"slipstream/stream/publish"
)

// Kinds of viewers.
const (
	WHEP    = "whep"
	RTSPTCP = "rtsp-tcp"
	RTSPUDP = "rtsp-udp"
)

// dialTimeout bounds each step of joining a stream.
const dialTimeout = 10 * time.Second

// Viewer is one session that plays one stream.
type Viewer struct {
	*Recorder
	Kind string
	URL  string

	hangUp func()
	once   sync.Once

	mu    sync.Mutex // guards what follows
	ended string
}

func newViewer(kind, url string) *Viewer {
	return &Viewer{Recorder: NewRecorder(), Kind: kind, URL: url}
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
