package ingest

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// firstInherited is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstInherited = 3

// Inherited is the listening socket that the starter left as descriptor 3.
// LISTEN_PID is not looked at: a starter that forks and executes in one step
// cannot know it.
func Inherited() (net.Listener, error) {
	if n := os.Getenv("LISTEN_FDS"); n != "1" {
		return nil, fmt.Errorf("ingest: LISTEN_FDS is %q; start it with one listening socket", n)
	}
	f := os.NewFile(firstInherited, "inherited socket")
	if f == nil {
		return nil, errors.New("ingest: there is no descriptor 3")
	}
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("ingest: inherited socket: %w", err)
	}
	if _, ok := ln.(*net.TCPListener); !ok {
		ln.Close()
		return nil, fmt.Errorf("ingest: the inherited socket listens on %s, not on TCP", ln.Addr().Network())
	}
	return ln, nil
}
