package stand

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/supervise"
)

// The two names that a forwarder and its successor have in turns.
var instances = [2]string{"forward-a", "forward-b"}

// succeedLimit is how long a successor may take, the forwarder's own limit included.
const succeedLimit = 5 * time.Second

// forward starts a forwarder as the agent does: what it stores is kept, and given to
// the next one of its name.
func (s *Stand) forward(name string, args ...string) (*supervise.Process, error) {
	return s.supervisor.Start(supervise.Spec{
		Name: name, Path: filepath.Join(s.config.Bin, "slipstream-forward"),
		Args: append(append([]string{"--run", s.Run}, s.config.Forward...), args...),
		Log:  s.logFile("slipstream-forward"), FDStore: true, NotifySocket: filepath.Join(s.Run, name+".sock"),
	})
}

// StartForwarder runs the forwarder, with what an earlier one has stored, and
// connects to it.
func (s *Stand) StartForwarder(ctx context.Context) error {
	p, err := s.forward(instances[s.instance])
	if err != nil {
		return err
	}
	s.forwarder = p
	return s.Connect(ctx)
}

// CrashForwarder kills the forwarder, starts it again and connects to it.
func (s *Stand) CrashForwarder(ctx context.Context) error {
	s.forwarder.Kill()
	return s.StartForwarder(ctx)
}

// Succeed replaces the forwarder while it runs, and connects to the new one. A trial
// must not be under way.
func (s *Stand) Succeed(ctx context.Context) error {
	next := 1 - s.instance
	s.supervisor.DropStored(instances[next])
	p, err := s.forward(instances[next], "--succeed")
	if err != nil {
		return err
	}
	limit := time.NewTimer(succeedLimit)
	defer limit.Stop()
	select {
	case <-s.forwarder.Done():
	case <-p.Done():
		err = fmt.Errorf("the successor ended: %s", p.Exit())
	case <-limit.C:
		err = errors.New("the successor did not take over")
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		p.Kill()
		return fmt.Errorf("%w\n%s", err, s.Logs())
	}
	s.forwarder.Kill() // and what it left
	s.supervisor.DropStored(instances[s.instance])
	s.forwarder, s.instance = p, next
	return s.Connect(ctx)
}

// Forwarder is the forwarder's process as it runs now.
func (s *Stand) Forwarder() *Process {
	p := s.forwarder
	return &Process{
		PID: p.PID(), kill: p.Kill, done: p.Done(),
		signal: func(sig syscall.Signal) { _ = unix.PidfdSendSignal(p.Pidfd(), sig, nil, 0) }, // an error says that it has ended
	}
}
