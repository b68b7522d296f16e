package powercut

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"slipstream/agent/control"
	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
	"slipstream/testrig/device"
	"slipstream/testrig/machine"
	"slipstream/verify"
)

const (
	againAfter  = 500 * time.Millisecond // the agent did not answer, as while a machine boots
	updateFile  = "/tmp/update.slip"
	deadlineMS  = 10 * 60_000      // of a trial: emulation is slow
	lag         = 30 * time.Second // emulation stands still for so long
	firstCamera = "1.0"
)

// release is a version of the sample camera. Nothing but an operator makes it permanent.
func release(n int) device.Release {
	version := fmt.Sprintf("%d.0", n)
	clip, err := clips.Of(version)
	if err != nil {
		clip = clips.All[0]
	}
	return device.Release{
		Version: version, Counter: int64(n), Clip: clip, Streams: []string{"main"}, Lag: lag,
		Greenlight: camera.Greenlight{By: "never"}, Fault: camera.Fault{Kind: camera.FaultNone},
		App: verify.App{Greenlight: verify.GreenlightOperator, DeadlineMS: deadlineMS, StartTimeoutMS: deadlineMS / 2, SoakMS: 1000},
	}
}

// system is a version of the system, likewise.
func system(n int) machine.System {
	return machine.System{Version: fmt.Sprintf("%d.0.0", n), By: verify.GreenlightOperator}
}

// newFactory makes a camera's disk with the first versions of everything.
func newFactory(ctx context.Context, kit *machine.Kit, dir string) (*machine.Factory, error) {
	f, err := machine.NewFactory(kit, dir)
	if err != nil {
		return nil, err
	}
	first, err := f.Camera(ctx, release(1))
	if err != nil {
		return nil, err
	}
	return f, f.Build(ctx, machine.Release{Camera: first})
}

// cam is a camera that is on.
type cam struct {
	*machine.Machine
	agent *control.Client
}

// powerOn switches a machine on.
func powerOn(ctx context.Context, m *machine.Machine) (*cam, error) {
	agent, err := m.Agent()
	if err != nil {
		return nil, err
	}
	return &cam{m, agent}, m.PowerOn(ctx)
}

func (c *cam) close() error {
	c.agent.Close()
	return c.Close()
}

// waitFor waits until the device is as wanted, over all its reboots.
func (c *cam) waitFor(ctx context.Context, what string, is func(control.Status) bool) (s control.Status, err error) {
	for {
		s, err = c.agent.Status(ctx)
		for err == nil && !is(s) {
			s, err = c.agent.WaitStatus(ctx, s.Seq)
		}
		if err == nil {
			return s, nil
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			return s, fmt.Errorf("no %s in time: %w\nlast: %+v\n%s", what, err, s, c.Console.Tail())
		}
	}
}

// picture waits until the device does what it is for, and for nothing else. A trial that
// the power's failure has let begin is taken back: its deadline is ten minutes away.
func (c *cam) picture(ctx context.Context) (control.Status, error) {
	onTrial := func(s control.Status) bool { return s.Trial != nil && s.Phase == "trial" }
	s, err := c.waitFor(ctx, "picture", func(s control.Status) bool { return atRest(s) || onTrial(s) })
	if err != nil || !onTrial(s) {
		return s, err
	}
	if r := c.agent.Revert(ctx); r.Code != control.CodeLost {
		err = done("revert", r)
	}
	if err != nil {
		return s, err
	}
	return c.waitFor(ctx, "picture of the permanent version", atRest)
}

// atRest says whether the permanent version shows pictures on its own system, and that is all.
func atRest(s control.Status) bool {
	resting := slices.Contains([]string{"idle", "staged"}, s.Phase) && s.Trial == nil
	home := slices.ContainsFunc(s.Systems, func(s control.System) bool { return s.Running && s.State == control.StatePermanent })
	return resting && home && slices.ContainsFunc(s.Streams, func(s control.StreamStatus) bool { return s.Frames > 0 })
}

// stage copies a package into the machine and puts it into the spare slot.
func (c *cam) stage(ctx context.Context, file string) error {
	if err := c.Hand.Put(ctx, file, updateFile); err != nil {
		return err
	}
	return done("stage", c.agent.Stage(ctx, control.StageRequest{Path: updateFile}))
}

// activate begins a trial. A reboot overtakes the answer.
func (c *cam) activate(ctx context.Context) error {
	r := c.agent.Activate(ctx, control.ActivateRequest{})
	if r.Code == control.CodeLost {
		return nil
	}
	return done("activate", r)
}

// greenlight is the operator's, as soon as there is a trial that it can be given to.
func (c *cam) greenlight(ctx context.Context, version string) error {
	if _, err := c.trial(ctx, version); err != nil {
		return err
	}
	return done("greenlight", c.agent.Greenlight(ctx))
}

// errEnded is a trial that did not come to its end as was meant: a machine that is emulated
// on a busy one stands still for so long that a start is given up.
var errEnded = errors.New("taken back by itself")

func (c *cam) trial(ctx context.Context, version string) (control.Status, error) {
	ended := func(s control.Status) bool { return s.Last != nil && s.Last.To == version }
	s, err := c.waitFor(ctx, "trial of "+version, func(s control.Status) bool {
		return s.Trial != nil && s.Trial.Version == version && s.Phase == "trial" || ended(s)
	})
	if err == nil && ended(s) {
		err = fmt.Errorf("%s was %w: %s %s", version, errEnded, s.Last.Reason, s.Last.Detail)
	}
	return s, err
}

// permanent waits until a version is, and everything is done that belongs to it.
func (c *cam) permanent(ctx context.Context, version string) error {
	s, err := c.waitFor(ctx, "end of the trial of "+version, func(s control.Status) bool {
		return s.Last != nil && s.Last.To == version && !slices.Contains([]string{"reverting", "committing"}, s.Phase)
	})
	if err == nil && s.Last.Outcome != control.OutcomePermanent {
		err = fmt.Errorf("%s was %w: %s %s", version, errEnded, s.Last.Reason, s.Last.Detail)
	}
	return err
}

// starts waits until the boot loader has started a system.
func (c *cam) starts(ctx context.Context, version string) error {
	_, err := c.Console.Expect(ctx, regexp.MustCompile("rig: system "+regexp.QuoteMeta(version)+" starts"))
	return err
}

func done(what string, r control.Result) error {
	if r.Exit == control.ExitDone {
		return nil
	}
	return errors.New(what + ": " + r.Message)
}
