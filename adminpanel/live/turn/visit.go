package turn

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/turn/v2"
)

// visit is one connection as the library sees what is around it.
type visit struct {
	s            *Server
	frames       *frames
	target, peer netip.AddrPort

	mu    sync.Mutex // guards what follows
	asked string     // by which name, for what is being done
	name  string     // of the pass that it has begun with
	line  *line      // the newest
}

var _ turn.RelayAddressGenerator = (*visit)(nil)

// key is by what messages of a name are signed. The name that a connection has begun with
// is good for as long as it lasts: browsers cannot be given another one meanwhile.
func (v *visit) key(name, _ string, _ net.Addr) ([]byte, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if name != cmp.Or(v.name, name) || v.name == "" && !v.s.passes.good(name, time.Now()) {
		return nil, false
	}
	v.asked = name
	return v.s.passes.key(name), true
}

// may says whether a viewer may speak to an address.
func (v *visit) may(_ net.Addr, ip net.IP) bool { return ip.Equal(v.peer.Addr().AsSlice()) }

// Validate implements [turn.RelayAddressGenerator].
func (v *visit) Validate() error { return nil }

// AllocatePacketConn implements [turn.RelayAddressGenerator]. The library asks for one at a
// time, and has judged who wants it.
func (v *visit) AllocatePacketConn(string, int) (net.PacketConn, net.Addr, error) {
	l, err := dial(v.target, v.peer, &v.s.sums)
	if err != nil {
		v.s.cfg.Log.Error("no relayed address for a viewer", "cause", err)
		return nil, nil, err
	}
	v.hangUp()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.line, v.name = l, v.asked
	v.frames.begun.Store(true)
	return l, &net.UDPAddr{IP: v.peer.Addr().AsSlice(), Port: l.LocalAddr().(*net.UDPAddr).Port}, nil
}

var errNoTCP = errors.New("relayed addresses are UDP's")

// AllocateConn implements [turn.RelayAddressGenerator].
func (v *visit) AllocateConn(string, int) (net.Conn, net.Addr, error) { return nil, nil, errNoTCP }

// hangUp closes what the library may not have closed.
func (v *visit) hangUp() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.line != nil {
		v.line.Close()
	}
}
