package gateway

import (
	"context"
	"encoding/binary"
	"sync"

	"slipstream/stream/subscribe"
)

// rtspFeeds are the subscriptions of a viewer who watches over TLS, one a track.
// They end with the gateway.
type rtspFeeds struct {
	begun   bool
	running sync.WaitGroup
}

// feed begins to send once PLAY was answered.
func (s *rtspSession) feed(ctx context.Context) {
	if s.feeds.begun {
		return
	}
	s.feeds.begun = true
	for track, t := range s.tracks {
		way, ok := s.ways[track]
		if !ok {
			continue
		}
		f := feed{socket: s.conn.server.g.viewersSocket(), stream: t.stream}
		out := &interleaver{conn: s.conn, way: way, payloadType: t.payloadType, report: reporter{rate: uint32(t.rate)}}
		s.feeds.running.Go(func() {
			s.conn.hangUp(f.run(ctx, &subscribe.Resume{Seq: way.seq, TimeBase: random()}, out.send))
			s.conn.tcp.Close() // whoever waits for a request is told
		})
	}
}

// interleaver writes one track's packets between the answers of a connection. When
// the viewer is slow it waits; the forwarder then leaves out whole groups of
// pictures, and after a few seconds the connection ends.
type interleaver struct {
	conn        *rtspConn
	way         rtspWay
	payloadType uint8
	report      reporter
	buf         []byte
}

func (i *interleaver) send(c *subscribe.Conn, pkt []byte) error {
	pkt[1] = pkt[1]&0x80 | i.payloadType
	binary.BigEndian.PutUint32(pkt[8:], i.way.ssrc)
	i.buf = i.buf[:0]
	if report := i.report.before(i.way.ssrc, c.TimeBase(), pkt); report != nil {
		text, err := report.Marshal()
		if err != nil {
			return err
		}
		i.buf = appendFrame(i.buf, i.way.channel+1, text)
	}
	i.buf = appendFrame(i.buf, i.way.channel, pkt)
	return i.conn.writeBytes(i.buf)
}

// appendFrame adds an interleaved packet (RFC 2326 §10.12).
func appendFrame(b []byte, channel uint8, pkt []byte) []byte {
	b = append(b, '$', channel)
	b = binary.BigEndian.AppendUint16(b, uint16(len(pkt)))
	return append(b, pkt...)
}
