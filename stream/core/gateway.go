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
	key := nameKey(&spec.SRTP)
	switch {
	case c.peers[spec.ID] != nil:
		return fmt.Errorf("viewer %q is served already", spec.ID)
	case c.used.has(key):
		return fmt.Errorf("viewer %q comes with keys that were used before", spec.ID)
	}
	p, err := c.takePeer(spec, fds, now)
	if err != nil {
		return err
	}
	c.peers[p.id] = p
	c.used.add(key)
	p.record.kind = peerRecord
	c.answer(handover.Message{Taken: p.id})
	p.pump(c)
	p.tellTime(c, now)
	return nil
}

// takePeer makes a viewer and puts it on its streams.
func (c *Core) takePeer(spec *handover.Viewer, fds []int, now int64) (*peer, error) {
	r, err := c.records.take(spec)
	if err != nil {
		return nil, err
	}
	p, err := newPeer(spec, r)
	if err == nil {
		p.begin(spec.Tracks)
		err = p.attach(c, fds[0], now)
	}
	if err != nil {
		c.records.free(r)
		return nil, err
	}
	fds[0] = -1
	for i, t := range p.tracks {
		if err := c.admit(t, spec.Tracks[i].Stream, now); err != nil {
			c.abandon(&p.viewer)
			return nil, err
		}
	}
	return p, nil
}

// abandon undoes what was begun for a viewer that could not be taken.
func (c *Core) abandon(v *viewer) {
	c.poll.close(v.fd)
	v.fd = -1
	for _, t := range v.tracks {
		t.leave()
	}
	c.records.free(v.record)
	v.record = nil
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

// checkTracks refuses tracks that no viewer has.
func checkTracks(id string, tracks []handover.Track) error {
	if n := len(tracks); n < 1 || n > handover.MaxTracks {
		return fmt.Errorf("viewer %q has %d tracks, not 1 to %d", id, n, handover.MaxTracks)
	}
	for i, t := range tracks {
		if t.PayloadType > 127 {
			return fmt.Errorf("viewer %q: payload type %d", id, t.PayloadType)
		}
		for _, other := range tracks[:i] {
			if other.Stream == t.Stream || other.SSRC == t.SSRC {
				return fmt.Errorf("viewer %q has two tracks of one stream or SSRC", id)
			}
		}
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
	case len(v.Flight) > maxDatagram:
		return fmt.Errorf("viewer %q: a DTLS flight of %d bytes", v.ID, len(v.Flight))
	}
	return checkTracks(v.ID, v.Tracks)
}
