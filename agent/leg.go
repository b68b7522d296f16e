package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"slipstream/agent/link"
	"slipstream/agent/wire"
	"slipstream/stream/handover"
	"slipstream/stream/orders"
	"slipstream/verify"
)

var _ link.Forwarder = (*Agent)(nil)

// legPayload is the payload type of a leg's picture; that of its sound is the next one.
const legPayload = 96

// OpenLeg implements [link.Forwarder]. Who watches by a leg agrees to what the permanent
// version declares, as all viewers do.
func (a *Agent) OpenLeg(ctx context.Context, leg wire.Leg, socket *os.File, framed bool, ended func()) ([]wire.LegTrack, error) {
	a.mu.Lock()
	permanent := a.seen.state.Permanent
	a.mu.Unlock()
	tracks, err := legTracks(permanent, leg)
	if err != nil {
		return nil, err
	}
	return tracks, a.forward.openLeg(ctx, orders.Leg{Viewer: legViewer(leg, tracks), Framed: framed}, socket, ended)
}

// EndLeg implements [link.Forwarder].
func (a *Agent) EndLeg(id string) { a.forward.endLeg(id) }

// legTracks are the stream of a leg and its sound, if viewers by WebRTC can have it.
func legTracks(v Version, leg wire.Leg) ([]wire.LegTrack, error) {
	i := slices.Index(v.Streams, leg.Stream)
	if i < 0 {
		return nil, fmt.Errorf("the permanent version has no stream %.70q", leg.Stream)
	}
	picture := v.envelope(i)
	if picture.Codec != orders.H264 && picture.Codec != orders.H265 {
		return nil, fmt.Errorf("the stream %s is %s, which cannot be watched through the panel", picture.Name, picture.Codec)
	}
	carried := []orders.Stream{picture}
	if j := slices.Index(v.Streams, picture.Audio); picture.Audio != "" && j >= 0 {
		switch sound := v.envelope(j); sound.Codec {
		case verify.CodecOpus, verify.CodecPCMU, verify.CodecPCMA:
			carried = append(carried, sound)
		}
	}
	var tracks []wire.LegTrack
	for n, s := range carried {
		tracks = append(tracks, wire.LegTrack{
			Stream: s.Name, Codec: s.Codec, Profile: s.Profile, Width: s.Width, Height: s.Height,
			SSRC: leg.SSRC + uint32(n), PayloadType: legPayload + uint8(n),
		})
	}
	return tracks, nil
}

// legViewer is a leg in the forwarder's words.
func legViewer(leg wire.Leg, tracks []wire.LegTrack) handover.Viewer {
	v := handover.Viewer{
		ID: leg.ID,
		SRTP: handover.SRTP{
			Profile:  handover.AES128,
			LocalKey: leg.DeviceKey, LocalSalt: leg.DeviceSalt, RemoteKey: leg.PanelKey, RemoteSalt: leg.PanelSalt,
		},
		ICE: handover.ICE{LocalUfrag: leg.DeviceUfrag, LocalPwd: leg.DevicePwd, RemoteUfrag: leg.PanelUfrag},
	}
	for _, t := range tracks {
		v.Tracks = append(v.Tracks, handover.Track{
			Stream: t.Stream, SSRC: t.SSRC, PayloadType: t.PayloadType, Codec: t.Codec, Profile: t.Profile,
		})
	}
	return v
}

var errNoForwarder = errors.New("the forwarder is not there just now")

// openLeg gives the forwarder a leg, and waits for its answer. ended is called when it
// has let go of it.
func (f *forwarder) openLeg(ctx context.Context, leg orders.Leg, socket *os.File, ended func()) error {
	f.setLeg(leg.Viewer.ID, ended)
	answered := make(chan orders.Message, 1)
	q := question{Request: orders.Request{Leg: &leg}, told: func(m orders.Message) { answered <- m }}
	err := errNoForwarder
	if f.ask(q, int(socket.Fd())) {
		select {
		case m := <-answered:
			if m.Result == orders.ResultOK {
				return nil
			}
			err = errors.New(m.Error)
		case <-ctx.Done():
			f.endLeg(leg.Viewer.ID) // it may come all the same
			err = ctx.Err()
		}
	}
	f.setLeg(leg.Viewer.ID, nil)
	return err
}

func (f *forwarder) endLeg(id string) {
	f.ask(question{Request: orders.Request{EndLeg: id}, told: func(orders.Message) {}})
}

func (f *forwarder) setLeg(id string, ended func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.legs, id)
	if ended != nil {
		if f.legs == nil {
			f.legs = map[string]func(){}
		}
		f.legs[id] = ended
	}
}

func (f *forwarder) legEnded(e handover.Ended) {
	f.log.Info("a leg has ended", "leg", e.ID, "reason", e.Reason, "detail", e.Detail, "packets", e.Report.Packets, "resent", e.Report.Resent)
	f.mu.Lock()
	ended := f.legs[e.ID]
	delete(f.legs, e.ID)
	f.mu.Unlock()
	if ended != nil {
		ended()
	}
}
