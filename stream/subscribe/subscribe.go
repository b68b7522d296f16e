// Package subscribe takes one viewer's packets from the forwarder: the gateway's
// side of the forwarder's viewer socket (SOCK_SEQPACKET, one message a packet).
//
//	gateway → forwarder
//	  'V'   first message: stream name, optionally '\n', u16be next sequence
//	        number and u32be time base, to go on where an earlier subscription ended
//	  'K'   ask the app for a key frame
//	  'P'   play again from the last key frame if it is fresh, else as 'K'
//	forwarder → gateway
//	  'I'   u32be time base, SDP of the line that is followed; sent first, and again
//	        whenever a switch changes it
//	  'E'   refused: one sentence; the connection is closed after it
//	  0x80–0xBF   an RTP packet whose sequence numbers and times go on over every
//	        switch; SSRC and payload type are the gateway's to set
//
// A packet's RTP time is time base + 90 000 × capture time (CLOCK_MONOTONIC), so a
// viewer's clock does not drift over switches, whoever publishes.
package subscribe

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"
)

// First bytes of the messages that are not RTP.
const (
	MsgView     = 'V'
	MsgKeyFrame = 'K'
	MsgReplay   = 'P'
	MsgInfo     = 'I'
	MsgError    = 'E'
)

// maxMessage bounds what the forwarder sends.
const maxMessage = 20 << 10

// receiveBuffer lets the gateway be late by a few key frames.
const receiveBuffer = 1 << 20

// Resume continues an earlier subscription's numbering, after the forwarder
// was restarted.
type Resume struct {
	Seq      uint16 // next sequence number
	TimeBase uint32
}

// Conn is one viewer's subscription. Read is for one goroutine; the other
// methods may be called from any.
type Conn struct {
	conn *net.UnixConn

	mu   sync.Mutex // guards what follows
	sdp  []byte
	base uint32
}

// RefusedError is the forwarder's sentence on why there is nothing to watch.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "subscribe: " + e.Reason }

// Dial subscribes to a stream. It returns once the forwarder has said what the
// stream is; a [RefusedError] says why there is none.
func Dial(path, stream string, resume *Resume) (*Conn, error) {
	uc, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	c := &Conn{conn: uc}
	if err := c.hello(stream, resume); err != nil {
		uc.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) hello(stream string, resume *Resume) error {
	if err := c.conn.SetReadBuffer(receiveBuffer); err != nil {
		return fmt.Errorf("subscribe: enlarge receive buffer: %w", err)
	}
	msg := append([]byte{MsgView}, stream...)
	if resume != nil {
		msg = append(msg, '\n')
		msg = binary.BigEndian.AppendUint16(msg, resume.Seq)
		msg = binary.BigEndian.AppendUint32(msg, resume.TimeBase)
	}
	if _, err := c.conn.Write(msg); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	c.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	defer c.conn.SetReadDeadline(time.Time{})
	buf := make([]byte, maxMessage)
	n, err := c.conn.Read(buf)
	if err != nil {
		return fmt.Errorf("subscribe: no answer for stream %q: %w", stream, err)
	}
	isMedia, err := c.control(buf[:n])
	if err == nil && isMedia {
		err = fmt.Errorf("subscribe: packet before the stream's description")
	}
	return err
}

// control takes a message that is not RTP and reports whether it was RTP.
func (c *Conn) control(msg []byte) (isMedia bool, err error) {
	if len(msg) == 0 {
		return false, net.ErrClosed
	}
	switch {
	case msg[0]>>6 == 2:
		return true, nil
	case msg[0] == MsgError:
		return false, &RefusedError{string(msg[1:])}
	case msg[0] == MsgInfo && len(msg) >= 5:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.base = binary.BigEndian.Uint32(msg[1:])
		c.sdp = append([]byte(nil), msg[5:]...)
		return false, nil
	}
	return false, fmt.Errorf("subscribe: unknown message %q", msg[0])
}

// Read returns the next RTP packet's length in buf, which must hold at least
// 20 KiB. Between switches it blocks for as long as no source sends.
func (c *Conn) Read(buf []byte) (int, error) {
	for {
		n, err := c.conn.Read(buf)
		if err != nil {
			return 0, fmt.Errorf("subscribe: %w", err)
		}
		isMedia, err := c.control(buf[:n])
		if err != nil || isMedia {
			return n, err
		}
	}
}

// SDP describes the line that is followed now. It must not be changed.
func (c *Conn) SDP() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sdp
}

// TimeBase is what [Resume] needs to go on after the forwarder's restart.
func (c *Conn) TimeBase() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base
}

// RequestKeyFrame asks the app for a key frame.
func (c *Conn) RequestKeyFrame() error { return c.send(MsgKeyFrame) }

// Replay plays again from the last key frame if that is fresh, and asks the app
// for one otherwise: the answer to a viewer's picture loss indication.
func (c *Conn) Replay() error { return c.send(MsgReplay) }

func (c *Conn) send(kind byte) error {
	_, err := c.conn.Write([]byte{kind})
	return err
}

// Close ends the subscription; a blocked Read returns.
func (c *Conn) Close() error { return c.conn.Close() }
