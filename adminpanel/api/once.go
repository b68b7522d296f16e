package api

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"net/http"
	"sync"
	"time"
)

const (
	maxKey     = 128       // bytes of an Idempotency-Key
	maxReplay  = 256 << 10 // bytes of an answer that is kept
	maxReplays = 4096
	maxKept    = 16 << 20 // bytes of all of them
	keepReplay = 24 * time.Hour
)

// replays are the answers to POSTs that had an Idempotency-Key, the oldest first.
type replays struct {
	mu    sync.Mutex // guards what follows
	byKey map[string]*replay
	order []*replay // those that are done
	size  int
}

func newReplays() *replays { return &replays{byKey: map[string]*replay{}} }

// replay is one answer, or a request that is being answered.
type replay struct {
	key    string
	body   [sha256.Size]byte // of the request
	done   chan struct{}     // closed when the rest is there, or it was given up
	at     time.Time
	status int // 0: given up
	header http.Header
	answer []byte
}

// once answers a request, or gives the answer again that it had. Refusals are not kept:
// they changed nothing, and may be another time.
func (a *API) once(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	if len(key) > maxKey {
		a.fail(w, badInput("header.Idempotency-Key", "it is longer than 128 bytes"))
		return
	}
	key = callerOf(r.Context()).Actor() + "\n" + r.URL.RequestURI() + "\n" + key
	for {
		mine, other := a.replays.begin(key, sha256.Sum256(body))
		if mine != nil {
			a.first(w, r, mine)
			return
		}
		if other.body != sha256.Sum256(body) {
			a.fail(w, newProblem(http.StatusUnprocessableEntity, "key-reused", "another request had this Idempotency-Key: make a new one for each"))
			return
		}
		select {
		case <-other.done:
		case <-r.Context().Done():
			return
		}
		if other.status != 0 {
			maps.Copy(w.Header(), other.header)
			w.Header().Set("Idempotency-Replayed", "true")
			w.WriteHeader(other.status)
			w.Write(other.answer)
			return
		}
	}
}

// first answers for the first time.
func (a *API) first(w http.ResponseWriter, r *http.Request, mine *replay) {
	rec := &recorder{ResponseWriter: w}
	defer func() { a.replays.end(mine, rec) }()
	a.mux.ServeHTTP(rec, r)
}

// begin returns the caller's own entry, or that of who came before.
func (s *replays) begin(key string, body [sha256.Size]byte) (mine, other *replay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(time.Now())
	if old, ok := s.byKey[key]; ok {
		return nil, old
	}
	mine = &replay{key: key, body: body, done: make(chan struct{})}
	s.byKey[key] = mine
	return mine, nil
}

func (s *replays) end(r *replay, rec *recorder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(r.done)
	if rec.status/100 != 2 || rec.cut {
		delete(s.byKey, r.key)
		return
	}
	r.at, r.status, r.header, r.answer = time.Now(), rec.status, rec.header, rec.body.Bytes()
	s.order = append(s.order, r)
	s.size += len(r.answer)
	s.sweep(r.at)
}

// sweep forgets what is too old or too much. The caller holds mu.
func (s *replays) sweep(now time.Time) {
	for len(s.order) > 0 {
		oldest := s.order[0]
		if len(s.order) <= maxReplays && s.size <= maxKept && now.Sub(oldest.at) < keepReplay {
			return
		}
		s.order[0] = nil
		s.order = s.order[1:]
		s.size -= len(oldest.answer)
		delete(s.byKey, oldest.key)
	}
}

// recorder remembers what it passes on.
type recorder struct {
	http.ResponseWriter
	status int
	header http.Header
	body   bytes.Buffer
	cut    bool // there was more than is kept
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status, r.header = status, r.Header().Clone()
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(buf []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if r.body.Len()+len(buf) <= maxReplay {
		r.body.Write(buf)
	} else {
		r.cut = true
	}
	return r.ResponseWriter.Write(buf)
}

// Unwrap lets controllers reach what they control.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
