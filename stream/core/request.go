package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var (
	errNothing = errors.New("nothing to read now")
	errGone    = errors.New("the connection has ended")
)

// acceptOwn accepts a connection of the forwarder's own user or root; others are
// refused. It reports false when there is none left.
func (c *Core) acceptOwn(listener int, what string) (conn int, ok bool) {
	for {
		conn, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			c.poll.rest(listener, err)
			return -1, false
		}
		if uid, err := peerUID(conn); err == nil && (uid == os.Getuid() || uid == 0) {
			return conn, true
		}
		c.log.Warn("a connection of another user is refused", "what", what)
		unix.Close(conn)
	}
}

// receiveRequest reads one JSON message and the descriptors that came with it,
// which are the caller's to close whatever the error says.
func receiveRequest(fd int, buf, oob []byte, into any) (fds []int, err error) {
	n, oobn, flags, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if errors.Is(err, eagain) || errors.Is(err, eintr) {
		return nil, errNothing
	}
	if err != nil {
		return nil, errGone
	}
	fds = descriptors(oob[:oobn])
	switch {
	case n == 0:
		return fds, errGone
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		return fds, fmt.Errorf("a request over %d bytes, or with too many descriptors", len(buf))
	}
	return fds, json.Unmarshal(buf[:n], into)
}

// descriptors returns the passed descriptors.
func descriptors(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if more, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, more...)
		}
	}
	return fds
}

// closeAll closes the descriptors that were not kept.
func closeAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
