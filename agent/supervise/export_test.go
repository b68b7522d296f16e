package supervise

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// SignalByNumber signals the group as on a kernel before 6.9.
func SignalByNumber(p *Process, sig syscall.Signal) { p.signalByNumber(sig) }

// WithoutClone lets processes be put into groups after their birth.
func WithoutClone(s *Groups) { s.clones = false }

// CanClone says whether processes are born in groups.
func CanClone(s *Groups) bool { return s.clones }

// StartTime is field 22 of /proc/PID/stat.
func StartTime(pid int) uint64 {
	st, err := ReadStat(pid)
	if err != nil {
		panic(err)
	}
	return st.Start
}

var (
	ParseNotification = parseNotification
	ParseStat         = func(raw []byte) error { _, err := parseStat(raw); return err }
)

// BrokenGroup is one that no process can be put into.
func BrokenGroup(dir string) (*Group, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return &Group{path: dir, dir: fd, freeze: -1}, err
}

// OpenGroup opens any directory as a group.
var OpenGroup = openGroup

// Merge joins two notifications.
var Merge = Notification.and

// Enable gives any controller to a place's groups.
func Enable(s *Groups, controller string) error { return s.enable(controller) }

// Dir is the place.
func Dir(s *Groups) string { return s.dir }

// GiveOn gives a controller to the cgroups below one.
var GiveOn = giveOn

var MakeRoomIn = makeRoom
