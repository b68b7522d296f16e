package handover

import (
	"fmt"
	"time"

	"slipstream/stream/seqpacket"
)

// Socket is the name of the forwarder's socket in its run directory.
const Socket = "handover.sock"

// ErrTooLarge says that a message was not sent because it is over [MaxMessage];
// the connection goes on.
var ErrTooLarge = seqpacket.ErrTooLarge

// sendTime bounds the wait for a forwarder that does not read.
const sendTime = 5 * time.Second

// Conn is the gateway's end of the conversation. The socket of a [Viewer] or
// [Moved] goes with its [Request]; the gateway closes its own descriptor and
// neither reads from the socket nor shuts it down. When the connection ends, the
// viewers that were taken stay.
type Conn = seqpacket.Conn[Request, Message]

// Dial connects to the forwarder's handover socket. The forwarder drops the
// connection that it had before.
func Dial(path string) (*Conn, error) {
	c, err := seqpacket.Dial[Request, Message](path, MaxMessage, sendTime)
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	return c, nil
}
