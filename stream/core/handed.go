package core

import (
	"fmt"
	"regexp"

	"slipstream/stream/handover"
)

func requestID(r *handover.Request) string {
	switch {
	case r.Describe != nil:
		return r.Describe.ID
	case r.Viewer != nil:
		return r.Viewer.ID
	case r.Player != nil:
		return r.Player.ID
	case r.Moved != nil:
		return r.Moved.ID
	case r.Reply != nil:
		return r.Reply.ID
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
	switch {
	case r.Describe != nil:
		return c.describe(r.Describe)
	case r.Viewer != nil:
		return c.serve(r.Viewer, fds, now)
	case r.Player != nil:
		return c.servePlayer(r.Player, fds, now)
	case r.Moved != nil:
		return c.move(r.Moved, fds, now)
	case r.Reply != nil:
		p := c.players[r.Reply.ID]
		if p == nil {
			return fmt.Errorf("viewer %q is not known, or plays no RTSP", r.Reply.ID)
		}
		return p.reply(c, r.Reply.Reply, now)
	}
	v := c.viewerOf(r.End.ID)
	if v == nil || v.place.kind == legRecord || v.place.kind == framedRecord {
		return fmt.Errorf("viewer %q is not known", r.End.ID)
	}
	c.closeViewer(v, handover.EndedAsked, "")
	return nil
}

// viewerOf finds a viewer that was handed over; nil: there is none of that name.
func (c *Core) viewerOf(id string) *viewer {
	if p := c.peers[id]; p != nil {
		return &p.viewer
	}
	if p := c.players[id]; p != nil {
		return &p.viewer
	}
	return nil
}

// viewerID is what a viewer may be called.
var viewerID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// checkRequest looks at a request whole before anything changes.
func checkRequest(r *handover.Request, descriptors int) error {
	asked := 0
	for _, is := range []bool{r.Describe != nil, r.Viewer != nil, r.Player != nil, r.Moved != nil, r.Reply != nil, r.End != nil} {
		if is {
			asked++
		}
	}
	if asked != 1 {
		return fmt.Errorf("a request that asks for %d things", asked)
	}
	if !viewerID.MatchString(requestID(r)) {
		return fmt.Errorf("viewer name %q", requestID(r))
	}
	if want := descriptorsOf(r, descriptors); descriptors != want {
		return fmt.Errorf("%d descriptors came, not %d", descriptors, want)
	}
	switch {
	case r.Viewer != nil:
		return checkViewer(r.Viewer)
	case r.Player != nil:
		return checkPlayer(r.Player)
	case r.Moved != nil && r.Moved.ICE != nil:
		return checkICE(r.Moved.ID, r.Moved.ICE)
	case r.Moved != nil && descriptors == 0:
		return fmt.Errorf("viewer %q: a move with neither a socket nor credentials", r.Moved.ID)
	}
	return nil
}

// descriptorsOf is how many must come with a request; a move may come with one.
func descriptorsOf(r *handover.Request, came int) int {
	switch {
	case r.Viewer != nil:
		return 1
	case r.Player != nil && r.Player.UDP:
		return 1 + 2*len(r.Player.Tracks)
	case r.Player != nil:
		return 1
	case r.Moved != nil:
		return min(came, 1)
	}
	return 0
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

func checkICE(id string, ice *handover.ICE) error {
	for name, text := range map[string]struct {
		value string
		least int
	}{
		"local ufrag": {ice.LocalUfrag, 4}, "remote ufrag": {ice.RemoteUfrag, 4}, "local password": {ice.LocalPwd, 22},
	} {
		if n := len(text.value); n < text.least || n > 256 { // RFC 8839 §5.4
			return fmt.Errorf("viewer %q: %s of %d characters", id, name, n)
		}
	}
	return nil
}

func checkViewer(v *handover.Viewer) error {
	if err := checkICE(v.ID, &v.ICE); err != nil {
		return err
	}
	if len(v.Flight) > maxDatagram {
		return fmt.Errorf("viewer %q: a DTLS flight of %d bytes", v.ID, len(v.Flight))
	}
	return checkTracks(v.ID, v.Tracks)
}
