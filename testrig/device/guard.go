package device

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// dirPrefix begins the name of every directory that a guard may remove.
const dirPrefix = "slipstream-"

// guardTimeout bounds the guard's clearing up after Close.
const guardTimeout = 2 * killTimeout

// Guard waits for the end of alive, the pipe from a device's user, then ends all
// processes of the device and removes its directory. It is the command
// "slipstream-rig guard DIR".
func Guard(dir string, alive io.Reader) error {
	if !filepath.IsAbs(dir) || !strings.HasPrefix(filepath.Base(dir), dirPrefix) {
		return fmt.Errorf("%s is not a device's directory", dir)
	}
	if _, err := io.Copy(io.Discard, alive); err != nil {
		return err
	}
	return errors.Join(killAll(dir), os.RemoveAll(dir))
}

// Dir is a directory for the files of processes that must not outlive their user.
type Dir struct {
	Path  string
	guard *exec.Cmd
	alive io.WriteCloser
}

// NewDir makes the directory and starts its guard. Processes that are told a
// path inside of it are ended by Clear, or when the caller's own process ends.
func NewDir(bin string) (*Dir, error) {
	path, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(bin, "slipstream-rig"), "guard", path)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	alive, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the guard of %s: %w", path, err), os.RemoveAll(path))
	}
	return &Dir{path, cmd, alive}, nil
}

// Clear ends all processes of the directory and removes it.
func (d *Dir) Clear() error {
	d.alive.Close()
	timer := time.AfterFunc(guardTimeout, func() { d.guard.Process.Kill() })
	defer timer.Stop()
	return d.guard.Wait()
}
