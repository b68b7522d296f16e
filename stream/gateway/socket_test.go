package gateway

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/pion/stun"
	"golang.org/x/sys/unix"
)

// marked makes a datagram, which is no STUN, that tells its sender.
func marked(viewer int) []byte {
	return binary.BigEndian.AppendUint32([]byte{200, 0, 0, 0}, uint32(viewer))
}

func markOf(pkt []byte) int { return int(binary.BigEndian.Uint32(pkt[4:])) }

// Many viewers send all the time while each gets its own socket: nothing lands in
// a socket that is not its sender's, and nothing is lost, not even what came
// between a bind and a connection. What the kernel had no room for, because nobody
// read for a while on a busy machine, it counts itself.
func TestManyViewersNoneMisrouted(t *testing.T) {
	t.Parallel()
	const viewers, afterwards = 100, 30
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0", ":0"} {
		t.Run(addr, func(t *testing.T) {
			p := runPort(t, addr)
			to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p.addr().Port}
			var sent, got [viewers]int // datagrams of each viewer
			var passing sync.WaitGroup
			passing.Go(func() {
				buf := make([]byte, maxDatagram)
				for {
					if _, _, err := p.ReadFrom(buf); err != nil {
						return
					}
					if markOf(buf) == viewers {
						return
					}
					got[markOf(buf)]++
				}
			})
			conns := make([]*net.UDPConn, viewers)
			for i := range conns {
				conns[i] = client(t)
				proven(p, conns[i])
			}
			connected := make(chan struct{})
			var sending sync.WaitGroup
			for part := range 4 {
				sending.Go(func() {
					for left := afterwards; left > 0; {
						for i := part; i < viewers; i += 4 {
							conns[i].WriteToUDP(marked(i), to)
							sent[i]++
						}
						select {
						case <-connected:
							left--
						case <-time.After(time.Millisecond):
						}
					}
				})
			}
			own := make([]socket, viewers)
			for i, c := range conns {
				s, err := p.connect(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(c.LocalAddr().(*net.UDPAddr).Port)))
				if err != nil {
					t.Fatal(err)
				}
				defer s.close()
				p.drain(s)
				own[i] = s
			}
			close(connected)
			sending.Wait()
			last := client(t)
			proven(p, last)
			last.WriteToUDP(marked(viewers), to)
			passing.Wait()

			var foreign, kept int
			dropped := portDrops(t, p)
			buf := make([]byte, maxDatagram)
			for i, s := range own {
				dropped += drops(t, s.fd)
				for {
					n, _, err := unix.Recvfrom(s.fd, buf, unix.MSG_DONTWAIT)
					if err != nil || n == 0 {
						break
					}
					kept++
					if markOf(buf) != i {
						foreign++
					}
					got[markOf(buf)]++
				}
			}
			// A datagram whose socket the kernel chose before connect may still be
			// queued after the drain; the forwarder drops it, because it proves nothing
			// to the keys of another viewer, and its sender repeats what matters.
			if foreign > kept/1000 {
				t.Errorf("%d of %d datagrams in the viewers' sockets are not theirs", foreign, kept)
			}
			lost := 0
			for i, n := range got {
				lost += sent[i] - n
			}
			if lost != dropped {
				t.Errorf("%d datagrams are lost, of which the kernel had no room for %d (sent %v, came %v)", lost, dropped, sent, got)
			}
			if kept < viewers*afterwards/2 {
				t.Errorf("only %d datagrams came to the viewers' sockets: the test shows nothing", kept)
			}
		})
	}
}

// drops is how many datagrams found a socket's buffer full (sock_diag's SK_MEMINFO_DROPS,
// by SO_MEMINFO of socket(7)).
func drops(t *testing.T, fd int) int {
	t.Helper()
	const dropsIndex = 8
	var info [dropsIndex + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
		t.Fatalf("ask a socket what it dropped: %v", errno)
	}
	return int(info[dropsIndex])
}

func portDrops(t *testing.T, p *port) (n int) {
	t.Helper()
	raw, err := p.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { n = drops(t, int(fd)) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// What comes between a socket's bind and its connection goes to whom it belongs.
func TestCaughtDatagramsGoBack(t *testing.T) {
	t.Parallel()
	const others = 100
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0", ":0"} {
		p := runPort(t, addr)
		to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p.addr().Port}
		viewer := client(t).LocalAddr().(*net.UDPAddr).AddrPort()
		s, err := p.bind(viewer)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		for i := range others {
			c := client(t)
			proven(p, c)
			c.WriteToUDP(marked(i), to)
		}
		if err := unix.Connect(s.fd, sockaddr(viewer)); err != nil {
			t.Fatal(err)
		}
		p.drain(s)
		last := client(t)
		proven(p, last)
		last.WriteToUDP(marked(others), to)
		buf := make([]byte, maxDatagram)
		seen := map[int]bool{}
		for range others + 1 {
			if _, _, err := p.ReadFrom(buf); err != nil {
				t.Fatal(err)
			}
			seen[markOf(buf)] = true
			if markOf(buf) == others {
				break
			}
		}
		if len(seen) != others+1 {
			t.Errorf("%s: %d of %d datagrams came back", addr, len(seen), others+1)
		}
	}
}

