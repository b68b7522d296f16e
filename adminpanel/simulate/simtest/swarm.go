package simtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"slipstream/adminpanel/simulate"
)

// swarmVariable holds the configuration of a swarm, in its process.
const swarmVariable = "SLIPSTREAM_TEST_SWARM"

// Main runs a package's tests, or a swarm of one of them: a TestMain calls it.
func Main(m *testing.M) {
	text, ok := os.LookupEnv(swarmVariable)
	if !ok {
		os.Exit(m.Run())
	}
	if err := swarm(text); err != nil {
		fmt.Fprintln(os.Stderr, "swarm:", err)
		os.Exit(1)
	}
}

// Swarm is a fleet in a process of its own, which ends with its test.
type Swarm struct {
	t       testing.TB
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

// Start begins a swarm.
func Start(t testing.TB, cfg simulate.Config) *Swarm {
	t.Helper()
	cfg.Log = nil
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &Swarm{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0])}
	s.cmd.Env = append(os.Environ(), swarmVariable+"="+string(text))
	s.cmd.Stderr = os.Stderr
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = 10 * time.Second
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		s.in, err = s.cmd.StdinPipe()
	}
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.answers = json.NewDecoder(out)
	t.Cleanup(func() {
		s.in.Close() // with which it ends
		_ = s.cmd.Wait()
	})
	return s
}

// Counts asks the swarm what it has done.
func (s *Swarm) Counts() (c simulate.Counts) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in); err != nil {
		s.t.Fatal(err)
	}
	if err := s.answers.Decode(&c); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// PID is that of the swarm's process.
func (s *Swarm) PID() int { return s.cmd.Process.Pid }

// swarm runs until nobody asks it any more.
func swarm(text string) error {
	var cfg simulate.Config
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	fleet, err := simulate.NewFleet(cfg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		answers := json.NewEncoder(os.Stdout)
		for asks := bufio.NewScanner(os.Stdin); asks.Scan(); {
			if answers.Encode(fleet.Counts()) != nil {
				return
			}
		}
	}()
	if err := fleet.Run(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}
