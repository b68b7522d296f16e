package simulate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/agent/wire"
)

const (
	// MaxDevices of one fleet: more than one process has connections for.
	MaxDevices = 100_000
	// enrolAtOnce is less than a panel takes at a time.
	enrolAtOnce = 8
	enrolPause  = 250 * time.Millisecond
	// enrolTries of one device: a panel that starts anew is waited for, one that is
	// another than the token's is not waited for without end.
	enrolTries = 20
	maxPause   = 5 * time.Second
)

// Config is what a fleet is made of.
type Config struct {
	Panel    string       // address, such as https://panel.example:8443
	Tokens   []wire.Token // the next one is for when one is used up
	Devices  int
	Prefix   string // of their names; "sim"
	Seed     uint64
	Shares   Shares
	Times    Times
	Device   Spec   // what they have in common besides
	State    string // directory of their identities; "": memory
	Download bool
	Log      *slog.Logger
}

// Fleet is many devices.
type Fleet struct {
	cfg      Config
	devices  []*Device
	enrolled atomic.Int64
	token    atomic.Int64 // that devices enrol by
}

// Counts is what a fleet is and has done.
type Counts struct {
	Devices  int
	Enrolled int
	Version  map[string]int // permanent versions
	Phase    map[string]int
	Begun    time.Time // the newest trial of all, by the clock of this machine
	Did
}

// NewFleet makes devices that belong to no panel yet.
func NewFleet(cfg Config) (*Fleet, error) {
	if cfg.Devices < 1 || cfg.Devices > MaxDevices {
		return nil, fmt.Errorf("%d devices cannot be simulated; 1 to %d can", cfg.Devices, MaxDevices)
	}
	if err := cfg.Shares.Check(); err != nil {
		return nil, err
	}
	if len(cfg.Tokens) == 0 && cfg.State == "" {
		return nil, errors.New("devices need a token to enrol")
	}
	cfg.Prefix = cmp.Or(cfg.Prefix, "sim")
	f := &Fleet{cfg: cfg}
	shared := &heads{}
	for i, t := range cfg.Shares.draw(cfg.Devices, cfg.Seed) {
		spec := cfg.Device
		spec.ID, spec.Seed, spec.Fate = fmt.Sprintf("%s-%05d", cfg.Prefix, i), cfg.Seed, t.fate
		spec.State, spec.Download, spec.Times = cfg.State, cfg.Download, cfg.Times
		if t.oldClock {
			spec.Behind = oldClock
		}
		if t.slow {
			spec.Times.Stage, spec.Times.Start, spec.Times.Soak = oldSlow*spec.Times.Stage, oldSlow*spec.Times.Start, oldSlow*spec.Times.Soak
		}
		d, err := newDevice(spec, shared, cfg.Log)
		if err != nil {
			return nil, err
		}
		f.devices = append(f.devices, d)
	}
	return f, nil
}

// Devices are all of the fleet, in the order of their names.
func (f *Fleet) Devices() []*Device { return f.devices }

// Run enrols all devices that belong to no panel, and has each call its own from then on. It
// returns when ctx ends, or when the panel does not take one of them.
func (f *Fleet) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var owned sync.WaitGroup
	defer owned.Wait()
	waiting := make(chan *Device)
	for range enrolAtOnce {
		owned.Go(func() {
			for d := range waiting {
				if err := f.enrol(ctx, d); err != nil {
					cancel(fmt.Errorf("enrol %s: %w", d.ID, err))
					continue
				}
				f.enrolled.Add(1)
				owned.Go(func() { d.Run(ctx) })
			}
		})
	}
	for _, d := range f.devices {
		select {
		case waiting <- d:
		case <-ctx.Done():
		}
	}
	close(waiting)
	<-ctx.Done()
	return context.Cause(ctx)
}

// enrol tries until the panel takes the device or refuses it.
func (f *Fleet) enrol(ctx context.Context, d *Device) error {
	wait := enrolPause
	for tries := 0; ; {
		n := f.token.Load()
		err := d.Enrol(ctx, f.cfg.Panel, f.tokenOf(n))
		p, said := errors.AsType[*wire.Problem](err)
		refused := said && p.Status < http.StatusInternalServerError // else it may be better soon
		switch {
		case refused && p.Code == wire.CodeUsedToken && int(n)+1 < len(f.cfg.Tokens):
			f.token.CompareAndSwap(n, n+1)
			continue
		case !said || p.Code != wire.CodeBusy:
			tries++
			wait = min(2*wait, maxPause)
		}
		if err == nil || ctx.Err() != nil || refused || tries == enrolTries {
			return errors.Join(err, ctx.Err())
		}
		f.cfg.Log.Debug("a device was not enrolled; trying again", "device", d.ID, "cause", err)
		if pause(ctx, d.some(wait)) != nil {
			return ctx.Err()
		}
	}
}

// tokenOf is the zero token where all devices are to have their certificates.
func (f *Fleet) tokenOf(n int64) wire.Token {
	if len(f.cfg.Tokens) == 0 {
		return wire.Token{}
	}
	return f.cfg.Tokens[n]
}

// Enrolled is how many devices have a certificate by now.
func (f *Fleet) Enrolled() int { return int(f.enrolled.Load()) }

// Counts adds up what all devices say of themselves.
func (f *Fleet) Counts() Counts {
	c := Counts{Devices: len(f.devices), Enrolled: f.Enrolled(), Version: map[string]int{}, Phase: map[string]int{}}
	for _, d := range f.devices {
		d.mu.Lock()
		c.Version[d.status.Permanent]++
		c.Phase[d.status.Phase]++
		if d.begun.After(c.Begun) {
			c.Begun = d.begun
		}
		c.Stages += d.counts.Stages
		c.Trials += d.counts.Trials
		c.Permanent += d.counts.Permanent
		c.Reverted += d.counts.Reverted
		c.Refused += d.counts.Refused
		d.mu.Unlock()
	}
	return c
}
