package supervise

import (
	"strings"
	"unicode"
)

const (
	// maxNotification is systemd's own limit of one datagram, PIPE_BUF.
	maxNotification = 4096
	maxStatus       = 256 // bytes kept of STATUS=
)

// Notification is what a process says of itself, see sd_notify(3).
type Notification struct {
	Ready    bool   // READY=1
	Stopping bool   // STOPPING=1
	Watchdog bool   // WATCHDOG=1
	Status   string // STATUS=…, made printable
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
			n.Watchdog = value == "1"
		case "STATUS":
			n.Status = printable(value, maxStatus)
		}
	}
	return n
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
	if later.Status != "" {
		n.Status = later.Status
	}
	return n
}
