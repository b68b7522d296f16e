package viewer

import (
	"encoding/binary"
	"net"
	"sync"
	"time"

	"github.com/pion/transport/v2"
	"github.com/pion/transport/v2/stdnet"
)

// arrivals remembers when packets came to a WebRTC viewer's socket: until the library
// gives them out, several of its goroutines have had to be woken, which is no server's
// doing. A packet's number is not encrypted.
type arrivals struct {
	mu sync.Mutex // guards what follows
	at [1 << 10]arrival
}

type arrival struct {
	number uint16
	at     time.Duration
}

func (a *arrivals) slot(number uint16) *arrival { return &a.at[int(number)%len(a.at)] }

// took notes a datagram that was read just now.
func (a *arrivals) took(datagram []byte) {
	if len(datagram) < 12 || datagram[0]>>6 != 2 {
		return // no RTP
	}
	at, number := now(), binary.BigEndian.Uint16(datagram[2:])
	a.mu.Lock()
	*a.slot(number) = arrival{number, at}
	a.mu.Unlock()
}

// of is when the packet of a number came; now, if that is not known.
func (a *arrivals) of(number uint16) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.slot(number); s.number == number && s.at != 0 {
		return s.at
	}
	return now()
}

// roomyNet makes sockets that hold what comes while this process waits for a
// processor: what they lose would count as the server's loss.
type roomyNet struct {
	*stdnet.Net
	arrivals *arrivals
}

func (r roomyNet) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	c, err := net.ListenUDP(network, local)
	if err != nil {
		return nil, err
	}
	_ = c.SetReadBuffer(socketBuffer) // as large as the system allows
	return punctualConn{c, r.arrivals}, nil
}

// punctualConn is a socket whose datagrams' arrival is remembered.
type punctualConn struct {
	*net.UDPConn
	arrivals *arrivals
}

func (c punctualConn) ReadFrom(buf []byte) (int, net.Addr, error) {
	n, from, err := c.UDPConn.ReadFrom(buf)
	if err == nil {
		c.arrivals.took(buf[:n])
	}
	return n, from, err
}
