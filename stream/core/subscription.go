package core

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
	"slipstream/stream/subscribe"
)

const (
	subscriptionBuffer = 2 << 20

	// maxSilentViewers bounds the gateway's connections that name no stream yet.
	maxSilentViewers = 64

	// messageBatch bounds how much is taken from one viewer before the others
	// have their turn.
	messageBatch = 64
)

// subscription is a viewer that the gateway carries: it is given packets over a
// unix socket, and whoever reads them sends them on (RTSP playback).
type subscription struct{ viewer }

type subscriptionListener int

func (fd subscriptionListener) ready(c *Core, now int64) {
	for {
		conn, _, err := unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			c.poll.rest(int(fd), err)
			return
		}
		if len(c.silent) >= maxSilentViewers {
			unix.Close(conn)
			continue
		}
		enlarge(conn, unix.SO_SNDBUF, subscriptionBuffer)
		v := newSubscription(conn)
		if err := c.poll.add(conn, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLET, v); err != nil {
			unix.Close(conn)
			continue
		}
		c.silent[&v.viewer] = now
	}
}

func newSubscription(fd int) *subscription {
	v := &subscription{viewer{fd: fd}}
	v.out = v
	return v
}

// ready takes the viewer's messages and goes on sending if its socket was full.
func (v *subscription) ready(c *Core, now int64) {
	for range messageBatch {
		n, errno := receive(v.fd, c.scratch[:])
		switch {
		case errno == eagain:
			v.unblock(c)
			return
		case errno == eintr:
			continue
		case errno != 0 || n == 0 || n > len(c.scratch):
			c.closeViewer(&v.viewer, handover.EndedClosed, "")
			return
		}
		if !v.take(c, c.scratch[:n], now) {
			return
		}
	}
	c.poll.again(v.fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLET)
}

// take handles one message; it reports false when the viewer is closed.
func (v *subscription) take(c *Core, msg []byte, now int64) bool {
	switch {
	case v.stream == nil && msg[0] == subscribe.MsgView:
		return v.join(c, msg[1:], now)
	case v.stream != nil && msg[0] == subscribe.MsgKeyFrame:
		if l := v.stream.followed; l != nil {
			l.wishKey(now)
		}
	case v.stream != nil && msg[0] == subscribe.MsgReplay:
		v.replay(now)
	default:
		c.closeViewer(&v.viewer, handover.EndedClosed, "")
		return false
	}
	return true
}

// join puts the viewer on a stream: hello is its name and where to go on.
func (v *subscription) join(c *Core, hello []byte, now int64) bool {
	name, resume, _ := bytes.Cut(hello, []byte{'\n'})
	v.index, v.base = uint64(uint16(rand.Uint32())), rand.Uint32()
	if len(resume) == 6 {
		v.index, v.base = uint64(binary.BigEndian.Uint16(resume)), binary.BigEndian.Uint32(resume[2:])
	}
	if err := c.admit(&v.viewer, string(name), now); err != nil {
		c.closeViewer(&v.viewer, handover.EndedStream, err.Error())
		return false
	}
	if v.info() != nil {
		c.closeViewer(&v.viewer, handover.EndedClosed, "")
		return false
	}
	return true
}

// send leaves SSRC and payload type to the gateway.
func (v *subscription) send(c *Core, head *[rtpHeader]byte, pkt []byte) unix.Errno {
	head[0] = pkt[0]
	head[1] |= pkt[1] &^ rtpMarker
	return c.sender.send(v.fd, head[:], pkt[rtpHeader:])
}

// described tells the gateway; one that misses it goes on with the old description.
func (v *subscription) described() { _ = v.info() }

func (v *subscription) info() error {
	msg := binary.BigEndian.AppendUint32([]byte{subscribe.MsgInfo}, v.base)
	return sendControl(v.fd, append(msg, v.stream.sdp...))
}

func (v *subscription) leaving(_ *Core, _, sentence string) {
	if sentence != "" {
		sendLast(v.fd, subscribe.MsgError, sentence)
	}
}
