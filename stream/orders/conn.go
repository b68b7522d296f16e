package orders

import (
	"fmt"
	"time"

	"slipstream/stream/seqpacket"
)

// sendTime: a forwarder that reads nothing for longer is as good as gone.
const sendTime = 200 * time.Millisecond

// Conn is the agent's end of the conversation. The descriptors that go with a
// [Request] are those that its Pidfd fields count. When it ends, the orders stand.
type Conn = seqpacket.Conn[Request, Message]

// Dial connects to the forwarder's orders socket. The forwarder drops the
// connection that it had before.
func Dial(path string) (*Conn, error) {
	c, err := seqpacket.Dial[Request, Message](path, MaxMessage, sendTime)
	if err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}
	return c, nil
}
