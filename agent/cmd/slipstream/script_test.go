package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"slipstream/agent"
	"slipstream/agent/control"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"slipstream": main})
}

// packTool builds slipstream-pack into dir: the packages of the tests are real.
func packTool(dir string) error {
	out, err := exec.Command("go", "build", "-o", dir, "slipstream/verify/cmd/slipstream-pack").CombinedOutput()
	if err != nil {
		return errors.New(string(out))
	}
	return nil
}

// TestScripts runs the command as a person does, against a control server whose
// backend is scripted. Commands of the scripts beside testscript's own:
//
//	agent FILE       serve at $SOCK with the script in FILE
//	exits N CMD …    run CMD, which must exit with N
//	calls FILE       what the agent was asked must be the lines of FILE
//	called WORD      wait until the agent was asked for WORD
//	stopagent        end the agent
//	packtool         put slipstream-pack into the PATH
func TestScripts(t *testing.T) {
	tools := t.TempDir()
	buildTool := sync.OnceValue(func() error { return packTool(tools) })
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			dir, err := os.MkdirTemp("", "slip") // a socket's path must be short
			if err != nil {
				return err
			}
			env.Defer(func() { os.RemoveAll(dir) })
			env.Setenv("SOCK", filepath.Join(dir, "agent.sock"))
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"agent": serveScript, "exits": exits, "calls": calls, "called": called, "stopagent": stopAgent,
			"packtool": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Check(buildTool())
				ts.Setenv("PATH", tools+string(os.PathListSeparator)+ts.Getenv("PATH"))
			},
		},
	})
}

// running are the fakes by socket, for the commands that look into them.
var running sync.Map

func serveScript(ts *testscript.TestScript, _ bool, args []string) {
	s, err := parseScript(ts.ReadFile(args[0]))
	ts.Check(err)
	socket := ts.Getenv("SOCK")
	running.Store(socket, s)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := control.NewServer(backend{s}, nil).Serve(ctx, socket)
		// A process that another script starts at this instant holds the lock of the
		// agent before until it has become what it is to be.
		for ctx.Err() == nil && agent.Wait(ctx, time.Millisecond) {
			err = control.NewServer(backend{s}, nil).Serve(ctx, socket)
		}
		done <- err
	}()
	s.stop = sync.OnceFunc(func() {
		stop()
		<-done
	})
	ts.Defer(s.stop)
	poll(ts, func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// poll waits for what no event announces.
func poll(ts *testscript.TestScript, ok func() bool) {
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-deadline:
			ts.Fatalf("waited for a minute")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func fakeOf(ts *testscript.TestScript) *scripted {
	s, ok := running.Load(ts.Getenv("SOCK"))
	if !ok {
		ts.Fatalf("no agent was started")
	}
	return s.(*scripted)
}

func stopAgent(ts *testscript.TestScript, _ bool, _ []string) { fakeOf(ts).stop() }

func calls(ts *testscript.TestScript, _ bool, args []string) {
	s := fakeOf(ts)
	s.mu.Lock()
	got := strings.Join(s.calls, "\n") + "\n"
	s.mu.Unlock()
	want := strings.ReplaceAll(ts.ReadFile(args[0]), "$WORK", ts.Getenv("WORK"))
	if got != want {
		ts.Fatalf("the agent was asked\n%swant\n%s", got, want)
	}
}

func called(ts *testscript.TestScript, _ bool, args []string) {
	s := fakeOf(ts)
	poll(ts, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, call := range s.calls {
			if strings.HasPrefix(call, args[0]) {
				return true
			}
		}
		return false
	})
}
