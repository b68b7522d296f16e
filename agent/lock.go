package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lockRun takes the run directory, and leaves the number of this process in it
// for people. Two agents with one run directory would end each other's apps as
// strays. The file stays: whoever removed it would let two agents hold two locks.
func lockRun(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "agent.pid"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errors.New("another agent already runs here" + holder(f))
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// unlockRun gives the run directory up at once. Closing alone would not, while a
// process that is just being started still has a copy of everything open here.
func unlockRun(f *os.File) error {
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
}

// holder names the process that has the lock, as far as it has said so already.
func holder(f *os.File) string {
	const maxPID = 16
	raw, _ := io.ReadAll(io.LimitReader(f, maxPID))
	pid := strings.TrimSpace(string(raw))
	if pid == "" {
		return ""
	}
	return " (process " + pid + ")"
}
