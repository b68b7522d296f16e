package camera

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// notifier speaks sd_notify; the zero value is silent.
type notifier struct{ conn *net.UnixConn }

// dialNotify connects to NOTIFY_SOCKET, if there is one.
func dialNotify(path string) (notifier, error) {
	if path == "" {
		return notifier{}, nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return notifier{}, fmt.Errorf("connect to NOTIFY_SOCKET: %w", err)
	}
	return notifier{conn}, nil
}

// send tells the supervisor. That nobody listens must not stop the pictures, so
// the error is for the log only.
func (n notifier) send(state string) error {
	if n.conn == nil {
		return nil
	}
	_, err := n.conn.Write([]byte(state))
	return err
}

// watchdogPeriod is how often WATCHDOG=1 is due: a third of the limit; 0 is never.
func watchdogPeriod() time.Duration {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return 0
	}
	return time.Duration(usec) * time.Microsecond / 3
}
