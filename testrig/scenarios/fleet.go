package scenarios

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
	"slipstream/testrig/device"
	"slipstream/testrig/machine/hand"
	"slipstream/testrig/viewer"
)

// fleet is a panel on this machine, with the emulated cameras and others that are only
// simulated.
type fleet struct {
	*device.Panel
	rollout string // its id
	devices int    // that belong to it

	stop  context.CancelFunc // of simulated devices
	swarm sync.WaitGroup
}

// startPanel starts a real panel.
func (w *world) startPanel(ctx context.Context, args []string) (string, error) {
	if _, _, err := named(args, 0); err != nil {
		return "", err
	}
	if w.fleet != nil {
		return "", fmt.Errorf("there is a panel already: %w", errUsage)
	}
	bin, err := device.Binaries(ctx, "")
	if err != nil {
		return "", err
	}
	trust := filepath.Join(w.dir, "trust.pem")
	if err := os.WriteFile(trust, w.factory.Trust(), 0o644); err != nil {
		return "", err
	}
	media, err := freeDatagrams()
	if err != nil {
		return "", err
	}
	// Devices bring pictures to it on their links: no datagram leaves a machine.
	p, err := device.StartPanel(ctx, bin, w.dir, "", trust, "LIVE_MEDIA="+media, "LIVE_ADVERTISE=127.0.0.1")
	if err != nil {
		return "", err
	}
	w.fleet = &fleet{Panel: p, stop: func() {}}
	return p.URL, nil
}

// freeDatagrams is an address of loopback for datagrams that nobody has at the time.
func freeDatagrams() (string, error) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return c.LocalAddr().String(), c.Close()
}

// end ends the simulated devices and the panel.
func (f *fleet) end() {
	f.stop()
	f.swarm.Wait()
	f.Stop()
}

var errNoPanel = fmt.Errorf("there is no panel yet: %w", errUsage)

// enrol makes the camera a device of the panel's, which it calls out of its sealed network.
func (w *world) enrol(ctx context.Context, args []string) (string, error) {
	if _, _, err := named(args, 0); err != nil {
		return "", err
	}
	if w.fleet == nil {
		return "", errNoPanel
	}
	s, err := w.agent.Status(ctx)
	if err != nil {
		return "", err
	}
	token, err := w.fleet.Enrolment(ctx, s.Device)
	if err != nil {
		return "", err
	}
	at, err := url.Parse(w.fleet.Link)
	if err != nil {
		return "", err
	}
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		return "", err
	}
	if err := w.machine.Reach(port); err != nil {
		return "", err
	}
	const in = "/run/enrol.token"
	keep := hand.Command{Args: []string{"sh", "-c", "cat >" + in}, Input: token}
	if _, err := w.machine.Hand.Run(ctx, keep); err != nil {
		return "", err
	}
	said, err := w.inside(ctx, "slipstream", "enroll", "--panel", w.fleet.Link, "--token-file", in)
	if err != nil {
		return said, err
	}
	w.fleet.devices++
	return said, w.fleet.linked(ctx)
}

// linked waits until all devices are linked and have said what they are.
func (f *fleet) linked(ctx context.Context) error {
	return again(ctx, func() error {
		page, err := f.DevicePage(ctx, "online:yes version:*.*", "", 1)
		if err == nil && page.Total != f.devices {
			err = fmt.Errorf("%d of %d devices are linked to the panel", page.Total, f.devices)
		}
		return err
	})
}

// again asks until there is no error.
func again(ctx context.Context, ask func() error) error {
	for {
		err := ask()
		if err == nil || errors.Is(err, errOver) {
			return err
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			return err
		}
	}
}

// errOver is the end of what was waited for, another one than the scenario's.
var errOver = errors.New("it is over")

// tokenUses is how many devices one token is for at most.
const tokenUses = 256

// addSwarm makes simulated devices, and waits until they are linked.
func (w *world) addSwarm(ctx context.Context, args []string) (string, error) {
	words, _, err := named(args, 1)
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(words[0])
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", err, errUsage)
	case w.fleet == nil:
		return "", errNoPanel
	}
	var tokens []wire.Token
	for range (n + tokenUses - 1) / tokenUses {
		made, err := w.fleet.AddEnrolment(ctx, view.EnrolmentRequest{Uses: tokenUses, Until: time.Now().Add(time.Hour)})
		if err != nil {
			return "", err
		}
		token, err := wire.ParseToken(made.Text)
		if err != nil {
			return "", err
		}
		tokens = append(tokens, token)
	}
	devices, err := simulate.NewFleet(simulate.Config{
		Panel: w.fleet.Link, Tokens: tokens, Devices: n, Seed: 1, Times: simulate.Times{Stage: time.Second, Start: time.Second, Soak: time.Second},
		Device: simulate.Spec{Product: w.factory.Product, Hardware: w.factory.Hardware}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return "", err
	}
	run, stop := context.WithCancel(w.ctx)
	w.fleet.stop = stop
	w.fleet.swarm.Go(func() { _ = devices.Run(run) }) // who is missing is waited for
	w.fleet.devices += n
	return fmt.Sprintf("%d devices are simulated", n), w.fleet.linked(ctx)
}

