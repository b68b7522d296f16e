package turn

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxFrame bounds a message: a datagram of media, and what is around it.
	maxFrame = 1500
	// beginTime is how long a connection may last without a relayed address, and idleTime
	// without a word; browsers look after their connections each few seconds.
	beginTime = 10 * time.Second
	idleTime  = time.Minute
	// writeTime is how long a viewer may take nothing.
	writeTime = 5 * time.Second
)

// What messages consist of (RFC 8489 §5, RFC 8656 §12.4 and §18).
const (
	header        = 20
	channelHeader = 4
	attrHeader    = 4
	cookie        = 0x2112a442
	maxAttributes = 16

	allocate          = 0x0003
	refresh           = 0x0004
	createPermission  = 0x0008
	channelBind       = 0x0009
	sendIndication    = 0x0016
	firstChannel      = 0x4000
	lastChannel       = 0x4fff
	attrIntegrity     = 0x0008
	attrPeer          = 0x0012
	attrData          = 0x0013
	attrEvenPort      = 0x0018
	attrReservation   = 0x0022
	familyV4          = 1
	familyV6          = 2
	lengthV4          = 8
	lengthV6          = 20
	lengthIntegrity   = 20
	maxOtherAttribute = 763 // RFC 8489 §14: names, realms and nonces are not longer
)

var (
	errTooLong  = errors.New("a message is too long")
	errNoKind   = errors.New("a message is of no kind that viewers send")
	errForeign  = errors.New("a channel to somewhere else than the relay is asked for")
	errCut      = errors.New("a message's attributes are not whole")
	errReserved = errors.New("ports are reserved, which no viewer needs")
)

// frames is a viewer's connection, as the messages that come and go on it. What comes
// out of it is safe to give to the library.
type frames struct {
	net.Conn // TCP or TLS

	in    *bufio.Reader
	peer  netip.AddrPort // the only one for a channel
	begun atomic.Bool    // it has a relayed address
	until time.Time      // until when it has to begin

	once sync.Once
	why  error         // valid once ended is closed
	over chan struct{} // closed when nothing more comes
}

var _ net.PacketConn = (*frames)(nil)

func newFrames(c net.Conn, peer netip.AddrPort, since time.Time) *frames {
	return &frames{Conn: c, in: bufio.NewReaderSize(c, maxFrame), peer: peer, until: since.Add(beginTime), over: make(chan struct{})}
}

// ReadFrom implements [net.PacketConn].
func (f *frames) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := f.next(p)
	if err != nil {
		f.end(err)
		return 0, nil, err
	}
	return n, f.RemoteAddr(), nil
}

func (f *frames) end(why error) {
	f.once.Do(func() {
		f.why = why
		close(f.over)
	})
}

func (f *frames) next(p []byte) (int, error) {
	deadline := f.until
	if f.begun.Load() {
		deadline = time.Now().Add(idleTime)
	}
	if err := f.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	head, err := f.in.Peek(channelHeader)
	if err != nil {
		return 0, err
	}
	length, err := lengthOf(head)
	if err != nil {
		return 0, err
	}
	if length > min(len(p), maxFrame) {
		return 0, errTooLong
	}
	if _, err := io.ReadFull(f.in, p[:length]); err != nil {
		return 0, err
	}
	return length, f.judge(p[:length])
}

// lengthOf is how long the message is that begins so, with what fills it up to four bytes.
func lengthOf(head []byte) (int, error) {
	kind, length := binary.BigEndian.Uint16(head), int(binary.BigEndian.Uint16(head[2:]))
	switch {
	case kind < firstChannel && length%4 == 0:
		return header + length, nil
	case kind >= firstChannel && kind <= lastChannel:
		return channelHeader + (length+3)/4*4, nil
	}
	return 0, errNoKind
}

// judge refuses what the library is not to see.
func (f *frames) judge(msg []byte) error {
	kind := binary.BigEndian.Uint16(msg)
	if kind >= firstChannel {
		return nil
	}
	if binary.BigEndian.Uint32(msg[4:]) != cookie || !slices.Contains([]uint16{allocate, refresh, createPermission, channelBind, sendIndication}, kind) {
		return errNoKind
	}
	rest := msg[header:]
	for range maxAttributes {
		if len(rest) == 0 {
			return nil
		}
		if len(rest) < attrHeader {
			return errCut
		}
		attr, length := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		padded := attrHeader + (length+3)/4*4
		if padded > len(rest) {
			return errCut
		}
		if err := f.attribute(kind, attr, rest[attrHeader:attrHeader+length]); err != nil {
			return err
		}
		rest = rest[padded:]
	}
	if len(rest) > 0 {
		return errCut
	}
	return nil
}

func (f *frames) attribute(kind, attr uint16, value []byte) error {
	switch attr {
	case attrEvenPort, attrReservation:
		return errReserved
	case attrData:
		return nil
	case attrIntegrity:
		if len(value) != lengthIntegrity {
			return errCut
		}
	case attrPeer:
		at, err := addressIn(value)
		if err == nil && kind == channelBind && at != f.peer {
			err = errForeign
		}
		return err
	}
	if len(value) > maxOtherAttribute {
		return errTooLong
	}
	return nil
}

// addressIn reads an XOR-PEER-ADDRESS (RFC 8489 §14.2). One of IPv6 needs the message's
// number to be known; none is the relay's.
func addressIn(value []byte) (netip.AddrPort, error) {
	var none netip.AddrPort
	if len(value) < lengthV4 {
		return none, errCut
	}
	switch family := value[1]; {
	case value[0] == 0 && family == familyV6 && len(value) == lengthV6:
		return none, nil
	case value[0] != 0 || family != familyV4 || len(value) != lengthV4:
		return none, fmt.Errorf("%w: an address of family %d in %d bytes", errCut, family, len(value))
	}
	port := binary.BigEndian.Uint16(value[2:]) ^ cookie>>16
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], binary.BigEndian.Uint32(value[4:])^cookie)
	return netip.AddrPortFrom(netip.AddrFrom4(ip), port), nil
}

// WriteTo implements [net.PacketConn].
func (f *frames) WriteTo(p []byte, _ net.Addr) (int, error) {
	err := f.SetWriteDeadline(time.Now().Add(writeTime))
	n := 0
	if err == nil {
		n, err = f.Write(p)
	}
	if err != nil {
		f.end(err)
	}
	return n, err
}
