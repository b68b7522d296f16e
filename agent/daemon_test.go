package agent

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"slipstream/agent/config"
	"slipstream/agent/supervise"
)

// testDaemon is a daemon whose processes are ordinary programs.
func testDaemon(t *testing.T) *daemon {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	sup := supervise.New(t.TempDir(), log)
	t.Cleanup(sup.Close)
	return &daemon{
		name: "test", sup: sup, log: log, kill: make(chan struct{}, 1), swap: make(chan succession),
		spec: supervise.Spec{Name: "test"}, down: func(string) {}, lost: func(string) {},
		within: succeedLimit,
	}
}

func process(t *testing.T, d *daemon, name, script string) *supervise.Process {
	t.Helper()
	p, err := d.sup.Start(supervise.Spec{Name: name, Path: "/bin/sh", Args: []string{"-c", script}, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// A restart that was asked for while no process ran is not the next one's.
func TestRestartIsOfTheProcessThatRuns(t *testing.T) {
	t.Parallel()
	d := testDaemon(t)
	d.restart()
	d.find = func(string) (string, error) { return "", errors.New("nowhere") }
	p := process(t, d, "test", "exec sleep 600")
	over := make(chan bool, 1)
	go func() { _, ended := d.watch(t.Context(), p); over <- ended }()
	for range 30 { // each time a word that waits has even chances
		done := make(chan error, 1)
		select {
		case d.swap <- succession{done: done}:
			<-done
		case <-over:
			t.Fatal("the word for the process before ended this one")
		}
	}
	d.restart()
	if !<-over {
		t.Error("the process was not ended when it was asked for")
	}
}

// A successor that has taken over at the last moment is not taken for a late one.
func TestTakeOverAtTheLimit(t *testing.T) {
	t.Parallel()
	d := testDaemon(t)
	old, next := process(t, d, "test", "exit 0"), process(t, d, "test-next", "exec sleep 600")
	<-old.Done()
	for range 50 { // the limit and the end are there at once
		if err := d.handOver(t.Context(), old, next, 0); err != nil {
			t.Fatal(err)
		}
	}
	slow := process(t, d, "slow", "exec sleep 600")
	if err := d.handOver(t.Context(), slow, next, 0); err == nil || !strings.Contains(err.Error(), "did not take over") {
		t.Errorf("no take-over: %v", err)
	}
	<-next.Done()
}

// Where processes start slowly, as the stall limit says, a successor has longer.
func TestTakeOverFollowsTheStallLimit(t *testing.T) {
	t.Parallel()
	for stall, want := range map[time.Duration]time.Duration{
		50 * time.Millisecond: 2500 * time.Millisecond, time.Second: 12 * time.Second, time.Minute: 30 * time.Second,
	} {
		a := &Agent{cfg: config.Config{Stream: config.Stream{StallMS: stall.Milliseconds()}}}
		if got := a.daemon(forwarderName).within; got != want {
			t.Errorf("with a stall limit of %v it has %v, not %v", stall, got, want)
		}
	}
}
