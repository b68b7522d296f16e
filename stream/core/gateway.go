package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
)

// gatewayConn is the connection of the gateway that hands viewers over. A new
// one takes the place of the one before; viewers stay whatever happens to it.
type gatewayConn struct {
	fd  int
	buf [handover.MaxMessage]byte
	oob [64]byte
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
	}
}

func (c *Core) closeGateway() {
	if c.gateway != nil {
		c.poll.close(c.gateway.fd)
		c.gateway = nil
	}
}

// answer sends a message to the gateway. Without one, or with one that does not
// read, the message is dropped.
func (c *Core) answer(m handover.Message) {
	if c.gateway == nil {
		return
	}
	body, err := json.Marshal(m)
	if err == nil {
		err = sendControl(c.gateway.fd, body)
	}
	if err != nil {
		c.log.Warn("the gateway takes no messages and is disconnected", "reason", err)
		c.closeGateway()
	}
}

// ready takes one request.
func (g *gatewayConn) ready(c *Core, now int64) {
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
		c.answer(handover.Message{ID: requestID(&req), Error: err.Error()})
	}
}

func requestID(r *handover.Request) string {
	switch {
	case r.Viewer != nil:
		return r.Viewer.ID
	case r.Moved != nil:
		return r.Moved.ID
	case r.End != nil:
		return r.End.ID
	}
	return ""
}

// handedOver does what the gateway asks. Descriptors that are kept are set to −1
// in fds.
func (c *Core) handedOver(r *handover.Request, fds []int, now int64) error {
	if err := checkRequest(r, len(fds)); err != nil {
		return err
	}
	if r.Viewer != nil {
		return c.serve(r.Viewer, fds, now)
	}
	p := c.peers[requestID(r)]
	if p == nil {
		return fmt.Errorf("viewer %q is not known", requestID(r))
	}
	if r.End != nil {
		c.closeViewer(&p.viewer, handover.EndedAsked, "")
		return nil
	}
	if err := p.attach(c, fds[0], now); err != nil {
		return err
	}
	fds[0] = -1
	c.answer(handover.Message{Taken: p.id})
	p.pump(c)
	return nil
}

// serve takes a viewer and shows it its first picture.
func (c *Core) serve(spec *handover.Viewer, fds []int, now int64) error {
	p, err := newPeer(spec)
	if err != nil {
		return err
	}
	key := nameKey(&spec.SRTP)
	switch {
	case c.peers[p.id] != nil:
		return fmt.Errorf("viewer %q is served already", p.id)
	case c.used.has(key):
		return fmt.Errorf("viewer %q comes with keys that were used before", p.id)
	}
	if err := p.attach(c, fds[0], now); err != nil {
		return err
	}
	fds[0] = -1
	if err := c.admit(&p.viewer, spec.Tracks[0].Stream, now); err != nil {
		c.poll.close(p.fd)
		return err
	}
	c.peers[p.id] = p
	c.used.add(key)
	c.answer(handover.Message{Taken: p.id})
	p.pump(c)
	p.tellTime(c, now)
	return nil
}

// viewerID is what a viewer may be called.
var viewerID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// checkRequest looks at a request whole before anything changes.
func checkRequest(r *handover.Request, descriptors int) error {
	asked, want := 0, 1
	for _, is := range []bool{r.Viewer != nil, r.Moved != nil, r.End != nil} {
		if is {
			asked++
		}
	}
	if r.End != nil {
		want = 0
	}
	switch {
	case asked != 1:
		return fmt.Errorf("a request that asks for %d things", asked)
	case !viewerID.MatchString(requestID(r)):
		return fmt.Errorf("viewer name %q", requestID(r))
	case descriptors != want:
		return fmt.Errorf("%d descriptors came, not %d", descriptors, want)
	case r.Viewer != nil:
		return checkViewer(r.Viewer)
	}
	return nil
}

func checkViewer(v *handover.Viewer) error {
	for name, text := range map[string]struct {
		value string
		least int
	}{
		"local ufrag": {v.ICE.LocalUfrag, 4}, "remote ufrag": {v.ICE.RemoteUfrag, 4}, "local password": {v.ICE.LocalPwd, 22},
	} {
		if n := len(text.value); n < text.least || n > 256 { // RFC 8839 §5.4
			return fmt.Errorf("viewer %q: %s of %d characters", v.ID, name, n)
		}
	}
	switch {
	case len(v.Tracks) != 1 || v.Tracks[0].PayloadType > 127:
		return fmt.Errorf("viewer %q: tracks or payload type", v.ID)
	case len(v.Flight) > maxDatagram:
		return fmt.Errorf("viewer %q: a DTLS flight of %d bytes", v.ID, len(v.Flight))
	}
	return nil
}
