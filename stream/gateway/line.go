package gateway

import (
	"fmt"

	"github.com/pion/sdp/v3"

	"slipstream/stream/orders"
)

// line is what the forwarder's SDP says about a stream.
type line struct {
	sps, pps []byte // nil when the stream carries them itself
}

// parseLine reads the SDP of one medium.
func parseLine(text []byte) (line, error) {
	var s sdp.SessionDescription
	if err := s.Unmarshal(text); err != nil {
		return line{}, fmt.Errorf("the stream's SDP: %w", err)
	}
	if len(s.MediaDescriptions) != 1 {
		return line{}, fmt.Errorf("the stream's SDP has %d media, not one", len(s.MediaDescriptions))
	}
	all := payloads(s.MediaDescriptions[0])
	if len(all) == 0 || all[0].codec != orders.H264 {
		return line{}, fmt.Errorf("the stream is not H.264")
	}
	var l line
	l.sps, l.pps = parameterSets(all[0].params["sprop-parameter-sets"])
	return l, nil
}
