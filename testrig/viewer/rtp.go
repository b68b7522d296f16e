package viewer

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/pion/rtp"
)

// RTP is the kind of a viewer to whom plain RTP is sent, without any session.
const RTP = "rtp"

// maxRTP is larger than any packet.
const maxRTP = 4096

// DialRTP asks the sender at an address for its packets, by a datagram, and takes what
// comes. [Answer] and [Repair] mean nothing to it.
func DialRTP(ctx context.Context, address string, options ...Option) (*Viewer, error) {
	v := newViewer(RTP, address, options)
	sender, err := net.ResolveUDPAddr("udp4", address)
	if err != nil {
		return nil, fmt.Errorf("rtp viewer: %w", err)
	}
	conn, err := listenRoomy("udp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("rtp viewer: %w", err)
	}
	if _, err := conn.WriteTo([]byte{0}, sender); err != nil {
		return nil, errors.Join(fmt.Errorf("rtp viewer of %s: %w", address, err), conn.Close())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.end("the socket failed: " + v.takeRTP(conn).Error())
	}()
	v.hangUp = func() { conn.Close(); <-done }
	return v, nil
}

func (v *Viewer) takeRTP(conn net.PacketConn) error {
	buf := make([]byte, maxRTP)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		p := &rtp.Packet{}
		if err := p.Unmarshal(buf[:n]); err == nil {
			v.sink(now(), p)
		}
	}
}
