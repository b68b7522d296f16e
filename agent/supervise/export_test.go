package supervise

import "syscall"

// SignalByNumber signals the group as on a kernel before 6.9.
func SignalByNumber(p *Process, sig syscall.Signal) { p.signalByNumber(sig) }

// StartTime is field 22 of /proc/PID/stat.
func StartTime(pid int) uint64 {
	st, err := readStat(pid)
	if err != nil {
		panic(err)
	}
	return st.start
}

var (
	ParseNotification = parseNotification
	ParseStat         = func(raw []byte) error { _, err := parseStat(raw); return err }
)
