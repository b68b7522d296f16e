package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/verify"
)

// What feeds a watchdog is the loop's own word: an agent whose loop does not run gives
// none.
func TestAliveIsTheLoopsWord(t *testing.T) {
	d := newDevice(t)
	d.wait("idle", inPhase("idle"))
	if err := d.agent.Alive(t.Context()); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	d.end()
	<-d.ended
	if err := d.agent.Alive(t.Context()); err == nil {
		t.Error("alive after its end")
	}
	cfg := d.cfg
	cfg.State, cfg.Run = t.TempDir(), t.TempDir()
	still, err := agent.New(cfg, slog.New(slog.DiscardHandler))
	d.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := still.Alive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before it runs: %v", err)
	}
	d.boot()
}

func TestAtRestWaitsForTheTrialsEnd(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	path := d.pack("2.0.0", mute, func(m *verify.Manifest) { m.App.Greenlight = "operator" })
	if r := d.stage(path); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	if r := d.agent.Activate(t.Context(), control.ActivateRequest{}); r.Exit != control.ExitDone {
		t.Fatalf("activate: %+v", r)
	}
	rest := make(chan error, 1)
	go func() { rest <- d.agent.AtRest(t.Context()) }()
	d.wait("trial", inPhase("trial"))
	select {
	case err := <-rest:
		t.Fatalf("at rest during a trial: %v", err)
	default:
	}
	d.agent.Revert(t.Context())
	d.must(<-rest)
	if s := d.wait("idle", inPhase("idle")); s.Trial != nil {
		t.Errorf("at rest with %+v", s.Trial)
	}
}

// An agent that has ended leaves everything running, which ends by the word alone, and
// not while an agent runs.
func TestEndAll(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	s := d.wait("app", func(s control.Status) bool { return slot(s, "a").App == "ready" })
	log := slog.New(slog.NewTextHandler(d.Output(), nil))
	if err := agent.EndAll(t.Context(), d.cfg, log); err == nil {
		t.Fatal("everything was ended under a running agent")
	}
	d.end()
	<-d.ended
	app := slot(s, "a").PID
	if syscall.Kill(app, 0) != nil {
		t.Fatal("the app has ended with its agent")
	}
	d.must(agent.EndAll(t.Context(), d.cfg, log))
	if syscall.Kill(app, 0) == nil {
		t.Error("the app still runs")
	}
	d.boot()
}
