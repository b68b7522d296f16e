package gateway

import (
	"net/http"
	"sync"
)

// maxFarewells bounds the sessions whose end is remembered; beyond it the oldest is
// forgotten.
const maxFarewells = 256

// endedError is the forwarder's word on the end of a viewer.
type endedError struct{ reason, detail string }

func (e *endedError) Error() string {
	if e.detail != "" {
		return "the forwarder ended it: " + e.reason + ": " + e.detail
	}
	return "the forwarder ended it: " + e.reason
}

// farewells are the newest sessions that ended for a reason that their viewers should
// know, for those who ask. The zero value is ready.
type farewells struct {
	mu  sync.Mutex // guards all
	why map[farewell]string
	all []farewell // oldest first
}

type farewell struct{ stream, session string }

func (f *farewells) add(to farewell, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.why == nil {
		f.why = map[farewell]string{}
	}
	if len(f.all) == maxFarewells {
		delete(f.why, f.all[0])
		f.all = append(f.all[:0], f.all[1:]...)
	}
	f.why[to] = why
	f.all = append(f.all, to)
}

// missing is why there is no such session.
func (f *farewells) missing(stream, session string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if why, ok := f.why[farewell{stream, session}]; ok {
		return &refusal{http.StatusGone, "ended", "this session is over: " + why}
	}
	return errNoSession
}
