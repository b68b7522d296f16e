package ingest

import (
	"fmt"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"slipstream/stream/publish"
)

// publisher is one RTSP session: a picture, a sound, or both.
type publisher struct {
	server  *Server
	session *gortsplib.ServerSession
	name    string // of the stream that the path names
	feeds   []*feed
	clock   sessionClock // of the one goroutine that reads the session's connection

	watchers sync.WaitGroup
	failed   sync.Once
}

// feed is one medium of a publisher and its connection to the forwarder.
type feed struct {
	publisher *publisher
	stream    string
	medium    medium
	sdp       []byte

	conn   *publish.Conn // nil until RECORD
	cutter cutter
	clock  mediumClock
}

func newPublisher(s *Server, session *gortsplib.ServerSession, name string, media map[string]medium) (*publisher, error) {
	p := &publisher{server: s, session: session, name: name}
	for stream, m := range media {
		sdp, err := m.describe()
		if err != nil {
			return nil, err
		}
		p.feeds = append(p.feeds, &feed{publisher: p, stream: stream, medium: m, sdp: sdp, clock: mediumClock{rate: m.format.ClockRate()}})
	}
	return p, nil
}

func (p *publisher) streams() (names []string) {
	for _, f := range p.feeds {
		names = append(names, f.stream)
	}
	return names
}

// start connects to the forwarder and lets packets pass.
func (p *publisher) start() error {
	for _, f := range p.feeds {
		if err := f.start(); err != nil {
			return fmt.Errorf("stream %q: %w", f.stream, err)
		}
	}
	return nil
}

func (f *feed) start() error {
	p := f.publisher
	conn, err := publish.Dial(p.server.cfg.Publish, f.stream, f.sdp)
	if err != nil {
		return err
	}
	f.conn = conn
	p.watchers.Go(func() {
		select {
		case <-conn.Done():
			p.fail(f.stream, conn.Err())
		case <-p.server.ending: // forward may be waiting for the forwarder
			p.failed.Do(func() {})
			conn.Close()
		}
	})
	f.cutter = f.medium.cutter(sender{send: conn.WriteRTP})
	p.session.OnPacketRTCP(f.medium.Media, f.reported)
	p.session.OnPacketRTP(f.medium.Media, f.medium.format, f.forward)
	return nil
}

// reported takes the publisher's sender reports.
func (f *feed) reported(packet rtcp.Packet) {
	if sr, ok := packet.(*rtcp.SenderReport); ok {
		f.clock.report(wallTime(sr.NTPTime), sr.RTPTime)
		f.publisher.clock.begin(&f.clock, time.Duration(time.Now().UnixNano()), publish.Monotonic())
	}
}

// forward sends one packet on. It may wait for the forwarder, and the publisher
// then waits too.
func (f *feed) forward(pkt *rtp.Packet) {
	err := f.tellClock(pkt.Timestamp)
	if err == nil {
		err = f.cutter.take(pkt)
	}
	if err != nil {
		f.publisher.fail(f.stream, err)
	}
}

// tellClock says, when it is due, when the frame of a packet was captured.
func (f *feed) tellClock(rtp uint32) error {
	now, session := publish.Monotonic(), &f.publisher.clock
	if !session.set {
		f.clock.before(rtp, now)
	}
	if !f.clock.set {
		return nil
	}
	captured := session.captured(&f.clock, rtp, now)
	if !f.clock.due(session.offset, now) {
		return nil
	}
	f.clock.told, f.clock.offset = now, session.offset
	return f.conn.WriteClock(rtp, captured, publish.FramesUnknown)
}

// fail ends the session for a reason that the technician should see, once.
func (p *publisher) fail(stream string, err error) {
	p.failed.Do(func() {
		p.server.log.Error("publisher is cut off", "stream", stream, "because", err)
		p.session.Close()
	})
}

// stop closes the connections to the forwarder. What happens to them from here on
// is our own doing and no failure.
func (p *publisher) stop() {
	p.failed.Do(func() {})
	for _, f := range p.feeds {
		if f.conn != nil {
			f.conn.Close()
		}
	}
	p.watchers.Wait()
}
