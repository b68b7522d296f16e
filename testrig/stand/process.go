package stand

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// logTail is how much of each log stands in an error, in bytes.
const logTail = 2000

// Process is one of the stand's processes.
type Process struct {
	PID int

	signal func(syscall.Signal)
	kill   func() // and wait for the end
	done   <-chan struct{}
}

// run starts one of the binaries; its log goes to a file of its name. What it is
// told must name a path of the stand's directory, so that the guard finds it.
func (s *Stand) run(name string, env []string, args ...string) (*Process, error) {
	cmd := exec.Command(filepath.Join(s.config.Bin, name), args...)
	cmd.Env = append(os.Environ(), env...)
	return s.Begin(name, cmd)
}

// Begin starts a command of the caller's; its log goes to a file of that name. It
// ends with the stand at the latest if a path of the stand's directory is among its
// SLIPSTREAM_ variables.
func (s *Stand) Begin(name string, cmd *exec.Cmd) (*Process, error) {
	log, err := os.OpenFile(s.logFile(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the user alone
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is in the log
	}()
	signal := func(sig syscall.Signal) { _ = cmd.Process.Signal(sig) } // an error says that it has ended
	return &Process{
		PID: cmd.Process.Pid, done: done, signal: signal,
		kill: func() { signal(syscall.SIGKILL); <-done },
	}, nil
}

func (s *Stand) logFile(name string) string { return filepath.Join(s.Dir, name+".log") }

// Signal sends a signal; a process that has ended is left alone.
func (p *Process) Signal(sig syscall.Signal) { p.signal(sig) }

// Kill ends the process by SIGKILL and waits for its end.
func (p *Process) Kill() { p.kill() }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Logs is the end of each log, for an error message.
func (s *Stand) Logs() string {
	files, _ := filepath.Glob(filepath.Join(s.Dir, "*.log"))
	var b strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			text = []byte(err.Error())
		}
		fmt.Fprintf(&b, "--- %s\n%s\n", filepath.Base(file), bytes.TrimSpace(text[max(0, len(text)-logTail):]))
	}
	return b.String()
}
