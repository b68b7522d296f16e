package core_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v2"
	"github.com/pion/stun"

	"slipstream/stream/handover"
)

var profiles = map[string]struct {
	library   srtp.ProtectionProfile
	key, salt int
}{
	handover.AES128CM: {srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14},
	handover.AES128:   {srtp.ProtectionProfileAeadAes128Gcm, 16, 12},
	handover.AES256:   {srtp.ProtectionProfileAeadAes256Gcm, 32, 12},
}

// gateway is a connection as the gateway has it.
type gateway struct {
	t      *testing.T
	conn   *handover.Conn
	events chan handover.Message
	known  []handover.Known // at the connection's start
}

func (w *world) gateway() *gateway {
	w.t.Helper()
	conn, err := handover.Dial(filepath.Join(w.run, handover.Socket))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	g := &gateway{t: w.t, conn: conn, events: make(chan handover.Message, 1000)}
	go func() {
		defer close(g.events)
		for {
			m, err := conn.Receive()
			if err != nil {
				return
			}
			g.events <- m
		}
	}()
	for m := g.next(); !m.Listed; m = g.next() {
		if m.Known == nil {
			w.t.Fatalf("before all viewers were told: %+v", m)
		}
		g.known = append(g.known, *m.Known)
	}
	return g
}

// ask sends a request with a socket, if there is one, and returns what comes back.
func (g *gateway) ask(r handover.Request, socks ...*net.UDPConn) handover.Message {
	g.t.Helper()
	var files []filed
	for _, s := range socks {
		files = append(files, s)
	}
	return g.askWith(r, files...)
}

// filed is what a descriptor can be had of.
type filed interface{ File() (*os.File, error) }

func (g *gateway) askWith(r handover.Request, socks ...filed) handover.Message {
	g.t.Helper()
	var fds []int
	for _, s := range socks {
		f, err := s.File()
		if err != nil {
			g.t.Fatal(err)
		}
		defer f.Close()
		fds = append(fds, int(f.Fd()))
	}
	if err := g.conn.Send(r, fds...); err != nil {
		g.t.Fatal(err)
	}
	return g.next()
}

func (g *gateway) next() handover.Message {
	g.t.Helper()
	select {
	case m, ok := <-g.events:
		if !ok {
			g.t.Fatal("the forwarder closed the gateway's connection")
		}
		return m
	case <-time.After(patience):
		g.t.Fatal("no message from the forwarder")
	}
	panic("not reached")
}

// peer is a WebRTC viewer after its handshake: an address, keys, and a library
// that is not the forwarder's to open and make packets with.
type peer struct {
	*viewer
	spec handover.Viewer
	far  *net.UDPAddr
	sock *net.UDPConn

	in, out *srtp.Context
	reports chan *rtcp.SenderReport
	byes    chan *rtcp.Goodbye
	answers chan *stun.Message
	flights chan []byte
	readers sync.WaitGroup
	socks   []*net.UDPConn

	reading sync.Mutex // one datagram at a time
	first   picture    // what the reader begins with
	stream  net.Conn   // of a framed leg, in place of sockets

	seen   sync.Mutex // guards what follows
	sealed map[uint16][]byte
	resent map[uint16]int
}

func secret(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func newSpec(id, profile string) handover.Viewer {
	p := profiles[profile]
	return handover.Viewer{
		ID: id, Tracks: []handover.Track{{Stream: "main", SSRC: 0xfeed0001, PayloadType: 102}},
		SRTP: handover.SRTP{
			Profile: profile, LocalKey: secret(p.key), LocalSalt: secret(p.salt), RemoteKey: secret(p.key), RemoteSalt: secret(p.salt),
		},
		ICE: handover.ICE{LocalUfrag: hex.EncodeToString(secret(4)), LocalPwd: hex.EncodeToString(secret(16)), RemoteUfrag: hex.EncodeToString(secret(4))},
	}
}

// connected makes a viewer's socket and one that is connected to it.
func connected(t *testing.T) (sock, far *net.UDPConn) {
	t.Helper()
	sock, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	sock.SetReadBuffer(4 << 20)
	far, err = net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, sock.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sock.Close(); far.Close() })
	return sock, far
}

// peer hands a viewer over and waits until it is served.
func (g *gateway) peer(spec handover.Viewer) *peer {
	g.t.Helper()
	sock, far := connected(g.t)
	if m := g.ask(handover.Request{Viewer: &spec}, far); m.Taken != spec.ID {
		g.t.Fatalf("viewer was not taken: %+v", m)
	}
	defer far.Close() // the forwarder has its own
	return g.watch(spec, sock, far.LocalAddr().(*net.UDPAddr))
}

func (g *gateway) watch(spec handover.Viewer, sock *net.UDPConn, to *net.UDPAddr) *peer {
	g.t.Helper()
	p := newFarSide(g.t, spec)
	p.to(sock, to)
	return p
}

