package ingest

import (
	"sync"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/pion/rtp"

	"slipstream/stream/publish"
)

// publisher is one RTSP session and its connection to the forwarder.
type publisher struct {
	server  *Server
	session *gortsplib.ServerSession
	stream  string
	media   *description.Media
	sdp     []byte

	conn    *publish.Conn // nil until RECORD
	cutter  fragmenter
	watcher sync.WaitGroup
	failed  sync.Once
}

// start connects to the forwarder and lets packets pass.
func (p *publisher) start() error {
	conn, err := publish.Dial(p.server.cfg.Publish, p.stream, p.sdp)
	if err != nil {
		return err
	}
	p.conn = conn
	p.watcher.Go(func() {
		select {
		case <-conn.Done():
			p.fail(conn.Err())
		case <-p.server.ending: // forward may be waiting for the forwarder
			p.failed.Do(func() {})
			conn.Close()
		}
	})
	p.cutter.send = conn.WriteRTP
	p.session.OnPacketRTP(p.media, p.media.Formats[0], p.forward)
	return nil
}

// forward sends one packet on. It may wait for the forwarder, and the publisher
// then waits too.
func (p *publisher) forward(pkt *rtp.Packet) {
	if err := p.cutter.take(pkt); err != nil {
		p.fail(err)
	}
}

// fail ends the session for a reason that the technician should see, once.
func (p *publisher) fail(err error) {
	p.failed.Do(func() {
		p.server.log.Error("publisher is cut off", "stream", p.stream, "because", err)
		p.session.Close()
	})
}

// stop closes the connection to the forwarder. What happens to it from here on is
// our own doing and no failure.
func (p *publisher) stop() {
	p.failed.Do(func() {})
	if p.conn == nil {
		return
	}
	p.conn.Close()
	p.watcher.Wait()
}
