// Package seqpacket is a client's end of a conversation with the forwarder: JSON
// messages over a SOCK_SEQPACKET unix socket, one a packet, with descriptors
// passed by SCM_RIGHTS.
package seqpacket

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// ErrTooLarge says that a message was not sent because it is over the
// conversation's limit; the connection goes on.
var ErrTooLarge = errors.New("message over the limit")

// Conn sends messages of type Out and receives messages of type In. Send and
// Receive may be called from two goroutines at once, Close from any.
type Conn[Out, In any] struct {
	conn     *net.UnixConn
	buf      []byte
	sendTime time.Duration
}

// Dial connects to a socket. No message may have more than maxMessage bytes;
// sendTime bounds the wait for a forwarder that does not read.
func Dial[Out, In any](path string, maxMessage int, sendTime time.Duration) (*Conn[Out, In], error) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	return &Conn[Out, In]{conn: c, buf: make([]byte, maxMessage), sendTime: sendTime}, nil
}

// Send sends one message. The descriptors stay the caller's. Any error but
// [ErrTooLarge] ends the connection.
func (c *Conn[Out, In]) Send(m Out, fds ...int) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(body) > len(c.buf) {
		return fmt.Errorf("%w: %d bytes, allowed are %d", ErrTooLarge, len(body), len(c.buf))
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	c.conn.SetWriteDeadline(time.Now().Add(c.sendTime))
	_, _, err = c.conn.WriteMsgUnix(body, oob, nil)
	return err
}

// Receive waits for the next message. Its error ends the connection.
func (c *Conn[Out, In]) Receive() (m In, err error) {
	n, err := c.conn.Read(c.buf)
	if err == nil && n == 0 {
		err = net.ErrClosed
	}
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(c.buf[:n], &m)
}

// maxRights is SCM_MAX_FD, the most descriptors that one message can carry.
const maxRights = 253

// ReceiveRights is Receive for a message that may carry descriptors. They are the
// caller's, also after an error; any error ends the connection.
func (c *Conn[Out, In]) ReceiveRights() (m In, fds []int, err error) {
	oob := make([]byte, unix.CmsgSpace(maxRights*4))
	n, oobn, flags, _, err := c.conn.ReadMsgUnix(c.buf, oob)
	if err != nil {
		return m, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range messages {
		more, _ := unix.ParseUnixRights(&messages[i]) // of another kind: it has none
		fds = append(fds, more...)
	}
	switch {
	case err != nil:
		return m, fds, err
	case n == 0:
		return m, fds, net.ErrClosed
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		return m, fds, fmt.Errorf("a message of over %d bytes, or not all of its descriptors", len(c.buf))
	}
	return m, fds, json.Unmarshal(c.buf[:n], &m)
}

// SetDeadline bounds every wait of Receive from now on.
func (c *Conn[Out, In]) SetDeadline(at time.Time) error { return c.conn.SetReadDeadline(at) }

// Close ends the connection; a blocked Receive returns.
func (c *Conn[Out, In]) Close() error { return c.conn.Close() }