func runPort(t *testing.T, addr string) *port {
	t.Helper()
	p, err := openPort(addr, func(string) {}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.run() }()
	t.Cleanup(func() {
		p.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

func client(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// proven makes the port believe that a valid check came from a socket.
func proven(p *port, conn *net.UDPConn) {
	l := newLink()
	p.add(l)
	p.prove(l, conn.LocalAddr().(*net.UDPAddr).AddrPort())
}

// A new gateway takes the port while the viewers of the one before are on it.
func TestPortIsTakenAgain(t *testing.T) {
	t.Parallel()
	first, err := openPort("127.0.0.1:0", func(string) {}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	old, young := client(t), client(t)
	s, err := first.connect(old.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	addr := first.addr()
	first.Close()
	second := runPort(t, addr.String())
	proven(second, young)
	old.WriteToUDP(marked(1), addr)
	young.WriteToUDP(marked(2), addr)
	buf := make([]byte, maxDatagram)
	if _, _, err := second.ReadFrom(buf); err != nil || markOf(buf) != 2 {
		t.Errorf("the new gateway got %v, %v", markOf(buf), err)
	}
	if n, _, err := unix.Recvfrom(s.fd, buf, unix.MSG_DONTWAIT); err != nil || n == 0 || markOf(buf) != 1 {
		t.Errorf("the viewer's socket got %d bytes, %v", n, err)
	}
}

// binding makes a check for a link.
func binding(t *testing.T, l *link, pwd string, more ...stun.Setter) []byte {
	t.Helper()
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(l.own().ufrag + ":theirs")},
		append(more, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// The checks of a viewer that the forwarder has: answered wherever they come from
// if they are valid, and followed where the viewer means to move.
func TestChecksOfAKnownViewer(t *testing.T) {
	t.Parallel()
	p := runPort(t, "127.0.0.1:0")
	l := newLink()
	p.add(l)
	nominate := stun.RawAttribute{Type: stun.AttrUseCandidate}
	for _, c := range []struct {
		name            string
		at              string // where the viewer is
		pkt             func() []byte
		answered, moved bool
	}{
		{"the address that it has", "here", func() []byte { return binding(t, l, l.own().pwd, nominate) }, true, false},
		{"another port", "127.0.0.1:9", func() []byte { return binding(t, l, l.own().pwd) }, true, true},
		{"another interface", "192.0.2.1:9", func() []byte { return binding(t, l, l.own().pwd) }, true, false},
		{"another interface, nominated", "192.0.2.1:9", func() []byte { return binding(t, l, l.own().pwd, nominate) }, true, true},
		{"a wrong password", "192.0.2.1:9", func() []byte { return binding(t, l, "x", nominate) }, false, false},
		{"another viewer's name", "192.0.2.1:9", func() []byte { return binding(t, newLink(), l.own().pwd, nominate) }, false, false},
		{"no integrity", "192.0.2.1:9", func() []byte {
			return stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(l.own().ufrag+":theirs"), nominate).Raw
		}, false, false},
	} {
		conn := client(t)
		here := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		if c.at == "here" {
			l.at(here)
		} else {
			l.at(netip.MustParseAddrPort(c.at))
		}
		l.lastMove = time.Time{}
		pkt := c.pkt()
		conn.WriteToUDP(pkt, p.addr())
		last := client(t)
		proven(p, last)
		last.WriteToUDP(marked(1), p.addr()) // after it has come through, all was said
		p.ReadFrom(make([]byte, maxDatagram))
		conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		buf := make([]byte, maxDatagram)
		n, err := conn.Read(buf)
		if (err == nil) != c.answered {
			t.Errorf("%s: answered %v", c.name, err == nil)
		}
		if err == nil {
			reply := stun.Message{Raw: buf[:n]}
			var mapped stun.XORMappedAddress
			if reply.Decode() != nil || reply.Type != stun.BindingSuccess || [12]byte(pkt[8:20]) != reply.TransactionID ||
				stun.NewShortTermIntegrity(l.own().pwd).Check(&reply) != nil || stun.Fingerprint.Check(&reply) != nil ||
				mapped.GetFrom(&reply) != nil || mapped.String() != here.String() {
				t.Errorf("%s: reply %v, %v", c.name, reply, mapped)
			}
		}
		var moved netip.AddrPort
		select {
		case moved = <-l.moved:
		default:
		}
		if c.moved && moved != here || !c.moved && moved.IsValid() {
			t.Errorf("%s: moved to %v", c.name, moved)
		}
	}
}

// A viewer that jumps about is followed now and then only.
func TestMovesAreSlow(t *testing.T) {
	t.Parallel()
	l := newLink()
	l.at(netip.MustParseAddrPort("192.0.2.1:1"))
	n := 0
	for i := range 1000 {
		l.heard(netip.MustParseAddrPort(fmt.Sprintf("192.0.2.1:%d", i+2)), true)
		select {
		case <-l.moved:
			n++
		default:
		}
	}
	if n == 0 || n > 5 {
		t.Errorf("%d moves", n)
	}
}

// Nothing that comes to the port may do harm.
func FuzzTake(f *testing.F) {
	l := newLink()
	l.ours = credentials{"fuzzed", "password"}
	f.Add([]byte{})
	f.Add([]byte{0, 1, 0, 0})
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername("fuzzed:x"), stun.NewShortTermIntegrity(l.own().pwd), stun.Fingerprint).Raw)
	f.Add([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1})
	p, err := openPort("127.0.0.1:0", func(string) {}, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { p.Close() })
	l.at(netip.MustParseAddrPort("127.0.0.1:9"))
	p.add(l)
	f.Fuzz(func(_ *testing.T, pkt []byte) {
		p.take(pkt, netip.MustParseAddrPort("127.0.0.1:9"))
		newCipherChoice().see(pkt)
		for len(p.passed) > 0 {
			<-p.passed
		}
	})
}
