package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent"
)

const (
	// lookEvery is how often it is looked whether another program was installed.
	lookEvery = 5 * time.Second
	// tryLimit bounds the question whether that runs on this machine at all. It is long,
	// because a program that was only too slow would not be tried again.
	tryLimit = time.Minute
)

// renewal makes the agent become the program that is installed in its place, by
// exec in its own process: its number stays, which is how systemd knows it, and so do
// its children, of which it goes on to be told how they end. All that it has open is
// closed by then, and taken up again as after any restart of the agent.
//
// There is no way back to the program before: one that starts and does not come up is
// a matter for whatever has started the agent, which starts the same one again. So it
// is tried first, as far as that is possible beside a running agent. Programs that come
// as a package of the class runtime have a trial: then it becomes the start program,
// which knows the way back.
type renewal struct {
	path       string
	configFile string
	log        *slog.Logger
	signals    chan os.Signal
	self       os.FileInfo // the file whose program this is
	tried      os.FileInfo // another one that was looked at; nil: none yet
	start      string      // start program to become: it chooses the agent; "": the installed agent
}

func findRenewal(configFile string, log *slog.Logger) (*renewal, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the agent's own program: %w", err)
	}
	r := &renewal{path: path, configFile: configFile, log: log, signals: make(chan os.Signal, 1)}
	// Of the process, not of the path: the file may have been replaced already.
	if r.self, err = os.Stat("/proc/self/exe"); err != nil {
		return nil, fmt.Errorf("find the agent's own program: %w", err)
	}
	heard := []os.Signal{unix.SIGUSR2}
	if !hasTerminal() {
		heard = append(heard, unix.SIGHUP)
	}
	signal.Notify(r.signals, heard...)
	return r, nil
}

// hasTerminal says whether SIGHUP means that somebody has closed a terminal, which has
// to end what was started there.
func hasTerminal() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

func (r *renewal) close() { signal.Stop(r.signals) }

// wait returns true when the agent should end to become another program, and false
// when ctx ends first.
func (r *renewal) wait(ctx context.Context, a *agent.Agent) bool {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-a.Becoming():
			r.start = a.StartProgram()
			return true
		case sig := <-r.signals:
			r.log.Info("asked to become the installed program", "signal", sig)
		case <-tick.C:
			if !r.replaced() {
				continue
			}
			r.log.Info("another program was installed in the agent's place", "path", r.path)
		}
		if r.usable(ctx) && a.AtRest(ctx) == nil {
			return true
		}
	}
}

// replaced says whether the program at our path is another one than ours and than the
// last that was looked at, and notes it. One that is not there is being installed. Our
// own may be touched, but nobody can write to a program that runs.
func (r *renewal) replaced() bool {
	now, err := os.Stat(r.path)
	if err != nil || os.SameFile(now, r.self) {
		return false
	}
	if t := r.tried; t != nil && os.SameFile(now, t) && now.ModTime().Equal(t.ModTime()) && now.Size() == t.Size() {
		return false
	}
	r.tried = now
	return true
}

// usable says whether the installed program runs here and understands the
// configuration. If not, this one is not given up for it.
func (r *renewal) usable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.path, "config", "check", r.configFile)
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		words := strings.Split(clean(strings.TrimSpace(said.String())), "\n")
		r.log.Error("the installed program is not usable; the agent goes on as it is", "path", r.path, "error", err, "says", fit(words[len(words)-1], 400, "…"))
		return false
	}
	return true
}

// become returns only if it failed.
func (r *renewal) become() error {
	if r.start != "" {
		return fmt.Errorf("exec %s: %w", r.start, unix.Exec(r.start, append([]string{r.start}, os.Args[1:]...), os.Environ()))
	}
	return fmt.Errorf("exec %s: %w", r.path, unix.Exec(r.path, os.Args, os.Environ()))
}

// reapEnded takes leave of children that ended while their agent became this program:
// nobody else can, and nobody waits for them any more.
func reapEnded() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}
