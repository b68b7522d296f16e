package stand

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"slipstream/stream/orders"
)

const ingestSecret = "stand"

// Ingest runs a source's ingest and returns the URL to which programs that speak
// RTSP publish.
func (s *Stand) Ingest(id orders.SourceID) (url string, p *Process, err error) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", nil, fmt.Errorf("ingest of %s: %w", id, err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		return "", nil, fmt.Errorf("ingest of %s: %w", id, err)
	}
	defer f.Close()
	cmd := exec.Command(filepath.Join(s.config.Bin, "slipstream-ingest"), "--publish", s.Publish(id), "--stream", Stream)
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "SLIPSTREAM_INGEST_SECRET="+ingestSecret)
	p, err = s.Begin("slipstream-ingest", cmd)
	return "rtsp://" + l.Addr().String() + "/" + ingestSecret, p, err
}
