package adminpanel

import (
	"log/slog"
	"net"
	"os"
)

// What a panel tells to who has started it (sd_notify).
const (
	isReady  = "READY=1" // devices and people are served
	isEnding = "STOPPING=1"
)

// notify tells a service manager, if there is one. That nobody listens stops no panel.
func notify(words string, log *slog.Logger) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // "@…" is an abstract one, here as there
	if err == nil {
		defer conn.Close()
		_, err = conn.Write([]byte(words))
	}
	if err != nil {
		log.Warn("not told to NOTIFY_SOCKET", "words", words, "cause", err)
	}
}
