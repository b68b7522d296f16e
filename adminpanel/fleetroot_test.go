package adminpanel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	panelconfig "slipstream/adminpanel/config"
	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/slots/powercut"
	"slipstream/verify"
	"slipstream/verify/trusttest"
)

// fleetFile is the root of a new fleet, as a panel is given it.
func fleetFile(t *testing.T) string {
	t.Helper()
	root := trusttest.Root{
		Version: 1, Expires: time.Now().AddDate(3, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
		Root: trusttest.Role{Keys: trusttest.Keys(t, 1)}, Targets: trusttest.Role{Keys: trusttest.Keys(t, 1)}, Timestamps: trusttest.Role{Keys: trusttest.Keys(t, 1)},
	}
	file := filepath.Join(t.TempDir(), "fleet.json")
	if err := os.WriteFile(file, root.Sign(t), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// ofFleet is the configuration of a panel that hands out a fleet's root.
func ofFleet(t *testing.T, root string) panelconfig.Config {
	t.Helper()
	cfg := blank(t.TempDir())
	cfg.Fleet = root
	return cfg
}

// bareDevice is the configuration of a device that has nothing to run yet.
func bareDevice(t *testing.T, state string) config.Config {
	t.Helper()
	return config.Config{
		Device: "cam-1", Product: "sample-camera", Hardware: "rig", State: state, Run: t.TempDir(), Bin: t.TempDir(),
		Trust: trustFile(t, newKey(t)), Stream: config.Stream{StallMS: 250},
	}
}

// running is a real agent that runs until it is ended.
type running struct {
	*agent.Agent
	end func() error
}

func run(ctx context.Context, cfg config.Config) (running, error) {
	a, err := agent.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return running{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	return running{a, func() error {
		err := a.StopAll(context.Background())
		cancel()
		<-ended
		return err
	}}, nil
}

// enrol enrols it at a panel.
func (r running) enrol(ctx context.Context, panel, token string) control.Result {
	return r.Enroll(ctx, control.EnrollRequest{Panel: panel, Token: token})
}

// belongs is the panel and the root of the fleet that a device belongs to.
func belongs(a *agent.Agent, cfg config.Config) (panel, fleet string, err error) {
	_, device, err := agent.Trust(cfg)
	if err == nil && device.Fleet != nil {
		fleet = device.Fleet.Root.Digest()
	}
	return a.Identity().Panel(), fleet, err
}

// With its certificate a device gets the root of the panel's fleet, and obeys that from
// then on, also as another agent. It is not to be had by another fleet.
func TestADeviceJoinsThePanelsFleet(t *testing.T) {
	fleet := fleetFile(t)
	want := must(verify.LoadFleet(fleet)).Digest()
	ours, theirs := start(t, ofFleet(t, fleet)), start(t, ofFleet(t, fleetFile(t)))
	cfg := bareDevice(t, t.TempDir())
	a := must(run(t.Context(), cfg))
	if r := a.enrol(t.Context(), ours.link, ours.token("cam-1").String()); r.Exit != control.ExitDone || !strings.Contains(r.Message, want[:16]) {
		t.Fatalf("enroll: %+v", r)
	}
	for range 2 {
		if panel, got, err := belongs(a.Agent, cfg); err != nil || panel != ours.link || got != want {
			t.Errorf("the device belongs to %q and the fleet %q, %v", panel, got, err)
		}
		if err := a.Identity().Reach(t.Context()); err != nil {
			t.Error(err)
		}
		if r := a.enrol(t.Context(), theirs.link, theirs.token("cam-1").String()); r.Exit != control.ExitRefused || r.Code != agent.CodeEnrolled {
			t.Errorf("another fleet's panel: %+v", r)
		}
		if err := a.end(); err != nil {
			t.Error(err)
		}
		a = must(run(t.Context(), cfg))
	}
	if r := a.Stage(t.Context(), control.StageRequest{Path: release(t, cfg)}); r.Exit != control.ExitRefused {
		t.Errorf("a package without the fleet's order: %+v", r)
	}
	if r := a.Leave(t.Context(), control.LeaveRequest{Device: "cam-1"}); r.Exit != control.ExitDone {
		t.Errorf("leave: %+v", r)
	}
	if panel, got, err := belongs(a.Agent, cfg); err != nil || panel != "" || got != "" {
		t.Errorf("after it left the device belongs to %q and the fleet %q, %v", panel, got, err)
	}
	if err := a.end(); err != nil {
		t.Error(err)
	}
}

// release is a package of the device's product.
func release(t *testing.T, cfg config.Config) string {
	t.Helper()
	key := newKey(t)
	text, err := os.ReadFile(trustFile(t, key))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "1.0.slip")
	if err := errors.Join(os.WriteFile(cfg.Trust, text, 0o644), os.WriteFile(file, []byte(build(t, key, "1.0.0", 1)), 0o644)); err != nil {
		t.Fatal(err)
	}
	return file
}

// The power is cut at every write of an enrolment. The device belongs to the panel and
// its fleet, or to neither, and to both once it has said so. Where it does not, it can be
// enrolled, and by the same token if the panel may have heard of that: its key was
// written down before.
func TestPowerCutOfAnEnrolment(t *testing.T) {
	fleet := fleetFile(t)
	want := must(verify.LoadFleet(fleet)).Digest()
	w, other := start(t, ofFleet(t, fleet)), start(t, ofFleet(t, fleet))
	disk := powercut.New(t, nil)
	mark := func(what string) {
		if err := disk.Mark(what); err != nil {
			t.Fatal(err)
		}
	}
	address := relay(t, strings.TrimPrefix(w.link, "https://"), sync.OnceFunc(func() { mark("asked") }))
	cfg, once := bareDevice(t, filepath.Join(disk.Dir, "state")), w.token("cam-1").String()
	a := must(run(t.Context(), cfg))
	if _, err := a.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := a.enrol(t.Context(), address, once); r.Exit != control.ExitDone {
		t.Fatalf("enroll: %+v", r)
	}
	mark("enrolled")
	if err := a.end(); err != nil {
		t.Error(err)
	}
	log, err := disk.Log()
	if err != nil {
		t.Fatal(err)
	}
	e := &powercut.Explorer{Limit: 16, Restarts: 60, Check: func(dir string, told []string) error {
		cfg := cfg
		cfg.State = filepath.Join(dir, "state")
		if !slices.Contains(told, "asked") { // by another panel: this one must know of the device what it knew then
			return belongsWhole(t, cfg, false, other.link, want, other.token("cam-1").String())
		}
		return belongsWhole(t, cfg, slices.Contains(told, "enrolled"), address, want, once)
	}}
	if *powercut.Full {
		e.Limit, e.Restarts = 64, 0
	}
	tally, err := e.Run(log, 0)
	t.Logf("power cut of an enrolment: seed=%d %v", *powercut.Seed, tally)
	if err != nil {
		t.Error(err)
	}
	if tally.Restarts < 20 {
		t.Errorf("only %v", tally)
	}
}

// belongsWhole starts the device anew with what its disk holds.
func belongsWhole(t *testing.T, cfg config.Config, enrolled bool, panel, fleet, token string) (err error) {
	run1, err := os.MkdirTemp("", "run")
	if err != nil {
		return err
	}
	defer os.RemoveAll(run1)
	cfg.Run = run1
	a, err := run(t.Context(), cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.end()) }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := a.Status(ctx); err != nil {
		return err
	}
	p, f, err := belongs(a.Agent, cfg)
	switch {
	case err != nil:
		return err
	case (p == "") != (f == ""), enrolled && p == "", p != "" && (p != panel || f != fleet):
		return fmt.Errorf("told that it is enrolled: %v; it belongs to %q and the fleet %q", enrolled, p, f)
	}
	if r := a.enrol(ctx, panel, token); r.Exit != control.ExitDone {
		return fmt.Errorf("enrolled again: %+v", r)
	}
	if p, f, err = belongs(a.Agent, cfg); err != nil || p != panel || f != fleet {
		return fmt.Errorf("in the end it belongs to %q and the fleet %q, %w", p, f, err)
	}
	return a.Identity().Reach(ctx)
}

// relay carries connections to an address, and tells of each before anything is carried.
// It returns where it listens, as devices call panels.
func relay(t *testing.T, to string, called func()) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var carrying sync.WaitGroup
	t.Cleanup(carrying.Wait)
	t.Cleanup(func() { l.Close() })
	carrying.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			called()
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				return
			}
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				carrying.Go(func() {
					io.Copy(way[0], way[1])
					near.Close()
					far.Close()
				})
			}
		}
	})
	return "https://" + l.Addr().String()
}
