package adminpanel_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/agent/link"
	"slipstream/agent/wire"
	"slipstream/verify"
)

const (
	simDeadline = 30 * time.Second
	simSoak     = 2 * time.Second
)

// sim is a device that lies. It runs no app, writes no slot and takes no
// picture: it fetches the package for real, believes whatever the file says,
// and moves its status as an agent would. Its link to the panel is the real one.
type sim struct {
	id    string
	token string
	panel *link.Identity // by which it knows its panel, once it runs
	dir   string         // where that is kept
	// answer stands for the gateway; nil refuses every viewer.
	answer func(ctx context.Context, offer string) (string, error)

	mu      sync.Mutex
	status  control.Status
	history []control.Record
	changed chan struct{}
	asked   []string
	leave   func() // ends the link
}

var _ control.Backend = (*sim)(nil)
var _ link.Media = (*sim)(nil)

func newSim(id, token string) *sim {
	now := time.Now()
	first := control.Record{Time: now, To: "1.0", Outcome: control.OutcomePermanent}
	return &sim{
		id: id, token: token, changed: make(chan struct{}),
		history: []control.Record{first},
		status: control.Status{
			Seq: 1, Device: id, Product: "sample-camera", Hardware: "rig", Agent: "sim", Phase: "idle", Permanent: "1.0", Last: &first,
			Slots: []control.Slot{
				{Name: "a", State: control.StatePermanent, Version: "1.0", App: "ready", PID: 101, Status: "30 frames/s", Since: now},
				{Name: "b", State: control.StateEmpty},
			},
			Streams: []control.StreamStatus{{Name: "main", Version: "1.0", Viewers: 2}},
		},
	}
}

// run links the device to the panel until the test ends.
func (s *sim) run(t *testing.T, url string) {
	s.dir = t.TempDir()
	s.panel = enrolledIn(t, s.dir, url, s.id, s.token)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		link.Run(ctx, s.panel, s, s, slog.New(slog.DiscardHandler))
	}()
	s.leave = func() { cancel(); <-ended }
	t.Cleanup(s.leave)
}

// enrolled enrols a device that has nothing yet.
func enrolled(t *testing.T, url, device, token string) *link.Identity {
	t.Helper()
	return enrolledIn(t, t.TempDir(), url, device, token)
}

func enrolledIn(t *testing.T, dir, url, device, token string) *link.Identity {
	t.Helper()
	id, err := link.OpenIdentity(dir, device)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := wire.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = id.Prepare(t.Context(), url, parsed); err == nil {
		err = id.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// update changes the status and wakes who waits for it.
func (s *sim) update(asked string, f func(*control.Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if asked != "" {
		s.asked = append(s.asked, asked)
	}
	s.status.Slots = slices.Clone(s.status.Slots)
	s.status.Streams = slices.Clone(s.status.Streams)
	f(&s.status)
	s.status.Seq++
	s.status.Time = time.Now()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *sim) askedOf() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *sim) Status(context.Context) (control.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, nil
}

func (s *sim) WaitStatus(ctx context.Context, seq uint64) (control.Status, error) {
	for {
		s.mu.Lock()
		status, changed := s.status, s.changed
		s.mu.Unlock()
		if status.Seq != seq {
			return status, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return control.Status{}, ctx.Err()
		}
	}
}

func (s *sim) History(_ context.Context, max int) ([]control.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history[:min(max, len(s.history))], nil
}

func (s *sim) Stage(ctx context.Context, r control.StageRequest) control.Result {
	p, err := s.fetch(ctx, r.URL)
	if err != nil {
		s.update("stage", func(*control.Status) {})
		return control.Result{Exit: control.ExitRefused, Code: "fetch", Message: err.Error()}
	}
	version := p.Manifest.Version
	if !r.Force && s.reverted(p.Digest) {
		return s.refuse(version, p.Digest)
	}
	s.update("stage "+version, func(st *control.Status) {
		st.Phase = "staged"
		*spare(st) = control.Slot{Name: spare(st).Name, State: control.StateStaged, Version: version, Digest: p.Digest}
	})
	return control.Result{Message: version + " is staged in slot " + spare(&s.status).Name}
}

func (s *sim) staged() control.Slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *spare(&s.status)
}

func (s *sim) reverted(digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.history, func(r control.Record) bool {
		return r.Digest == digest && r.Outcome == control.OutcomeReverted
	})
}

