package turn

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun"
	"github.com/pion/turn/v2"
)

const patience = time.Minute

// public is as what browsers know the relay.
var public = netip.MustParseAddrPort("203.0.113.7:8190")

// echo answers each datagram by itself, and counts them.
func echo(t *testing.T) (at netip.AddrPort, heard chan string) {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	heard = make(chan string, 1000)
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			heard <- string(buf[:n])
			c.WriteTo(buf[:n], from)
		}
	}()
	return netip.MustParseAddrPort(c.LocalAddr().String()), heard
}

func start(t *testing.T, line *tls.Config, target netip.AddrPort) *Server {
	t.Helper()
	s, err := Start(Config{
		Listen: "127.0.0.1:0", TLS: line, Log: slog.New(slog.DiscardHandler),
		Relay: func() (netip.AddrPort, netip.AddrPort) { return target, public },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// certified is a server's TLS, and a client's that trusts it.
func certified(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	h := httptest.NewUnstartedServer(nil)
	h.StartTLS()
	t.Cleanup(h.Close)
	roots := x509.NewCertPool()
	roots.AddCert(h.Certificate())
	server = &tls.Config{Certificates: h.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
	return server, &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{"stun.turn"}}
}

// client is a browser's side of a connection.
func client(t *testing.T, s *Server, line *tls.Config, pass Pass) *turn.Client {
	t.Helper()
	c, _ := connect(t, s, line, pass)
	return c
}

func connect(t *testing.T, s *Server, line *tls.Config, pass Pass) (*turn.Client, net.Conn) {
	t.Helper()
	at := fmt.Sprintf("127.0.0.1:%d", s.Port())
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	if line != nil {
		c = tls.Client(c, line)
	}
	t.Cleanup(func() { c.Close() })
	log := logging.NewDefaultLoggerFactory()
	log.Writer = io.Discard
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: at, Conn: turn.NewSTUNConn(c), Username: pass.Username, Password: pass.Password, LoggerFactory: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	return client, c
}

// What a browser sends by TURN comes to the relay, and its answers come back as if from
// where the browser knows it.
func TestTheRelayIsReached(t *testing.T) {
	t.Parallel()
	target, heard := echo(t)
	server, trusting := certified(t)
	for name, line := range map[string]*tls.Config{"TLS": trusting, "TCP": nil} {
		s := start(t, nil, target)
		if line != nil {
			s = start(t, server, target)
		}
		if s.Secure() != (line != nil) {
			t.Errorf("%s: secure is %v", name, s.Secure())
		}
		relayed, err := client(t, s, line, s.Pass()).Allocate()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range 20 { // by indications first, by a channel then
			text := fmt.Sprintf("%s %d", name, i)
			if _, err := relayed.WriteTo([]byte(text), net.UDPAddrFromAddrPort(public)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			relayed.SetReadDeadline(time.Now().Add(patience))
			buf := make([]byte, 2000)
			n, from, err := relayed.ReadFrom(buf)
			if err != nil || string(buf[:n]) != text || from.String() != public.String() {
				t.Fatalf("%s: %q from %v, %v", name, buf[:n], from, err)
			}
			if got := <-heard; got != text {
				t.Fatalf("%s: the relay has heard %q", name, got)
			}
		}
		if got := s.Counts(); got.Conns != 1 || got.Lines != 1 || got.ToRelay == 0 || got.Back != got.ToRelay {
			t.Errorf("%s: %+v", name, got)
		}
		if err := relayed.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A connection that goes takes its relayed address with it, and so does the server's end.
func TestNothingOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	target, _ := echo(t)
	s := start(t, nil, target)
	c, line := connect(t, s, nil, s.Pass())
	if _, err := c.Allocate(); err != nil {
		t.Fatal(err)
	}
	line.Close()
	await(t, s, Counts{})
	if _, err := client(t, s, nil, s.Pass()).Allocate(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	await(t, s, Counts{})
}

// await waits until a server has these connections and addresses.
func await(t *testing.T, s *Server, want Counts) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		got := s.Counts()
		if got.Conns == want.Conns && got.Lines == want.Lines {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%+v, want %+v", got, want)
		}
		<-time.After(time.Millisecond)
	}
}

func TestOnlyByAPass(t *testing.T) {
	t.Parallel()
	target, _ := echo(t)
	s := start(t, nil, target)
	good := s.Pass()
	old := s.passes.give(time.Now().Add(-passTime - time.Minute))
	for name, pass := range map[string]Pass{
		"a wrong password": {good.Username, "x" + good.Password}, "one that has ended": old,
		"another one's": {good.Username, s.Pass().Password}, "one of another server": newPasses().give(time.Now()),
		"a name that is none": {"ann", s.passes.password("ann")},
		"an end that is none": {strings.Replace(good.Username, ".", ".A", 1), good.Password},
		"one without a name":  {"-", ""},
	} {
		if _, err := client(t, s, nil, pass).Allocate(); err == nil {
			t.Errorf("%s is good for a relayed address", name)
		}
	}
	if got := s.Counts(); got.Lines != 0 {
		t.Errorf("%+v", got)
	}
	if _, err := client(t, s, nil, good).Allocate(); err != nil {
		t.Error(err)
	}
}

// A connection that has begun may go on after its pass has ended, by that pass alone.
func TestAPassIsForTheBeginning(t *testing.T) {
	t.Parallel()
	s := start(t, nil, public)
	v := &visit{s: s}
	now := s.Pass()
	if _, ok := v.key(now.Username, realm, nil); !ok {
		t.Error("a pass is refused")
	}
	old := s.passes.give(time.Now().Add(-passTime - time.Minute))
	if _, ok := v.key(old.Username, realm, nil); ok {
		t.Error("a pass that has ended begins something")
	}
	v.name = old.Username
	if _, ok := v.key(old.Username, realm, nil); !ok {
		t.Error("a connection cannot go on")
	}
	if _, ok := v.key(now.Username, realm, nil); ok {
		t.Error("a connection goes on by another's pass")
	}
}

// The panel's relay is all that can be reached: not this machine's other ports, not its
// network, and not the relay by an address that browsers do not know.
func TestNoOpenProxy(t *testing.T) {
	t.Parallel()
	target, _ := echo(t)
	other, heard := echo(t)
	s := start(t, nil, target)
	for _, to := range []netip.AddrPort{
		other, target, netip.AddrPortFrom(public.Addr(), other.Port()), netip.MustParseAddrPort("169.254.169.254:80"),
		netip.MustParseAddrPort("[::1]:8190"), netip.MustParseAddrPort("0.0.0.0:8190"),
	} {
		relayed, err := client(t, s, nil, s.Pass()).Allocate()
		if err != nil {
			t.Fatal(err)
		}
		ended := s.Counts().Bad
		relayed.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(to)) // an error, or silence
		passed(t, s, relayed, ended)
	}
	if l, err := dial(target, public, &s.sums); err != nil {
		t.Error(err)
	} else {
		if _, err := l.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(other)); err == nil {
			t.Error("a relayed address sends elsewhere")
		}
		l.Close()
	}
	if len(heard) > 0 {
		t.Error("somebody else was reached")
	}
}

// passed waits until all is done that was sent before: an echo comes back from the relay,
// or the connection was ended for what came on it.
func passed(t *testing.T, s *Server, relayed net.PacketConn, ended int64) {
	t.Helper()
	for end := time.Now().Add(patience); s.Counts().Bad == ended; {
		relayed.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(public))
		relayed.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, _, err := relayed.ReadFrom(make([]byte, 2000)); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the relay cannot be reached")
		}
	}
}

