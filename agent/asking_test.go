package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/verify"
)

func byOperator(m *verify.Manifest) { m.App.Greenlight = verify.GreenlightOperator }

func TestGreenlightThatCannotBeMade(t *testing.T) {
	d := newDevice(t)
	d.begin(d.pack("1.0.0", mute, byOperator))
	s := d.wait("trial", inPhase("trial"))
	d.must(os.Symlink("/etc/passwd", s.Trial.Marker))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if r := d.agent.Greenlight(ctx); r.Exit != control.ExitError || !strings.Contains(r.Message, "not a regular file") {
		t.Errorf("greenlight over a symbolic link: %+v", r)
	}
	d.must(os.RemoveAll(filepath.Dir(s.Trial.Marker)))
	if r := d.agent.Greenlight(ctx); r.Exit != control.ExitError || !strings.Contains(r.Message, "no such file") {
		t.Errorf("greenlight without a directory: %+v", r)
	}
	d.must(os.Mkdir(filepath.Dir(s.Trial.Marker), 0o755))
	if r := d.agent.Greenlight(ctx); r.Exit != control.ExitDone {
		t.Errorf("greenlight: %+v", r)
	}
	if s := d.wait("status", func(control.Status) bool { return true }); s.Trial != nil && !s.Trial.Latched {
		t.Errorf("the greenlight was answered before it was latched: %+v", s.Trial)
	}
	d.wait("commit", func(s control.Status) bool { return s.Permanent == "1.0.0" })
}

func TestPipesAreNoPackages(t *testing.T) {
	d := newDevice(t)
	pipe := filepath.Join(t.TempDir(), "pipe.slip")
	d.must(syscall.Mkfifo(pipe, 0o600))
	answer := make(chan control.Result, 1)
	go func() { answer <- d.stage(pipe) }()
	select {
	case r := <-answer:
		if r.Exit != control.ExitError || !strings.Contains(r.Message, "not a regular file") {
			t.Errorf("stage: %+v", r)
		}
	case <-time.After(patience):
		t.Fatal("stage waits for the pipe's writer")
	}
}

func TestStreamsMayNotGo(t *testing.T) {
	d := newDevice(t)
	two := func(m *verify.Manifest) {
		m.App.Streams = append(m.App.Streams, verify.Stream{Name: "sub", Codec: "h264", Width: 160, Height: 90})
	}
	if r := d.install(d.pack("1.0.0", goodApp, two)); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	r := d.stage(d.pack("2.0.0", goodApp, nil))
	if r.Exit != control.ExitRefused || r.Code != agent.CodeStreams || !strings.Contains(r.Message, `"sub"`) {
		t.Errorf("stage: %+v", r)
	}
}

// A status that was asked for while the agent is still finding out what the device
// is would say that it is empty.
func TestStatusWaitsForTheRecovery(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.end()
	<-d.ended
	a, err := agent.New(d.cfg, slog.New(slog.DiscardHandler))
	d.must(err)
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if s, err := a.Status(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("status before the agent runs: %+v, %v", s, err)
	}
	status := make(chan control.Status, 1)
	go func() {
		s, err := a.Status(context.Background())
		if err != nil {
			t.Error(err)
		}
		status <- s
	}()
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	if s := <-status; s.Permanent != "1.0.0" {
		t.Errorf("the first status: %+v", s)
	}
	end()
	<-ended
	d.boot()
	d.wait("status", func(s control.Status) bool { return s.Permanent == "1.0.0" })
}

// Whoever waits for news is not woken by a watchdog's pings.
func TestPingsAreNoNews(t *testing.T) {
	d := newDevice(t)
	pings := `tell READY=1; if [ -n "$SLIPSTREAM_GREENLIGHT" ]; then touch "$SLIPSTREAM_GREENLIGHT"; fi
while [ ! -e "$SLIPSTREAM_SHARED/pinging" ]; do tell WATCHDOG=1; done
n=0; while [ $n -lt 15 ]; do tell WATCHDOG=1; n=$((n+1)); done
tell STATUS=pinged; while :; do tell WATCHDOG=1; sleep 0.2; done`
	if r := d.install(d.pack("1.0.0", pings, nil)); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	before := d.wait("status", func(control.Status) bool { return true })
	d.must(os.WriteFile(filepath.Join(d.cfg.State, "shared", "pinging"), nil, 0o644))
	after := d.wait("pings", func(s control.Status) bool { return slot(s, "a").Status == "pinged" })
	if n := after.Seq - before.Seq; n > 5 {
		t.Errorf("%d news of 15 pings", n)
	}
}

// While a trial runs nothing is written over the only way back, or over what is tried.
func TestOneTrialAtATime(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.begin(d.pack("2.0.0", mute, byOperator))
	d.wait("trial", inPhase("trial"))
	before, next := d.files("slots"), d.pack("3.0.0", goodApp, nil)
	for what, r := range map[string]control.Result{
		"stage":    d.stage(next),
		"force":    d.agent.Stage(t.Context(), control.StageRequest{Path: next, Force: true}),
		"activate": d.agent.Activate(t.Context(), control.ActivateRequest{}),
		"rehearse": d.agent.Rehearse(t.Context(), control.RehearseRequest{}),
	} {
		if r.Exit != control.ExitRefused || r.Code != agent.CodeBusy {
			t.Errorf("%s: %+v", what, r)
		}
	}
	if diff := cmp.Diff(before, d.files("slots")); diff != "" {
		t.Errorf("what the slots hold (-before +after):\n%s", diff)
	}
	if r := d.agent.Greenlight(t.Context()); r.Exit != control.ExitDone {
		t.Errorf("greenlight: %+v", r)
	}
	d.wait("commit", func(s control.Status) bool { return s.Phase == "idle" && s.Permanent == "2.0.0" })
	if r := d.install(next); r.Exit != control.ExitDone {
		t.Errorf("afterwards: %+v", r)
	}
}
