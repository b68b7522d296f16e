package handover

import (
	"encoding/json"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is the name of the forwarder's socket in its run directory.
const Socket = "handover.sock"

// sendTime bounds the wait for a forwarder that does not read.
const sendTime = 5 * time.Second

// Conn is the gateway's end of the conversation. Send and Receive may be called
// from two goroutines at once.
type Conn struct {
	conn *net.UnixConn
	buf  [MaxMessage]byte
}

// Dial connects to the forwarder's handover socket. The forwarder drops the
// connection that it had before.
func Dial(path string) (*Conn, error) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	return &Conn{conn: c}, nil
}

// Send sends one request, with the socket of a [Viewer] or [Moved]. The
// descriptor stays the caller's, who closes it and neither reads from the socket
// nor shuts it down.
func (c *Conn) Send(r Request, fds ...int) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	if len(body) > MaxMessage {
		return fmt.Errorf("handover: a request of %d bytes is over the limit of %d", len(body), MaxMessage)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	c.conn.SetWriteDeadline(time.Now().Add(sendTime))
	if _, _, err := c.conn.WriteMsgUnix(body, oob, nil); err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	return nil
}

// Receive waits for the next message. Its error ends the connection.
func (c *Conn) Receive() (Message, error) {
	var m Message
	n, err := c.conn.Read(c.buf[:])
	if err == nil && n == 0 {
		err = net.ErrClosed
	}
	if err == nil {
		err = json.Unmarshal(c.buf[:n], &m)
	}
	if err != nil {
		return m, fmt.Errorf("handover: %w", err)
	}
	return m, nil
}

// Close ends the connection; the viewers that were taken stay.
func (c *Conn) Close() error { return c.conn.Close() }
