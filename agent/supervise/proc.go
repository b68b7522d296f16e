package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// maxEnviron bounds what is read of another process's environment.
const maxEnviron = 1 << 20

// Stat is what /proc/PID/stat says, see proc_pid_stat(5). Times are counted in
// [TicksPerSecond].
type Stat struct {
	Start uint64 // after boot; with the number it names a process for good
	Spent uint64 // by all its threads, in user mode and in the kernel
	Tasks int    // threads

	ppid    int
	session int
}

// TicksPerSecond is USER_HZ, the same on every architecture of Linux.
const TicksPerSecond = 100

// ReadStat fails for a process that has ended.
func ReadStat(pid int) (Stat, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}, err
	}
	return parseStat(raw)
}

// parseStat skips the command name, which may hold spaces and parentheses: the
// fields begin after the last one.
func parseStat(raw []byte) (Stat, error) {
	var s Stat
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(f) < 20 || len(f[0]) != 1 {
		return s, fmt.Errorf("unreadable process state %q", raw)
	}
	var errs [6]error
	var user, system uint64
	s.ppid, errs[0] = strconv.Atoi(f[1])
	s.session, errs[1] = strconv.Atoi(f[3])
	user, errs[2] = strconv.ParseUint(f[11], 10, 64)
	system, errs[3] = strconv.ParseUint(f[12], 10, 64)
	s.Tasks, errs[4] = strconv.Atoi(f[17])
	s.Start, errs[5] = strconv.ParseUint(f[19], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return s, fmt.Errorf("unreadable process state %q: %w", raw, err)
	}
	s.Spent = user + system
	return s, nil
}

// bootID tells this boot from all others.
func bootID() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(raw)), err
}

// hasToken says whether the process or an ancestor of it was started by us with
// this token. One whose environment we may not read is not ours.
func hasToken(pid int, token string) bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxEnviron))
	if err != nil {
		return false
	}
	return bytes.Contains(append([]byte{0}, raw...), []byte("\x00"+tokenVar+"="+token+"\x00"))
}

// processes lists the numbers of all processes that run now.
func processes() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
