package core

import (
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
)

// maxUnread is how many messages the gateway may be late for: it is told of every
// viewer when it connects.
const maxUnread = 2*maxRecords + 256

// gatewayConn is the connection of the gateway that hands viewers over. A new
// one takes the place of the one before; viewers stay whatever happens to it.
type gatewayConn struct {
	fd    int
	buf   [handover.MaxMessage]byte
	oob   [64]byte
	queue [][]byte // messages that found no room
}

type gatewayListener int

func (fd gatewayListener) ready(c *Core, now int64) {
	for {
		conn, ok := c.acceptOwn(int(fd), "viewers")
		if !ok {
			return
		}
		c.closeGateway()
		g := &gatewayConn{fd: conn}
		if err := c.poll.add(conn, unix.EPOLLIN, g); err != nil {
			unix.Close(conn)
			continue
		}
		c.gateway = g
		c.listViewers()
	}
}

func (c *Core) closeGateway() {
	if c.gateway != nil {
		c.poll.close(c.gateway.fd)
		c.gateway = nil
	}
}

// answer sends a message to the gateway, behind those that have yet to go. Without
// a gateway, or with one that does not read, the message is dropped.
func (c *Core) answer(m handover.Message) {
	g := c.gateway
	if g == nil {
		return
	}
	body, err := json.Marshal(m)
	if err == nil && len(body) > handover.MaxMessage {
		err = fmt.Errorf("a message of %d bytes is over the limit of %d", len(body), handover.MaxMessage)
	}
	if err != nil {
		c.log.Error("no message to the gateway", "reason", err)
		return
	}
	g.queue = append(g.queue, body)
	if len(g.queue) == 1 {
		g.write(c)
	}
	if len(g.queue) > maxUnread {
		c.log.Warn("the gateway takes no messages and is disconnected")
		c.closeGateway()
	}
}

// write sends what waits, until there is no more room.
func (g *gatewayConn) write(c *Core) {
	for len(g.queue) > 0 {
		err := sendControl(g.fd, g.queue[0])
		if errors.Is(err, eagain) {
			c.poll.again(g.fd, unix.EPOLLIN|unix.EPOLLOUT)
			return
		}
		if err != nil {
			c.log.Warn("the gateway takes no messages and is disconnected", "reason", err)
			c.closeGateway()
			return
		}
		g.queue = g.queue[1:]
	}
	g.queue = nil
}

// ready goes on writing, and takes one request.
func (g *gatewayConn) ready(c *Core, now int64) {
	if len(g.queue) > 0 {
		if g.write(c); c.gateway != g {
			return
		}
		if len(g.queue) == 0 {
			c.poll.again(g.fd, unix.EPOLLIN)
		}
	}
	var req handover.Request
	fds, err := receiveRequest(g.fd, g.buf[:], g.oob[:], &req)
	defer closeAll(fds)
	switch {
	case errors.Is(err, errNothing):
		return
	case errors.Is(err, errGone):
		c.log.Info("the gateway is gone; its viewers stay")
		c.closeGateway()
		return
	case err == nil:
		err = c.handedOver(&req, fds, now)
	}
	if err != nil {
		c.log.Error("handover refused", "reason", err)
		c.answer(handover.Message{ID: requestID(&req), Error: err.Error(), NotFound: errors.Is(err, errNotFound)})
	}
}
