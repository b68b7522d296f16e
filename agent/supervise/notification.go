package supervise

import (
	"cmp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	// maxNotification is systemd's own limit of one datagram, PIPE_BUF.
	maxNotification = 4096
	maxStatus       = 256 // bytes kept of STATUS=
	// maxAsked bounds a time that a process may ask for; whoever grants it has bounds of
	// his own.
	maxAsked = 24 * time.Hour
	maxErrno = 4095 // MAX_ERRNO of the kernel
)

// Notification is what a process says of itself, see sd_notify(3).
type Notification struct {
	Ready    bool   // READY=1
	Stopping bool   // STOPPING=1
	Watchdog bool   // WATCHDOG=1
	Status   string // STATUS=…, made printable

	Hung   bool          // WATCHDOG=trigger: as if it had not fed its watchdog
	Extend time.Duration // EXTEND_TIMEOUT_USEC=…: for what it does now it needs so long from now on
	Period time.Duration // WATCHDOG_USEC=…: it will feed its watchdog so often
	Errno  int           // ERRNO=…: why it is about to end
	// MainPID: MAINPID=… was said. It changes nothing: who the main process is, the
	// pidfd says, which no number can replace.
	MainPID bool
}

// parseNotification reads one datagram. Unknown lines mean nothing; in a
// datagram that says something twice the later one holds.
func parseNotification(raw []byte) Notification {
	var n Notification
	for line := range strings.SplitSeq(string(raw), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "READY":
			n.Ready = value == "1"
		case "STOPPING":
			n.Stopping = value == "1"
		case "WATCHDOG":
			n.Watchdog, n.Hung = value == "1", value == "trigger"
		case "WATCHDOG_USEC":
			n.Period = microseconds(value)
		case "EXTEND_TIMEOUT_USEC":
			n.Extend = microseconds(value)
		case "ERRNO":
			if e, err := strconv.Atoi(value); err == nil && e > 0 && e <= maxErrno {
				n.Errno = e
			}
		case "MAINPID":
			n.MainPID = true
		case "STATUS":
			n.Status = printable(value, maxStatus)
		}
	}
	return n
}

// microseconds is 0 for what is no number.
func microseconds(value string) time.Duration {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(min(n, uint64(maxAsked/time.Microsecond))) * time.Microsecond
}

// printable makes at most limit bytes of a foreign text safe to show on a
// terminal.
func printable(s string, limit int) string {
	s = strings.ToValidUTF8(s[:min(len(s), limit)], "")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}

// and merges a later notification into an earlier one that nobody has read.
func (n Notification) and(later Notification) Notification {
	n.Ready = n.Ready || later.Ready
	n.Stopping = n.Stopping || later.Stopping
	n.Watchdog = n.Watchdog || later.Watchdog
	n.Hung = n.Hung || later.Hung
	n.MainPID = n.MainPID || later.MainPID
	n.Status = cmp.Or(later.Status, n.Status)
	n.Extend = cmp.Or(later.Extend, n.Extend)
	n.Period = cmp.Or(later.Period, n.Period)
	n.Errno = cmp.Or(later.Errno, n.Errno)
	return n
}
