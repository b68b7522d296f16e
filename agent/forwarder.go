package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"slipstream/agent/control"
	"slipstream/stream/orders"
	"slipstream/stream/seqpacket"
)

const (
	dialEvery   = 20 * time.Millisecond
	statusEvery = time.Second     // while a trial runs, or somebody looks at it
	quietEvery  = 2 * time.Second // else, for what the core makes of it
	maxPending  = 256             // requests without an answer
)

// forwarder is the agent's end of the conversation of package orders. It sends
// nothing of its own accord but questions about the status: whatever must stand
// is sent again by the core when it hears of a new connection.
type forwarder struct {
	path string
	log  *slog.Logger
	post func(any)

	mu       sync.Mutex // guards what follows
	conn     *orders.Conn
	number   uint64 // of the connection
	admitted bool   // the core knows of it
	next     uint64 // request number
	pending  map[uint64]question
	status   *orders.Status
	stood    standings
	looked   time.Time // at the status, last
	changed  func()
	wished   func(orders.KeyWish)
	legs     map[string]func() // what is to be called when one has ended, by its name
}

// question is a request that waits for its answer.
type question struct {
	orders.Request
	core bool // a status that the core asked for
	// told takes the answer; nil: it is the core's. It does not wait for anything.
	told func(orders.Message)
}

// connected tells the runner of a new connection. Requests pass only after it
// was admitted, so that none that was meant for an older forwarder gets there.
type connected struct{ number uint64 }

// status tells the runner of an answer that the core asked for.
type status struct{ orders.Status }

// run keeps a connection until ctx ends.
func (f *forwarder) run(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := orders.Dial(f.path)
		if err != nil {
			Wait(ctx, dialEvery)
			continue
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		f.post(connected{f.take(conn)})
		err = f.read(ctx, conn)
		stop()
		f.drop(conn)
		f.log.Info("forwarder disconnected", "reason", err)
	}
}

func (f *forwarder) take(conn *orders.Conn) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.number++
	f.conn, f.admitted, f.pending = conn, false, map[uint64]question{}
	return f.number
}

func (f *forwarder) drop(conn *orders.Conn) {
	conn.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn, f.admitted, f.status = nil, false, nil
}

// admit opens the connection for requests.
func (f *forwarder) admit(number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.admitted = f.conn != nil && f.number == number
}

// ask sends a request, with descriptors. Without a connection it is dropped.
func (f *forwarder) ask(q question, fds ...int) (sent bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.send(&q, fds) {
		return false
	}
	if len(f.pending) < maxPending {
		f.pending[q.Req] = q
	}
	return true
}

// keep is a [keepFunc]. Nothing is answered but refusals.
func (f *forwarder) keep(name string, fds ...int) {
	q := question{Request: orders.Request{Keep: name}}
	if len(fds) == 0 {
		q.Request = orders.Request{Drop: name}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.send(&q, fds)
}

// send numbers and sends a request, for those who hold mu.
func (f *forwarder) send(q *question, fds []int) (sent bool) {
	if !f.admitted || len(fds) > orders.MaxKeptEach {
		return false
	}
	f.next++
	q.Req = f.next
	switch err := f.conn.Send(q.Request, fds...); {
	case errors.Is(err, seqpacket.ErrTooLarge):
		f.log.Error("request to the forwarder not sent", "reason", err)
		return false
	case err != nil:
		f.log.Warn("forwarder does not read", "reason", err)
		f.conn.Close() // the reader notices and connects again
		f.admitted = false
		return false
	}
	return true
}

// read takes messages until the connection ends, and asks for the status now and then.
func (f *forwarder) read(ctx context.Context, conn *orders.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	var polling sync.WaitGroup
	defer polling.Wait()
	defer cancel()
	polling.Go(func() {
		for Wait(ctx, f.statusPause()) {
			f.ask(question{Request: orders.Request{Status: true}})
		}
	})
	for {
		m, err := conn.Receive()
		if err != nil {
			return err
		}
		f.message(m)
	}
}

// statusPause is how long the status may grow old. A device at rest, which most are all
// day, is not woken more often than need be.
func (f *forwarder) statusPause() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status != nil && f.status.Trial == "" && time.Since(f.looked) > quietEvery {
		return quietEvery
	}
	return statusEvery
}

