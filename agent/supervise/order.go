package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// ourselves is this very program, also when its file was replaced since.
	ourselves = "/proc/self/exe"
	// launchWait bounds how long a launcher may take, on a machine that is busy.
	launchWait = 30 * time.Second
	maxReport  = 64 << 10
)

// connection is what agent and launcher talk by; a launcher whose agent has died gets
// no orders, and ends.
func connection() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // for deadlines
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "launcher"), os.NewFile(uintptr(fds[1]), "launcher"), nil
}

// orderOf says what the launcher is to become.
func (p *Process) orderOf(spec Spec) order {
	o := order{Path: spec.Path, Args: append([]string{spec.Path}, spec.Args...), Dir: spec.Dir, Confinement: *spec.Confine}
	for _, f := range p.given(spec) {
		o.Files = append(o.Files, f.name)
	}
	return o
}

// order tells a launcher what to become, if check has nothing against it, and returns
// when it has.
func (s *Supervisor) order(launcher *os.File, o order, check func() error) error {
	defer launcher.Close()
	if err := check(); err != nil {
		return err
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if len(raw) > maxOrder {
		return fmt.Errorf("what is to be started is told in %d bytes, more than %d", len(raw), maxOrder)
	}
	if err := launcher.SetDeadline(time.Now().Add(launchWait)); err != nil {
		return err
	}
	if _, err := launcher.Write(raw); err != nil {
		return fmt.Errorf("tell the launcher: %w", err)
	}
	answers := json.NewDecoder(io.LimitReader(launcher, maxReport))
	for told := false; ; told = true {
		var r report
		switch err := answers.Decode(&r); {
		case errors.Is(err, io.EOF) && told:
			return nil // it was closed by the execution of the program
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("it did not begin within %v", launchWait)
		case err != nil:
			return fmt.Errorf("the launcher ended: %w", err)
		case r.Error != "":
			return errors.New(r.Error)
		}
		s.noteProtections(r.Protections)
	}
}

// try starts a launcher that becomes nothing.
func (s *Supervisor) try(o order) error {
	ours, theirs, err := connection()
	if err != nil {
		return err
	}
	cmd := &exec.Cmd{Path: ourselves, Args: []string{launchName}, Env: []string{}, Stdin: theirs}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		ours.Close()
		return err
	}
	err = s.order(ours, o, Spec{}.check)
	if err != nil {
		_ = cmd.Process.Kill() // it may hang; one that has ended is no matter
	}
	return errors.Join(err, cmd.Wait())
}
