package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"slipstream/agent/control"
)

// scripted is a backend that plays a test's script, because a test must choose
// the failures and cannot wait for trials. Its lies: nothing is written,
// started or measured; time stands still at what the statuses say; and a request
// ends when its watcher has seen the status that the script names, not when any
// work is done.
type scripted struct {
	Statuses  []control.Status // in order; the first holds until a request begins
	Stage     reply
	Activate  reply
	Green     control.Result
	Back      control.Result
	Rehearsal reply
	Replaced  control.Result
	Spare     control.Result // of what is asked of slots not in use
	Kept      control.Result // of what is asked of the device's trust
	Past      []control.Record

	stop    func() // ends the server
	mu      sync.Mutex
	changed chan struct{}
	limit   int // statuses that may be shown
	seen    int // statuses that the watcher has taken in
	calls   []string
}

// reply is how a scripted request ends.
type reply struct {
	Result control.Result
	After  int  // only when the watcher came back from this status, counted from 1
	Never  bool // only when the caller gives up
}

func parseScript(text string) (*scripted, error) {
	s := &scripted{changed: make(chan struct{}), limit: 1}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, err
	}
	if len(s.Statuses) == 0 {
		s.Statuses = []control.Status{{Device: "cam-7"}}
	}
	for i := range s.Statuses {
		s.Statuses[i].Seq = uint64(i + 1)
	}
	return s, nil
}

// update changes the fake under its lock and wakes all who wait for it.
func (s *scripted) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until ok holds under the lock.
func (s *scripted) await(ctx context.Context, ok func() bool) error {
	for {
		s.mu.Lock()
		fine, changed := ok(), s.changed
		s.mu.Unlock()
		if fine {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *scripted) play(ctx context.Context, r reply, format string, a ...any) control.Result {
	s.update(func() {
		s.calls = append(s.calls, fmt.Sprintf(format, a...))
		s.limit = max(s.limit, r.After)
	})
	if err := s.await(ctx, func() bool { return !r.Never && s.seen >= r.After }); err != nil {
		return control.Result{Exit: control.ExitError, Message: err.Error()}
	}
	return r.Result
}

type backend struct{ *scripted }

var (
	_ control.Backend = backend{}
	_ control.Keeper  = backend{}

	_ control.Technician = backend{}
)

func (b backend) Status(context.Context) (control.Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Statuses[min(max(b.seen, 1)+1, b.limit)-1], nil
}

// WaitStatus gives the statuses out one by one, as fast as they are asked for.
func (b backend) WaitStatus(ctx context.Context, seq uint64) (control.Status, error) {
	b.update(func() { b.seen = max(b.seen, int(seq)) })
	if err := b.await(ctx, func() bool { return int(seq) < b.limit }); err != nil {
		return control.Status{}, err
	}
	return b.Statuses[seq], nil
}

func (b backend) History(_ context.Context, max int) ([]control.Record, error) {
	return b.Past[:min(max, len(b.Past))], nil
}

func (b backend) Stage(ctx context.Context, r control.StageRequest) control.Result {
	return b.play(ctx, b.scripted.Stage, "stage path=%s url=%s force=%v", r.Path, r.URL, r.Force)
}

func (b backend) Activate(ctx context.Context, r control.ActivateRequest) control.Result {
	return b.play(ctx, b.scripted.Activate, "activate force=%v wait=%v", r.Force, r.Wait)
}

func (b backend) Greenlight(ctx context.Context) control.Result {
	return b.play(ctx, reply{Result: b.Green}, "greenlight")
}

func (b backend) Rehearse(ctx context.Context, r control.RehearseRequest) control.Result {
	return b.play(ctx, b.Rehearsal, "rehearse wait=%v", r.Wait)
}

func (b backend) Reset(ctx context.Context, r control.ResetRequest) control.Result {
	return b.play(ctx, b.Rehearsal, "reset wait=%v", r.Wait)
}

func (b backend) Return(ctx context.Context, r control.ReturnRequest) control.Result {
	return b.play(ctx, b.Rehearsal, "return force=%v wait=%v", r.Force, r.Wait)
}

func (b backend) Cancel(ctx context.Context) control.Result {
	return b.play(ctx, reply{Result: b.Spare}, "cancel")
}

func (b backend) Clear(ctx context.Context, r control.ClearRequest) control.Result {
	return b.play(ctx, reply{Result: b.Spare}, "clear %s", r.Slot)
}

func (b backend) Revert(ctx context.Context) control.Result {
	return b.play(ctx, reply{Result: b.Back}, "revert")
}

func (b backend) ReplaceForwarder(ctx context.Context) control.Result {
	return b.play(ctx, reply{Result: b.Replaced}, "replace forwarder")
}

func (b backend) TakeTrust(ctx context.Context, r control.TrustRequest) control.Result {
	return b.play(ctx, reply{Result: b.Kept}, "trust %s", strings.Join(r.Paths, " "))
}

func (b backend) Enroll(ctx context.Context, r control.EnrollRequest) control.Result {
	return b.play(ctx, reply{Result: b.Kept}, "enroll %s", r.Path)
}

func (b backend) Leave(ctx context.Context, r control.LeaveRequest) control.Result {
	return b.play(ctx, reply{Result: b.Kept}, "leave %s", r.Device)
}
