package simulate

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"slipstream/agent/control"
	"slipstream/agent/link"
	"slipstream/agent/wire"
)

// Times are what the parts of an update take on average; what is zero takes no time.
type Times struct {
	Stage    time.Duration
	Start    time.Duration // until viewers see the new version
	Soak     time.Duration // of a trial that goes well
	Deadline time.Duration // of a trial that waits for somebody; 0: ten minutes
	Late     time.Duration // from the end of a trial to a late revert
	Away     time.Duration // without power
}

// Spec is what a device is.
type Spec struct {
	ID       string
	Product  string // "sample-camera"
	Hardware string // "rig"
	Version  string // that it has at first; "1.0.0"
	Marker   string // who ends its trials, "app" or "operator"; "" is "app"
	Fate     Fate
	Behind   time.Duration // its clock
	Times    Times
	Seed     uint64
	Download bool   // all of each package, not its head alone
	State    string // directory of its identity; "": memory
}

const (
	agentName = "sim"
	oldSlow   = 10 // times as long
	// oldClock is how far the clock is behind that a share of a fleet has.
	oldClock    = 8 * 365 * 24 * time.Hour
	keptHistory = 20
	// keptAsked bounds what is remembered of asks.
	keptAsked = 100
	deadline  = 10 * time.Minute
)

// Device is one that lies. It is safe for concurrent use.
type Device struct {
	Spec

	// Answer stands for the gateway; without it every viewer is refused. It is set before Run.
	Answer func(ctx context.Context, offer string) (string, error)

	identity *link.Identity
	heads    *heads
	log      *slog.Logger

	mu      sync.Mutex // guards what follows
	random  *rand.PCG
	status  control.Status
	history []control.Record
	changed chan struct{} // closed with each change; nil while nobody waits
	asked   []string
	counts  Did
	begun   time.Time   // the newest trial, by the clock of this machine
	due     *time.Timer // the next step of a trial; nil: there is none
	cut     func()      // ends the link as a loss of power does
	trials  int
}

// Did is what a device has done since it was made.
type Did struct {
	Stages    int
	Trials    int
	Permanent int
	Reverted  int
	Refused   int
}

var (
	_ control.Backend = (*Device)(nil)
	_ link.Media      = (*Device)(nil)
)

// New makes a device that belongs to no panel yet.
func New(spec Spec, log *slog.Logger) (*Device, error) {
	return newDevice(spec, &heads{}, log)
}

func newDevice(spec Spec, heads *heads, log *slog.Logger) (*Device, error) {
	spec.Product, spec.Hardware = cmp.Or(spec.Product, "sample-camera"), cmp.Or(spec.Hardware, "rig")
	spec.Version, spec.Marker = cmp.Or(spec.Version, "1.0.0"), cmp.Or(spec.Marker, "app")
	spec.Times.Deadline = cmp.Or(spec.Times.Deadline, deadline)
	d := &Device{
		Spec: spec, heads: heads, log: log.With("device", spec.ID), cut: func() {},
		random: rand.NewPCG(spec.Seed, hash(spec.ID)), identity: link.NewIdentity(spec.ID),
	}
	if spec.State != "" {
		var err error
		if d.identity, err = link.OpenIdentity(filepath.Join(spec.State, spec.ID), spec.ID); err != nil {
			return nil, err
		}
	}
	now := d.now()
	first := control.Record{Time: now, To: spec.Version, Outcome: control.OutcomePermanent}
	d.history = []control.Record{first}
	d.status = control.Status{
		Seq: 1, Device: spec.ID, Product: spec.Product, Hardware: spec.Hardware, Agent: agentName, Phase: "idle",
		Permanent: spec.Version, Last: &first, Time: now,
		Slots: []control.Slot{
			{Name: "a", State: control.StatePermanent, Version: spec.Version, App: "ready", PID: 101, Status: "30 frames/s", Since: now},
			{Name: "b", State: control.StateEmpty},
		},
		Streams: []control.StreamStatus{{Name: "main", Version: spec.Version, Viewers: 2}},
	}
	return d, nil
}

// Enrol makes the device one of a panel's, unless it is one already.
func (d *Device) Enrol(ctx context.Context, panel string, token wire.Token) error {
	if d.identity.Panel() != "" {
		return nil
	}
	if _, err := d.identity.Prepare(ctx, panel, token); err != nil {
		return err
	}
	return d.identity.Commit()
}

// Identity is by what the device and its panel know each other.
func (d *Device) Identity() *link.Identity { return d.identity }

