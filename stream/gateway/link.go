package gateway

import (
	"crypto/rand"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/stream/handover"
)

// movePause is the shortest time between two moves of a viewer, so that one that
// jumps about does not keep the gateway busy.
const movePause = 200 * time.Millisecond

// credentials are our side's of one viewer's ICE session.
type credentials struct{ ufrag, pwd string }

func newCredentials() credentials { return credentials{rand.Text()[:16], rand.Text()} }

// tag is the entity tag of the ICE session: it changes with each restart, and the
// next gateway knows it, too.
func (c credentials) tag() string { return `"` + c.ufrag + `"` }

// ice is what the forwarder needs to answer the viewer's checks.
func (c credentials) ice(remote string) handover.ICE {
	return handover.ICE{LocalUfrag: c.ufrag, LocalPwd: c.pwd, RemoteUfrag: remote}
}

// link is what the port knows of one viewer.
type link struct {
	cipher *cipherChoice // nil for a viewer whose handshake is long done

	// muted keeps WebRTC's library from saying anything more to the viewer.
	muted atomic.Bool
	moved chan netip.AddrPort // where the viewer wants its pictures now
	paths []netip.AddrPort    // where it has proven itself; the port's mu guards it

	mu       sync.Mutex // guards what follows
	ours     credentials
	flight   []byte // the last one of our handshake
	viewer   netip.AddrPort
	lastMove time.Time
}

func newLink() *link {
	return &link{ours: newCredentials(), cipher: newCipherChoice(), moved: make(chan netip.AddrPort, 1)}
}

// own returns our credentials of now; [port.renew] changes them.
func (l *link) own() credentials {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ours
}

// lastFlight is the datagram that ended the handshake on our side.
func (l *link) lastFlight() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flight
}

// at says that the viewer at an address is the forwarder's, or, with the zero
// address, that it is WebRTC's again.
func (l *link) at(viewer netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.viewer = viewer
}

// handedOver tells whether checks are ours to answer, not WebRTC's.
func (l *link) handedOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.viewer.IsValid()
}

// heard follows the viewer of a valid check to another address: one that it
// nominates, or another port of the same one, as a NAT gives to a viewer that was
// silent. Browsers check their other interfaces, too, without meaning to move.
func (l *link) heard(from netip.AddrPort, nominated bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from == l.viewer || !nominated && from.Addr() != l.viewer.Addr() || time.Since(l.lastMove) < movePause {
		return
	}
	select {
	case l.moved <- from:
		l.lastMove = time.Now()
	default:
	}
}

// tap is WebRTC's end of a link.
type tap struct {
	net.PacketConn
	link *link
}

// ReadFrom implements [net.PacketConn].
func (t tap) ReadFrom(buf []byte) (int, net.Addr, error) {
	n, from, err := t.PacketConn.ReadFrom(buf)
	if err == nil {
		t.link.cipher.see(buf[:n])
	}
	return n, from, err
}

// WriteTo implements [net.PacketConn].
func (t tap) WriteTo(pkt []byte, to net.Addr) (int, error) {
	if t.link.muted.Load() {
		return len(pkt), nil
	}
	// The last flight begins with the change of cipher; sent again, it is another one.
	if len(pkt) > 0 && pkt[0] == recordCipherChange {
		t.link.mu.Lock()
		t.link.flight = slices.Clone(pkt)
		t.link.mu.Unlock()
	}
	return t.PacketConn.WriteTo(pkt, to)
}