func (s *sim) refuse(version, digest string) control.Result {
	r := control.Record{
		Time: time.Now(), To: version, Digest: digest, Outcome: control.OutcomeRefused, Reason: "reverted",
		Detail: version + " was tried before and reverted; only force installs it again",
	}
	s.update("refuse "+version, func(st *control.Status) {
		r.From, st.Last = st.Permanent, &r
		s.history = append([]control.Record{r}, s.history...)
	})
	return control.Result{Exit: control.ExitRefused, Code: r.Reason, Message: r.Detail, Record: &r}
}

// fetch takes the package as an agent does, over the link's connection.
func (s *sim) fetch(ctx context.Context, url string) (*verify.Package, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.panel.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the panel answered %s, %w", resp.Status, err)
	}
	return verify.Unverified(bytes.NewReader(data), int64(len(data)))
}

func (s *sim) Activate(_ context.Context, r control.ActivateRequest) control.Result {
	if staged := s.staged(); !r.Force && s.reverted(staged.Digest) {
		return s.refuse(staged.Version, staged.Digest)
	}
	s.update("activate", func(st *control.Status) {
		now := time.Now()
		slot := spare(st)
		slot.State, slot.App, slot.PID, slot.Status = control.StateTrial, "ready", 202, "30 frames/s"
		st.Phase = "trial"
		st.Streams[0].Version = slot.Version
		st.Trial = &control.Trial{
			ID: "t1", Slot: slot.Name, From: st.Permanent, Version: slot.Version, Greenlight: "operator", Marker: "trial/t1/greenlight",
			Started: now, TookOver: now, RemainingMS: simDeadline.Milliseconds(), SoakMS: simSoak.Milliseconds(),
		}
	})
	return control.Result{Message: "the trial has begun"}
}

func (s *sim) Greenlight(context.Context) control.Result {
	return s.end("greenlight", control.Record{Outcome: control.OutcomePermanent})
}

// ReplaceForwarder is not the panel's to ask for: a simulated device has none.
func (s *sim) ReplaceForwarder(context.Context) control.Result {
	return control.Result{Exit: control.ExitError, Message: "a simulated device has no forwarder"}
}

func (s *sim) Revert(context.Context) control.Result {
	return s.end("revert", control.Record{
		Outcome: control.OutcomeReverted, Reason: "operator", Detail: "taken back from the panel",
		Evidence: []string{"exit status: still running", "camera: frame 1041 sent"},
		Proof:    &control.Proof{DetectToFirstMS: 0.8},
	})
}

// end ends the trial as r says; without one there is nothing to end.
func (s *sim) end(asked string, r control.Record) control.Result {
	answer := control.Result{Exit: control.ExitNothing, Message: "no trial is under way"}
	s.update(asked, func(st *control.Status) {
		if st.Trial == nil {
			return
		}
		r.Time, r.Trial, r.From, r.To = time.Now(), "t1", st.Permanent, st.Trial.Version
		old, fresh := active(st), spare(st)
		if r.Outcome == control.OutcomePermanent {
			old.State, fresh.State = control.StatePrevious, control.StatePermanent
			old.App, old.PID, old.Status = "stopped", 0, ""
			st.Permanent = fresh.Version
		} else {
			fresh.State, fresh.App, fresh.PID, fresh.Status = control.StateReverted, "stopped", 0, ""
		}
		r.Digest = fresh.Digest
		st.Phase, st.Trial, st.Last = "idle", nil, &r
		st.Streams[0].Version = st.Permanent
		s.history = append([]control.Record{r}, s.history...)
		answer = control.Result{Message: r.To + " is " + r.Outcome, Record: &r}
	})
	return answer
}

func active(st *control.Status) *control.Slot {
	if st.Slots[0].State == control.StatePermanent {
		return &st.Slots[0]
	}
	return &st.Slots[1]
}

func spare(st *control.Status) *control.Slot {
	if st.Slots[0].State == control.StatePermanent {
		return &st.Slots[1]
	}
	return &st.Slots[0]
}

func (s *sim) WHEP(ctx context.Context, stream string, offer []byte) ([]byte, string, error) {
	s.update("whep "+stream, func(*control.Status) {})
	if s.answer == nil {
		return nil, "", fmt.Errorf("a simulated device has no stream %s", stream)
	}
	answer, err := s.answer(ctx, string(offer))
	return []byte(answer), stream + "/1", err
}

func (s *sim) EndWHEP(session string) { s.update("end "+session, func(*control.Status) {}) }
