package boot

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Files that are locked, both on a tmpfs, where a lock costs no write.
const (
	DefaultLock      = "/var/lock/fw_printenv.lock"     // that of fw_printenv and fw_setenv
	DefaultStateLock = "/run/lock/slipstream-boot.lock" // where no other program has one
)

// A lock is asked for anew each lockPoll. Nobody keeps it longer than it takes
// to write some kilobytes.
const (
	lockPoll    = 10 * time.Millisecond
	DefaultWait = 5 * time.Second // for a lock
)

func lockFile(name string, wait time.Duration) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	for range wait/lockPoll + 1 {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break
		}
		time.Sleep(lockPoll)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrBusy
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}
