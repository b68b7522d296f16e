package supervise

import "syscall"

// SignalByNumber signals the group as on a kernel before 6.9.
func SignalByNumber(p *Process, sig syscall.Signal) { p.signalByNumber(sig) }

// WithoutClone lets processes be put into groups after their birth.
func WithoutClone(s *Groups) { s.clones = false }

// CanClone says whether processes are born in groups.
func CanClone(s *Groups) bool { return s.clones }

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