// Run has the device call its panel until ctx ends. It is called once.
func (d *Device) Run(ctx context.Context) {
	defer d.rest()
	for ctx.Err() == nil {
		powered, cut := context.WithCancel(ctx)
		d.mu.Lock()
		d.cut = cut
		d.mu.Unlock()
		_ = link.Run(powered, d.identity, d, d, d.log) // it ends with its context
		cut()
		if ctx.Err() == nil {
			d.boots(ctx)
		}
	}
}

// rest ends what the device would do next.
func (d *Device) rest() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.due != nil {
		d.due.Stop()
	}
}

// boots waits for the power, and finds the trial reverted as every boot does.
func (d *Device) boots(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(d.some(d.Times.Away)):
	}
	d.change("", func(s *control.Status) {
		if s.Trial != nil {
			d.end(s, control.Record{Outcome: control.OutcomeReverted, Reason: "power", Detail: "the device lost its power during the trial"})
		}
	})
}

// now is the time by the device's clock.
func (d *Device) now() time.Time { return time.Now().Add(-d.Behind) }

// some is about so long: three quarters of it to five.
func (d *Device) some(mean time.Duration) time.Duration {
	if mean <= 0 {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.scatter(mean)
}

// scatter needs the lock.
func (d *Device) scatter(mean time.Duration) time.Duration {
	if mean <= 1 {
		return mean
	}
	return mean*3/4 + time.Duration(rand.New(d.random).Int64N(int64(mean/2)+1))
}

// change changes the status and wakes who waits for it.
func (d *Device) change(asked string, how func(*control.Status)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(asked)
	s := &d.status
	s.Slots, s.Streams = slices.Clone(s.Slots), slices.Clone(s.Streams)
	if s.Trial != nil {
		s.Trial = new(*s.Trial)
	}
	how(s)
	s.Seq++
	s.Time = d.now()
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// note needs the lock.
func (d *Device) note(asked string) {
	if asked != "" && len(d.asked) < keptAsked {
		d.asked = append(d.asked, asked)
	}
}

// Change changes what the device says of itself.
func (d *Device) Change(how func(*control.Status)) { d.change("", how) }

// Asked is what was asked of the device, in order, the first hundred.
func (d *Device) Asked() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.asked)
}

// Did is what the device has done.
func (d *Device) Did() Did {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

// Status implements [control.Backend].
func (d *Device) Status(context.Context) (control.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shown(), nil
}

// shown needs the lock.
func (d *Device) shown() control.Status {
	s := d.status
	if s.Trial != nil {
		s.Trial = new(*s.Trial)
		s.Trial.RemainingMS = max(0, d.Times.Deadline-d.now().Sub(s.Trial.Started)).Milliseconds()
		s.Trial.Verdicts = slices.Clone(s.Trial.Verdicts)
		for i := range s.Trial.Verdicts {
			s.Trial.Verdicts[i].SinceMS = max(1, d.now().Sub(s.Trial.TookOver).Milliseconds())
		}
	}
	return s
}

// WaitStatus implements [control.Backend].
func (d *Device) WaitStatus(ctx context.Context, seq uint64) (control.Status, error) {
	for {
		d.mu.Lock()
		if d.status.Seq != seq {
			defer d.mu.Unlock()
			return d.shown(), nil
		}
		if d.changed == nil {
			d.changed = make(chan struct{})
		}
		changed := d.changed
		d.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return control.Status{}, ctx.Err()
		}
	}
}

// History implements [control.Backend].
func (d *Device) History(_ context.Context, most int) ([]control.Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.history[:min(most, len(d.history))]), nil
}

// ReplaceForwarder is not the panel's to ask for.
func (d *Device) ReplaceForwarder(context.Context) control.Result {
	return control.Result{Exit: control.ExitError, Message: "a simulated device has no forwarder"}
}

// WHEP implements [link.Media].
func (d *Device) WHEP(ctx context.Context, stream string, offer []byte) (answer []byte, session, tag string, err error) {
	d.remember("whep " + stream)
	if d.Answer == nil {
		return nil, "", "", errors.New("a simulated device has no pictures")
	}
	sdp, err := d.Answer(ctx, string(offer))
	return []byte(sdp), stream + "/1", "", err
}

// TellWHEP implements [link.Media]. All candidates are in the answer.
func (d *Device) TellWHEP(_ context.Context, session, _ string, _ []byte) (status int, tag string, body []byte, err error) {
	d.remember("tell " + session)
	return http.StatusNoContent, "", nil, nil
}

// EndWHEP implements [link.Media].
func (d *Device) EndWHEP(session string) { d.remember("end " + session) }

func (d *Device) remember(asked string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(asked)
}