// Connections beyond the limit of one address are closed, and counted.
func TestAnAddressHasSoManyConnections(t *testing.T) {
	t.Parallel()
	s := start(t, nil, public)
	var all []net.Conn
	for range MaxConnsFrom + 1 {
		c, err := net.Dial("tcp", s.at.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
	}
	last := all[MaxConnsFrom]
	last.SetReadDeadline(time.Now().Add(patience))
	if _, err := last.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("one too many: %v", err)
	}
	if got := s.Counts(); got.Refused != 1 || got.Conns != MaxConnsFrom {
		t.Errorf("%+v", got)
	}
	all[0].Close()
	await(t, s, Counts{Conns: MaxConnsFrom - 1})
	for a, want := range map[string]string{"192.0.2.1:5": "192.0.2.1/32", "[2001:db8::1:2:3:4]:5": "2001:db8::/64", "[::ffff:192.0.2.1]:5": "192.0.2.1/32"} {
		if got := household(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(a))); got.String() != want {
			t.Errorf("%s is of %s", a, got)
		}
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// message is one of TURN with one attribute.
func message(kind, attr uint16, value []byte) []byte {
	m := binary.BigEndian.AppendUint16(nil, kind)
	m = binary.BigEndian.AppendUint16(m, uint16(attrHeader+(len(value)+3)/4*4))
	m = binary.BigEndian.AppendUint32(m, cookie)
	m = append(m, "012345678901"...)
	m = binary.BigEndian.AppendUint16(m, attr)
	m = binary.BigEndian.AppendUint16(m, uint16(len(value)))
	m = append(m, value...)
	return append(m, make([]byte, (4-len(value)%4)%4)...)
}

// peer is an address as messages have it.
func peer(at netip.AddrPort) []byte {
	b := []byte{0, familyV4}
	b = binary.BigEndian.AppendUint16(b, at.Port()^cookie>>16)
	ip := at.Addr().As4()
	return binary.BigEndian.AppendUint32(b, binary.BigEndian.Uint32(ip[:])^cookie)
}

// What no browser sends does not reach the library, which has flaws.
func TestWhatDoesNotReachTheLibrary(t *testing.T) {
	t.Parallel()
	s := start(t, nil, public)
	cut := message(allocate, 6, []byte("name"))
	cut[23] = 200
	short := message(allocate, 6, nil)
	short[4] = 1
	for i, bad := range [][]byte{
		message(createPermission, attrPeer, []byte{0}), message(createPermission, attrPeer, peer(public)[:6]),
		message(createPermission, attrPeer, append([]byte{0, 3}, make([]byte, 6)...)), message(createPermission, attrPeer, append(peer(public), 0)),
		message(channelBind, attrPeer, peer(netip.AddrPortFrom(public.Addr(), 22))), message(channelBind, attrPeer, append([]byte{0, 2}, make([]byte, 18)...)),
		message(allocate, attrIntegrity, make([]byte, 19)), message(allocate, attrEvenPort, []byte{0}), message(allocate, attrReservation, make([]byte, 8)),
		message(allocate, 6, make([]byte, 800)), message(allocate, 6, make([]byte, 2000)), message(1, 6, nil), message(0x0103, 6, nil),
		cut, short, []byte("GET / HTTP/1.1\r\n\r\n"), {0xff, 0xff, 0xff, 0xff}, {0x50, 0, 0, 4, 0, 0, 0, 0}, {0x40, 0, 0xff, 0xff},
		append(message(allocate, 6, nil)[:2], 0xff, 0xfc), append(message(allocate, 6, nil)[:2], 0, 1),
	} {
		c, err := net.Dial("tcp", s.at.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(bad); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(patience))
		if n, err := c.Read(make([]byte, 1)); n > 0 || isTimeout(err) {
			t.Errorf("message %d, %x, is not refused", i, bad[:min(len(bad), 40)])
		}
		await(t, s, Counts{})
		if got := s.Counts(); got.Bad != int64(i+1) {
			t.Errorf("message %d, %x: %+v", i, bad[:min(len(bad), 40)], got)
		}
	}
}

// Who connects and says nothing, or not enough, is closed.
func TestAConnectionThatDoesNotBegin(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	f := newFrames(far, public, time.Now().Add(-beginTime))
	if _, _, err := f.ReadFrom(make([]byte, 1600)); !isTimeout(err) {
		t.Errorf("got %v", err)
	}
	<-f.over
	f = newFrames(far, public, time.Now().Add(-beginTime))
	f.begun.Store(true)
	go near.Write(message(refresh, 6, []byte("name")))
	if n, _, err := f.ReadFrom(make([]byte, 1600)); n != 28 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// Any bytes may come. What is let through, the library's readers of addresses bear.
func FuzzFrames(f *testing.F) {
	f.Add(message(createPermission, attrPeer, peer(public)))
	f.Add(message(createPermission, attrPeer, []byte{0}))
	f.Add(append(message(allocate, attrIntegrity, make([]byte, 20)), 0x40, 0, 0, 2, 1, 2, 0, 0))
	f.Fuzz(func(t *testing.T, stream []byte) {
		near, far := net.Pipe()
		defer far.Close()
		go func() {
			near.Write(stream)
			near.Close()
		}()
		frames, buf := newFrames(far, public, time.Now()), make([]byte, 1600)
		for {
			n, _, err := frames.ReadFrom(buf)
			if err != nil {
				return
			}
			m := stun.Message{Raw: append([]byte{}, buf[:n]...)}
			if buf[0] >= 0x40 {
				continue
			}
			if err := m.Decode(); err != nil {
				t.Errorf("%x is let through: %v", buf[:n], err)
			}
			var at stun.XORMappedAddress
			if at.GetFromAs(&m, stun.AttrXORPeerAddress) == nil && len(at.IP) != 4 && len(at.IP) != 16 {
				t.Errorf("%x has the address %v", buf[:n], at)
			}
			_ = stun.NewLongTermIntegrity("a", realm, "b").Check(&m)
		}
	})
}