// newFarSide is a peer that has no socket yet.
func newFarSide(t *testing.T, spec handover.Viewer) *peer {
	t.Helper()
	p := &peer{
		viewer:  &viewer{t: t, done: make(chan struct{}), grown: make(chan struct{}, 1)},
		spec:    spec,
		reports: make(chan *rtcp.SenderReport, 1000), byes: make(chan *rtcp.Goodbye, 100), answers: make(chan *stun.Message, 1000), flights: make(chan []byte, 1000),
		sealed: map[uint16][]byte{}, resent: map[uint16]int{},
	}
	var err error
	library := profiles[spec.SRTP.Profile].library
	if p.in, err = srtp.CreateContext(spec.SRTP.LocalKey, spec.SRTP.LocalSalt, library); err != nil {
		t.Fatal(err)
	}
	if p.out, err = srtp.CreateContext(spec.SRTP.RemoteKey, spec.SRTP.RemoteSalt, library); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range p.socks {
			s.Close()
		}
		p.readers.Wait()
	})
	return p
}

// to makes a socket the peer's own, which talks to an address of the forwarder.
func (p *peer) to(sock *net.UDPConn, far *net.UDPAddr) {
	p.sock, p.far, p.socks = sock, far, append(p.socks, sock)
	p.readers.Go(func() { p.read(sock) })
}

func (p *peer) read(sock *net.UDPConn) {
	buf := make([]byte, 4096)
	cur := p.first
	for {
		n, _, err := sock.ReadFromUDP(buf)
		if err != nil {
			return
		}
		p.datagram(buf[:n], &cur)
	}
}

func (p *peer) datagram(b []byte, cur *picture) {
	p.reading.Lock()
	defer p.reading.Unlock()
	switch {
	case b[0] <= 3:
		m := &stun.Message{Raw: bytes.Clone(b)}
		if err := m.Decode(); err != nil {
			p.fault("an answer that is no STUN: " + err.Error())
			return
		}
		p.answers <- m
	case b[0]>>6 != 2:
		p.flights <- bytes.Clone(b)
	case b[1] >= 192 && b[1] <= 223:
		plain, err := p.in.DecryptRTCP(nil, b, nil)
		if err != nil {
			p.fault("SRTCP: " + err.Error())
			return
		}
		packets, err := rtcp.Unmarshal(plain)
		if err != nil {
			p.fault("RTCP: " + err.Error())
			return
		}
		p.reports <- packets[0].(*rtcp.SenderReport)
		if bye, ok := packets[len(packets)-1].(*rtcp.Goodbye); ok {
			p.byes <- bye
		}
	default:
		p.media(b, cur)
	}
}

// media takes a packet that is new, and checks that one that is not new is the
// very one that came before.
func (p *peer) media(b []byte, cur *picture) {
	seq := binary.BigEndian.Uint16(b[2:])
	p.seen.Lock()
	before, again := p.sealed[seq]
	if again {
		p.resent[seq]++
	} else {
		p.sealed[seq] = bytes.Clone(b)
	}
	p.seen.Unlock()
	if again {
		if !bytes.Equal(before, b) {
			p.fault("a packet was sent again with other bytes")
		}
		return
	}
	if ssrc := binary.BigEndian.Uint32(b[8:]); b[0] != 0x80 || b[1]&0x7f != p.spec.Tracks[0].PayloadType || ssrc != p.spec.Tracks[0].SSRC {
		p.fault("a packet that was not negotiated: " + hex.EncodeToString(b[:12]))
	}
	plain, err := p.in.DecryptRTP(nil, b, nil)
	if err != nil {
		p.fault("SRTP: " + err.Error())
		return
	}
	p.packet(plain, cur)
}

func (v *viewer) fault(what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.breaks = append(v.breaks, what)
}

// check sends a connectivity check signed with a password.
func (p *peer) check(pwd string, more ...stun.Setter) *stun.Message {
	p.t.Helper()
	setters := append([]stun.Setter{
		stun.TransactionID, stun.BindingRequest,
		stun.NewUsername(p.spec.ICE.LocalUfrag + ":" + p.spec.ICE.RemoteUfrag),
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{1, 2, 3, 4}},
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: make([]byte, 8)},
		stun.RawAttribute{Type: stun.AttrUseCandidate},
	}, more...)
	m, err := stun.Build(append(setters, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(m.Raw)
	return m
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if p.stream != nil {
		if _, err := p.stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			p.t.Fatal(err)
		}
		return
	}
	if _, err := p.sock.WriteToUDP(b, p.far); err != nil {
		p.t.Fatal(err)
	}
}

// say sends RTCP under the viewer's key and returns the sealed packet.
func (p *peer) say(packets ...rtcp.Packet) []byte {
	p.t.Helper()
	plain, err := rtcp.Marshal(packets)
	if err != nil {
		p.t.Fatal(err)
	}
	sealed, err := p.out.EncryptRTCP(nil, plain, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(sealed)
	return sealed
}

// answered waits for the answer to a check.
func (p *peer) answered(check *stun.Message) *stun.Message {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m := <-p.answers:
			if m.TransactionID == check.TransactionID {
				return m
			}
		case <-timeout:
			p.t.Fatal("a check was not answered")
		}
	}
}

// again is how often a packet came after its first time.
func (p *peer) again(seq uint16) int {
	p.seen.Lock()
	defer p.seen.Unlock()
	return p.resent[seq]
}

// await polls until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not seen: %s", what)
		}
	}
}
