package orders

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

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

// TakeKept connects for a moment and returns copies of the descriptors that the
// forwarder keeps for the agent, by name and in their order. After an error there are
// none.
func TakeKept(path string, patience time.Duration) (map[string][]int, error) {
	c, err := Dial(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}
	kept := map[string][]int{}
	err = c.Send(Request{Req: 1, Kept: true})
	for err == nil {
		var m Message
		if m, err = receiveKept(c, kept); err != nil {
			break
		}
		switch m.Result {
		case "": // there is more, or it is about something else
		case ResultOK:
			return kept, nil
		default:
			err = errors.New(m.Error)
		}
	}
	for _, fds := range kept {
		closeAll(fds)
	}
	return nil, fmt.Errorf("orders: take back what the forwarder keeps: %w", err)
}

// receiveKept adds what comes with one message.
func receiveKept(c *Conn, kept map[string][]int) (Message, error) {
	m, fds, err := c.ReceiveRights()
	if err == nil && len(fds) != len(m.Kept) {
		err = fmt.Errorf("%d of %d descriptors came", len(fds), len(m.Kept))
	}
	if err != nil {
		closeAll(fds)
		return m, err
	}
	for i, fd := range fds {
		kept[m.Kept[i]] = append(kept[m.Kept[i]], fd)
	}
	return m, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