func (f *forwarder) message(m orders.Message) {
	if m.Req != 0 {
		f.answer(m)
		return
	}
	switch {
	case m.Switch != nil:
		f.post(TookOver{*m.Switch})
	case m.Revert != nil:
		f.post(TrialReverted{*m.Revert})
	case m.Lost != nil:
		f.log.Warn("source lost", "source", m.Lost.Source, "stream", m.Lost.Stream, "cause", m.Lost.Cause, "by", m.Lost.By, "detail", m.Lost.Detail)
		if m.Lost.Cause != orders.CauseExit { // of which the agent hears itself
			f.post(LineLost{m.Lost.Source, Lost{m.Lost.Stream, m.Lost.At, cmp.Or(m.Lost.Detail, m.Lost.Cause)}})
		}
	case m.KeyWish != nil:
		f.wished(*m.KeyWish)
	case m.LegEnded != nil:
		f.legEnded(*m.LegEnded)
	case m.Breaking != nil:
		f.log.Warn("invariant broken", "invariant", verdictName(*m.Breaking), "verdict", verdictText(*m.Breaking))
	}
}

// answer passes an answer on. A request that was not understood counts as not
// answered: the core repeats it, and in the end restarts the forwarder.
func (f *forwarder) answer(m orders.Message) {
	f.mu.Lock()
	q, known := f.pending[m.Req]
	delete(f.pending, m.Req)
	f.mu.Unlock()
	switch {
	case q.told != nil:
		q.told(m)
	case m.Result == orders.ResultError:
		f.log.Error("forwarder refuses a request", "reason", m.Error)
	case !known:
	case q.Hold != nil && m.Result == orders.ResultHeld:
		f.post(Held{Trial: q.Hold.Trial, Verdicts: m.Verdicts})
	case q.Hold != nil && m.Result == orders.ResultWait:
		f.log.Info("not permanent yet", "trial", q.Hold.Trial, "reason", m.Error)
		f.post(HoldWaits{q.Hold.Trial})
	case q.Hold != nil && m.Result == orders.ResultReverted:
		f.post(TrialReverted{ending(m.Revert, q.Hold.Trial)})
	case q.Settle != nil && m.Result == orders.ResultSettled:
		f.post(Settled{q.Settle.Trial})
	case q.Revert != nil && m.Result == orders.ResultReverted:
		f.post(TrialReverted{ending(m.Revert, q.Revert.Trial)})
	case q.Status && m.Status != nil:
		f.note(m.Status)
		f.post(LinesSeen{m.Status.Streams})
		if q.core {
			f.post(status{*m.Status})
		}
	}
}

// note keeps the newest status, in a stable order, and tells if people would see
// a difference.
func (f *forwarder) note(st *orders.Status) {
	slices.SortFunc(st.Streams, func(x, y orders.StreamStatus) int { return cmp.Compare(x.Name, y.Name) })
	for _, s := range st.Streams {
		slices.SortFunc(s.Lines, func(x, y orders.LineStatus) int { return cmp.Compare(x.Source, y.Source) })
	}
	f.mu.Lock()
	same := reflect.DeepEqual(f.status, st)
	f.status = st
	f.stood.see(st, time.Now())
	f.mu.Unlock()
	if !same {
		f.changed()
	}
}

// ending is how a trial ended, also if the forwarder no longer knows.
func ending(r *orders.Reverted, id orders.TrialID) orders.Reverted {
	if r == nil || r.Trial != id {
		return orders.Reverted{Trial: id, Cause: orders.CauseOrders}
	}
	return *r
}

// verdicts are the newest on a trial's invariants, with how long each has stood.
func (f *forwarder) verdicts(id orders.TrialID) []control.Verdict {
	st := f.streams()
	if st == nil || st.Trial != id {
		return nil
	}
	out := verdicts(st.Verdicts)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stood.tell(id, out, time.Now())
	return out
}

// streams is the newest status, nil if there is none.
func (f *forwarder) streams() *orders.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked = time.Now()
	return f.status
}

// Wait reports false if ctx ends first.
func Wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
