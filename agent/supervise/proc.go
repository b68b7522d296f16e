package supervise

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// maxEnviron bounds what is read of another process's environment.
const maxEnviron = 1 << 20

// stat is what /proc/PID/stat says, see proc_pid_stat(5).
type stat struct {
	ppid    int
	session int
	start   uint64 // clock ticks after boot
}

func readStat(pid int) (stat, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(raw)
}

// parseStat skips the command name, which may hold spaces and parentheses: the
// fields begin after the last one.
func parseStat(raw []byte) (stat, error) {
	var s stat
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(f) < 20 || len(f[0]) != 1 {
		return s, fmt.Errorf("unreadable process state %q", raw)
	}
	var err1, err2, err3 error
	s.ppid, err1 = strconv.Atoi(f[1])
	s.session, err2 = strconv.Atoi(f[3])
	s.start, err3 = strconv.ParseUint(f[19], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return s, fmt.Errorf("unreadable process state %q", raw)
	}
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
