package device

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// killTimeout bounds the wait for processes that were killed.
const killTimeout = 5 * time.Second

// killPause is the wait between two looks for survivors.
const killPause = 5 * time.Millisecond

// killAll ends every process of the device at dir by SIGKILL and returns when
// none is left. New ones that a dying agent starts meanwhile are found too.
func killAll(dir string) error {
	deadline := time.Now().Add(killTimeout)
	for {
		alive := killOnce(dir)
		if len(alive) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes of %s do not die: %v", dir, alive)
		}
		time.Sleep(killPause)
	}
}

func killOnce(dir string) (alive []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !belongs(pid, dir) {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if belongs(pid, dir) { // again: now the number cannot come to mean another process
			alive = append(alive, pid)
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		unix.Close(fd)
	}
	return alive
}

// belongs says whether a living process works for the device at dir: one of our
// programs with a path inside of dir among its arguments, or any program with
// one in what the agent puts into an app's environment.
func belongs(pid int, dir string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	inside := dir + string(filepath.Separator)
	cmdline, err := os.ReadFile(filepath.Join(proc, "cmdline"))
	if err != nil || len(cmdline) == 0 {
		return false // gone, or a zombie
	}
	args := strings.Split(string(cmdline), "\x00")
	if strings.HasPrefix(args[0], inside) {
		return true
	}
	if strings.HasPrefix(filepath.Base(args[0]), "slipstream") {
		for _, arg := range args[1:] {
			if _, value, ok := strings.Cut(arg, "="); ok {
				arg = value
			}
			if strings.HasPrefix(arg, inside) {
				return true
			}
		}
	}
	env, _ := os.ReadFile(filepath.Join(proc, "environ")) // of others' processes: not readable, and not ours
	for variable := range bytes.SplitSeq(env, []byte{0}) {
		name, value, _ := strings.Cut(string(variable), "=")
		ours := strings.HasPrefix(name, "SLIPSTREAM_") || name == "NOTIFY_SOCKET"
		if ours && strings.HasPrefix(value, inside) {
			return true
		}
	}
	return false
}
