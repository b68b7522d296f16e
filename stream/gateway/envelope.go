package gateway

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pion/sdp/v3"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// envelope is what a stream's viewers must be able to decode, whichever version
// publishes it. A viewer is let in only if it can, so none can stand in the way of
// an update that stays within.
type envelope struct {
	name  string // of the stream
	codec string
	h264  h264Envelope
	h265  h265Envelope
	// stereo says that Opus has two channels, which browsers mix down to one unless
	// they are told.
	stereo bool
}

// errNotForWebRTC means that browsers have no format for a stream.
var errNotForWebRTC = errors.New("WebRTC has no format for it")

// envelopeOf reads what the forwarder tells of a stream. Its declaration counts; its
// SDP counts where nothing is declared.
func envelopeOf(s handover.Stream) (envelope, error) {
	e := envelope{name: s.Name, codec: s.Codec}
	line, err := lineFormat(s)
	if err != nil {
		return e, err
	}
	switch s.Codec {
	case orders.H264:
		e.h264 = h264Of(line)
		if s.Profile != "" {
			e.h264 = parseH264(s.Profile)
		}
	case orders.H265:
		e.h265 = h265Of(line)
	case orders.Opus:
		e.stereo = line.params["sprop-stereo"] == "1"
	case orders.PCMU, orders.PCMA:
	default:
		return e, fmt.Errorf("the stream is %s: %w; watch it by RTSP", strings.ToUpper(s.Codec), errNotForWebRTC)
	}
	return e, nil
}

// lineFormat finds a stream's codec in its SDP, which the forwarder has checked.
func lineFormat(s handover.Stream) (payload, error) {
	var text sdp.SessionDescription
	if err := text.UnmarshalString(s.SDP); err != nil {
		return payload{}, fmt.Errorf("the stream's SDP: %w", err)
	}
	for _, m := range text.MediaDescriptions {
		for _, f := range payloads(m) {
			if f.codec == s.Codec {
				return f, nil
			}
		}
	}
	return payload{codec: s.Codec}, nil // the declaration tells the rest, or nothing does
}

// sound says that the stream goes into an audio section.
func (e envelope) sound() bool {
	return e.codec == orders.Opus || e.codec == orders.PCMU || e.codec == orders.PCMA
}

// pick chooses the format in which a viewer is given the stream, out of those that it
// offers. The error says what the viewer lacks.
func (e envelope) pick(offered []payload) (payload, error) {
	var usable []payload
	for _, f := range offered {
		if f.codec == e.codec {
			usable = append(usable, f)
		}
	}
	if len(usable) == 0 {
		return payload{}, fmt.Errorf("the stream %s is %s, which the offer does not have", e.name, strings.ToUpper(e.codec))
	}
	switch e.codec {
	case orders.H264:
		return e.h264.pick(usable)
	case orders.H265:
		return e.h265.pick(usable)
	}
	return usable[0], nil
}