// Terms of a scenario's rollout: what it is about is what becomes of devices.
const (
	trialDeadline   = 20 * time.Minute // emulated devices may be slow
	stagingDeadline = 20 * time.Minute
)

func (w *world) startRollout(ctx context.Context, args []string) (string, error) {
	words, values, err := named(args, 1, "canaries", "at-once", "only")
	if err != nil {
		return "", err
	}
	r, there := w.packages[words[0]]
	switch {
	case !there:
		return "", fmt.Errorf("no package of version %s was made: %w", words[0], errUsage)
	case w.fleet == nil:
		return "", errNoPanel
	}
	id, err := w.fleet.Upload(ctx, r.file)
	if err != nil {
		return "", err
	}
	plan := view.Plan{
		Release: id, Selector: values["only"], Waves: []view.Wave{{}}, MaxUnavailable: 5, Activation: "waves",
		SuccessPercent: 100, FailPercent: 100, FailCount: 1, OnFailure: "halt",
		TrialDeadlineMS: trialDeadline.Milliseconds(), StagingDeadlineMS: stagingDeadline.Milliseconds(),
	}
	for key, to := range map[string]*int{"canaries": new(int), "at-once": &plan.MaxUnavailable} {
		text, given := values[key]
		if !given {
			continue
		}
		if *to, err = strconv.Atoi(text); err != nil {
			return "", fmt.Errorf("%s: %w: %w", key, err, errUsage)
		}
		if key == "canaries" {
			plan.Waves = []view.Wave{{Name: key, Count: *to}, {}}
		}
	}
	made, err := w.fleet.CreateRollout(ctx, plan)
	if err != nil {
		return "", err
	}
	w.fleet.rollout = made.ID
	return "", again(ctx, func() error {
		at, err := w.fleet.Rollout(ctx, made.ID)
		if err == nil {
			_, err = w.fleet.Verb(ctx, made.ID, client.Start, view.RolloutVerb{}, at.Rev)
		}
		return err
	})
}

// rolledOut waits until the rollout is in a state, and says how many devices have which end.
func (w *world) rolledOut(ctx context.Context, args []string) (said string, err error) {
	words, values, err := named(args, 1, "done", "failed")
	if err != nil {
		return "", err
	}
	if w.fleet == nil || w.fleet.rollout == "" {
		return "", fmt.Errorf("there is no rollout yet: %w", errUsage)
	}
	var v view.Rollout
	err = again(ctx, func() error {
		w.lookAtTrial(ctx)
		if v, err = w.fleet.Rollout(ctx, w.fleet.rollout); err != nil || v.State == words[0] {
			return err
		}
		over := v.State == view.RolloutCompleted || v.State == view.RolloutHalted || v.State == view.RolloutAborted
		err = fmt.Errorf("the rollout is %s: %s", v.State, v.Why)
		if over {
			err = fmt.Errorf("%w: %w", err, errOver)
		}
		return err
	})
	failed := 0 // whatever their way back has come to
	for _, cause := range v.Failures {
		failed += cause.Devices
	}
	said = fmt.Sprintf("%s: %d of %d devices done, %d failed; viewers' longest gap, as devices have measured it, %.0f ms (%s)",
		v.State, v.Total.Done, v.Total.Devices, failed, v.GapMaxMS, v.GapWorst)
	is := map[string]int{"done": v.Total.Done, "failed": failed}
	for key, value := range values {
		if err == nil && strconv.Itoa(is[key]) != value {
			err = errors.New(said)
		}
	}
	for _, cause := range v.Failures {
		said += fmt.Sprintf("; %+v", cause)
	}
	return said, err
}

// throughPanel is a kind of viewer: one on a page of the panel's.
const throughPanel = "panel"

// watch joins a stream from outside, or through the panel.
func (w *world) watch(ctx context.Context, kind, stream string, options ...viewer.Option) (*viewer.Viewer, error) {
	if kind != throughPanel {
		return w.machine.Watch(ctx, kind, stream, options...)
	}
	if w.fleet == nil {
		return nil, errNoPanel
	}
	s, err := w.agent.Status(ctx)
	if err != nil {
		return nil, err
	}
	options = append(options, viewer.Bearer(w.fleet.Token), viewer.Within(w.patience))
	v, err := viewer.DialWHEP(ctx, w.fleet.Through(s.Device, stream), options...)
	if err == nil {
		v.Kind = kind
	}
	return v, err
}

// lookAtTrial keeps pictures while the camera has a trial.
func (w *world) lookAtTrial(ctx context.Context) {
	if w.agent == nil {
		return
	}
	s, err := w.agent.Status(ctx)
	if err == nil && s.Trial != nil && !s.Trial.TookOver.IsZero() {
		w.takeStills("while " + strings.TrimSpace(s.Trial.Version) + " is on trial")
	}
}
