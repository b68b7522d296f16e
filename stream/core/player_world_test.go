package core_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"slipstream/stream/handover"
)

// player is an RTSP client after its PLAY, as far as packets and replies go.
type player struct {
	*viewer
	spec    handover.Player
	conn    *net.TCPConn // the client's end of the connection
	replies chan string
	reports chan rtcp.Packet
	readers sync.WaitGroup

	rtp, rtcp     *net.UDPConn // of the first track; nil over TCP
	rtpTo, rtcpTo *net.UDPAddr // the forwarder's ends
}

const playReply = "RTSP/1.0 200 OK\r\nCSeq: 4\r\nSession: s1\r\n\r\n"

func playerSpec(id string) handover.Player {
	return handover.Player{
		ID: id, Session: "s1", TimeoutMS: 60_000, Reply: []byte(playReply),
		Tracks: []handover.Track{{Stream: "main", SSRC: 0xfeed0002, PayloadType: 96, Channel: 4, Seq: 65_530}},
	}
}

// tcpPair makes a connection; the second end is the forwarder's.
func tcpPair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client, server = conn.(*net.TCPConn), far.(*net.TCPConn)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func newPlayer(t *testing.T, spec handover.Player, conn *net.TCPConn) *player {
	p := &player{
		viewer: &viewer{t: t, done: make(chan struct{}), grown: make(chan struct{}, 1)}, spec: spec, conn: conn,
		replies: make(chan string, 1000), reports: make(chan rtcp.Packet, 1000),
	}
	t.Cleanup(func() {
		conn.Close()
		if p.rtp != nil {
			p.rtp.Close()
			p.rtcp.Close()
		}
		p.readers.Wait()
	})
	return p
}

// player hands a viewer over TCP over.
func (g *gateway) player(spec handover.Player) *player {
	g.t.Helper()
	client, server := tcpPair(g.t)
	p := newPlayer(g.t, spec, client)
	if m := g.askWith(handover.Request{Player: &spec}, server); m.Taken != spec.ID {
		g.t.Fatalf("player was not taken: %+v", m)
	}
	server.Close() // the forwarder has its own
	p.readers.Go(p.read)
	return p
}

// udpPlayer hands a viewer over UDP over.
func (g *gateway) udpPlayer(spec handover.Player) *player {
	g.t.Helper()
	spec.UDP = true
	client, server := tcpPair(g.t)
	p := newPlayer(g.t, spec, client)
	var rtpFar, rtcpFar *net.UDPConn
	p.rtp, rtpFar = connected(g.t)
	p.rtcp, rtcpFar = connected(g.t)
	if m := g.askWith(handover.Request{Player: &spec}, server, rtpFar, rtcpFar); m.Taken != spec.ID {
		g.t.Fatalf("player was not taken: %+v", m)
	}
	server.Close()
	p.rtcp.SetReadBuffer(1 << 20)
	p.readers.Go(p.read)
	p.readers.Go(func() { p.datagrams(p.rtp, p.media()) })
	p.readers.Go(func() { p.datagrams(p.rtcp, p.control) })
	g.t.Cleanup(func() { rtpFar.Close(); rtcpFar.Close() })
	p.rtpTo, p.rtcpTo = rtpFar.LocalAddr().(*net.UDPAddr), rtcpFar.LocalAddr().(*net.UDPAddr)
	return p
}

func (p *player) datagrams(conn *net.UDPConn, take func([]byte)) {
	buf := make([]byte, 4096)
	for {
		n, _, err := conn.ReadFromUDP(buf)
		if err != nil {
			return
		}
		take(buf[:n])
	}
}

// read takes apart what comes on the connection, as a client does that lives on
// strict order: a byte too many or too few is noticed.
func (p *player) read() {
	defer close(p.done)
	r := bufio.NewReaderSize(p.conn, 64<<10)
	media := p.media()
	for {
		first, err := r.Peek(1)
		if err != nil {
			return
		}
		if first[0] != '$' {
			if !p.reply(r) {
				return
			}
			continue
		}
		head := make([]byte, 4)
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint16(head[2:]))
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		switch head[1] {
		case p.spec.Tracks[0].Channel:
			media(body)
		case p.spec.Tracks[0].Channel + 1:
			p.control(body)
		default:
			p.fault(fmt.Sprintf("a packet on channel %d", head[1]))
		}
	}
}

func (p *player) reply(r *bufio.Reader) bool {
	text := textproto.NewReader(r)
	status, err := text.ReadLine()
	if err != nil {
		return false
	}
	if !strings.HasPrefix(status, "RTSP/1.0 ") {
		p.fault("between packets: " + strconv.Quote(status))
		return false
	}
	header, err := text.ReadMIMEHeader()
	if err != nil {
		p.fault("reply: " + err.Error())
		return false
	}
	p.replies <- status + " CSeq " + header.Get("CSeq")
	return true
}

// media checks packets by what was handed over. Over UDP the one that was on its way
// when a forwarder died may come once more.
func (p *player) media() func([]byte) {
	cur, next, last := picture{}, p.spec.Tracks[0].Seq, []byte(nil)
	return func(b []byte) {
		if p.rtp != nil && bytes.Equal(b, last) {
			return
		}
		last = bytes.Clone(b)
		if len(b) < 12 || b[0] != 0x80 || b[1]&0x7f != p.spec.Tracks[0].PayloadType || binary.BigEndian.Uint32(b[8:]) != p.spec.Tracks[0].SSRC {
			p.fault(fmt.Sprintf("a packet that was not agreed on: %x", b[:min(len(b), 12)]))
			return
		}
		if seq := binary.BigEndian.Uint16(b[2:]); seq != next {
			p.fault(fmt.Sprintf("UDP %t: sequence %d instead of %d", p.rtp != nil, seq, next))
			next = seq
		}
		next++
		p.packet(last, &cur)
	}
}

func (p *player) control(b []byte) {
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		p.fault("RTCP: " + err.Error())
		return
	}
	for _, pkt := range packets {
		p.reports <- pkt
	}
}

// ask sends a request and waits for its reply.
func (p *player) ask(method string, cseq int, headers string) string {
	p.t.Helper()
	p.send(method, cseq, headers)
	return p.replied()
}

func (p *player) send(method string, cseq int, headers string) {
	p.t.Helper()
	p.say(fmt.Sprintf("%s rtsp://camera/main RTSP/1.0\r\nCSeq: %d\r\n%s\r\n", method, cseq, headers))
}

func (p *player) say(what string) {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(what)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) replied() string {
	p.t.Helper()
	select {
	case r := <-p.replies:
		return r
	case <-time.After(patience):
		p.t.Fatal("no reply")
	}
	panic("not reached")
}

// report waits for an RTCP packet of a kind.
func report[T rtcp.Packet](p *player) T {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case pkt := <-p.reports:
			if want, ok := pkt.(T); ok {
				return want
			}
		case <-timeout:
			p.t.Fatalf("no %T", *new(T))
		}
	}
}
