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
type subscription struct {
	viewer
	track track
}

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
		c.silent[v] = now
	}
}

func newSubscription(fd int) *subscription {
	v := &subscription{viewer: viewer{fd: fd}}
	v.out = v
	v.track = track{trackState: &trackState{}, viewer: &v.viewer}
	v.tracks = []*track{&v.track}
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
	case v.track.stream == nil && msg[0] == subscribe.MsgView:
		return v.join(c, msg[1:], now)
	case v.track.stream != nil && msg[0] == subscribe.MsgKeyFrame:
		if l := v.track.stream.followed; l != nil {
			l.wishKey(now)
		}
	case v.track.stream != nil && msg[0] == subscribe.MsgReplay:
		v.track.replay(now)
	default:
		c.closeViewer(&v.viewer, handover.EndedClosed, "")
		return false
	}
	return true
}

// join puts the viewer on a stream: hello is its name and where to go on.
func (v *subscription) join(c *Core, hello []byte, now int64) bool {
	name, resume, _ := bytes.Cut(hello, []byte{'\n'})
	t := &v.track
	t.index, t.base = uint64(uint16(rand.Uint32())), rand.Uint32()
	if len(resume) == 6 {
		t.index, t.base = uint64(binary.BigEndian.Uint16(resume)), binary.BigEndian.Uint32(resume[2:])
	}
	if err := c.admit(t, string(name), now); err != nil {
		c.closeViewer(&v.viewer, handover.EndedStream, err.Error())
		return false
	}
	delete(c.silent, v)
	if v.info() != nil {
		c.closeViewer(&v.viewer, handover.EndedClosed, "")
		return false
	}
	return true
}

// sendUnit implements [egress].
func (v *subscription) sendUnit(c *Core, t *track, u *unit) bool { return t.sendEach(c, u, v.send) }

// send leaves SSRC and payload type to the gateway.
func (v *subscription) send(c *Core, _ *track, head *[rtpHeader]byte, pkt []byte) unix.Errno {
	head[0] = pkt[0]
	head[1] |= pkt[1] &^ rtpMarker
	return c.sender.send(v.fd, head[:], pkt[rtpHeader:])
}

// described tells the gateway; one that misses it goes on with the old description.
func (v *subscription) described(*track) { _ = v.info() }

func (v *subscription) info() error {
	msg := binary.BigEndian.AppendUint32([]byte{subscribe.MsgInfo}, v.track.base)
	return sendControl(v.fd, append(msg, v.track.stream.sdp...))
}

func (v *subscription) leaving(c *Core, _, sentence string) {
	delete(c.silent, v)
	if sentence != "" {
		sendLast(v.fd, subscribe.MsgError, sentence)
	}
}
