package link_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/agent/wire"
)

// A panel that reads nothing for a while holds nobody up: although every buffer is full
// of answers, the device does what it is asked, and the panel finds all of it, and the
// newest status, when it reads again.
func TestAPanelThatDoesNotReadForAWhile(t *testing.T) {
	t.Parallel()
	const full = 8 // answers of the greatest length, which is twice what a stream buffers
	s, links := panel(t)
	d := newDevice()
	d.long = wire.MaxLine/full - 1<<10
	run(t, enrolled(t, s), d)
	end := accept(t, links)
	next(t, end, phaseIs("idle"))
	for id := range uint64(full) {
		if err := end.down.Write(wire.Down{Ask: &wire.Ask{ID: id + 1, History: &wire.History{Max: full}}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		d.set(fmt.Sprintf("phase %d", i))
	}
	if err := end.down.Write(wire.Down{Ask: &wire.Ask{ID: full + 1, Revert: &struct{}{}}}); err != nil {
		t.Fatal(err)
	}
	d.untilAsked(t, "revert")
	answers, newest := map[uint64]bool{}, false
	next(t, end, func(up wire.Up) bool {
		if up.Answer != nil {
			answers[up.Answer.ID] = up.Answer.Error == nil
		}
		newest = newest || phaseIs("phase 99")(up)
		return len(answers) == full+1 && newest
	})
	for id, good := range answers {
		if !good {
			t.Errorf("ask %d was answered by an error", id)
		}
	}
}

// untilAsked waits until the device was asked for something.
func (d *device) untilAsked(t *testing.T, what string) {
	t.Helper()
	for late := time.After(patience); !strings.Contains(strings.Join(d.askedOf(), " "), what); {
		select {
		case <-late:
			t.Fatalf("the device was not asked to %s: %v", what, d.askedOf())
		case <-time.After(time.Millisecond):
		}
	}
}

// A line that comes in drops is read when it is whole, and what comes behind it as well.
func TestAPanelThatWritesInDrops(t *testing.T) {
	t.Parallel()
	s, links := panel(t)
	run(t, enrolled(t, s), newDevice())
	end := accept(t, links)
	line, err := json.Marshal(wire.Down{Ask: &wire.Ask{ID: 7, Revert: &struct{}{}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, drop := range append(line, '\n') {
		if _, err := end.raw.Write([]byte{drop}); err != nil {
			t.Fatal(err)
		}
	}
	next(t, end, anAnswer(7))
	ask(t, end, wire.Ask{ID: 8, Revert: &struct{}{}})
}

// A panel that takes a call and never answers it is given up and called again, and so is
// one that never finishes an enrolment. It takes the longest of their limits.
func TestAPanelThatStalls(t *testing.T) {
	t.Parallel()
	begin := func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, `{"device":"cam-1","certificate":[`)
		http.NewResponseController(w).Flush()
	}
	var enrolling sync.WaitGroup
	for name, answer := range map[string]func(http.ResponseWriter){"before its answer": func(http.ResponseWriter) {}, "within its answer": begin} {
		s, _ := panel(t)
		stall(s, wire.EnrollPath, answer)
		id := nobody(t)
		enrolling.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
			defer cancel()
			_, err := id.Prepare(ctx, s.URL, wire.NewToken(wire.Pin(s.Certificate())))
			if ctx.Err() != nil || err == nil || id.Commit() == nil || id.Panel() != "" {
				t.Errorf("%s: the enrolment ended with %v (%v)", name, err, ctx.Err())
			}
		})
	}
	calls := make(chan struct{}, 4)
	s, _ := panel(t)
	id := enrolled(t, s)
	stall(s, wire.Path, func(http.ResponseWriter) { calls <- struct{}{} })
	run(t, id, newDevice())
	for range 2 {
		select {
		case <-calls:
		case <-time.After(2 * patience):
			t.Fatal("the device did not call")
		}
	}
	enrolling.Wait()
}

// stall lets a panel answer at a path so, and then no more.
func stall(s *httptest.Server, path string, answer func(http.ResponseWriter)) {
	instead(s, path, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, io.LimitReader(r.Body, 1))
		answer(w)
		<-r.Context().Done()
	})
}

// instead lets a panel answer at a path in another way.
func instead(s *httptest.Server, path string, answer http.HandlerFunc) {
	others := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			answer(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}
