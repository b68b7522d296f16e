package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/sdp/v3"

	"slipstream/stream/handover"
)

// Payload types that RTSP viewers are told, where a codec has none of its own.
const (
	rtspVideo = 96
	rtspAudio = 97
)

const trackControl = "trackID=" // with the track's number

// rtspTrack is a stream as RTSP viewers are told it.
type rtspTrack struct {
	stream      string
	media       *description.Media
	payloadType uint8
	rate        int // of its RTP clock
	codec       string
	profile     string // that the stream declares
}

// tracksOf reads the description of a stream and the sound that goes with it.
func tracksOf(streams []handover.Stream) ([]rtspTrack, error) {
	if len(streams) == 0 || len(streams) > handover.MaxTracks {
		return nil, fmt.Errorf("the forwarder described %d streams", len(streams))
	}
	var all []rtspTrack
	for i, s := range streams {
		f, err := rtspFormat(s.SDP)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", s.Name, err)
		}
		m := &description.Media{Type: description.MediaTypeVideo, Control: trackControl + strconv.Itoa(i), Formats: []format.Format{f}}
		switch f.(type) {
		case *format.Opus, *format.G711, *format.MPEG4Audio, *format.MPEG4AudioLATM:
			m.Type = description.MediaTypeAudio
		}
		all = append(all, rtspTrack{s.Name, m, f.PayloadType(), f.ClockRate(), s.Codec, s.Profile})
	}
	return all, nil
}

// rtspFormat reads what a publisher says about its one medium, and sets our
// payload type in place of the publisher's.
func rtspFormat(text string) (format.Format, error) {
	var s sdp.SessionDescription
	if err := s.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("its SDP: %w", err)
	}
	if len(s.MediaDescriptions) != 1 || len(s.MediaDescriptions[0].MediaName.Formats) == 0 {
		return nil, errors.New("its SDP has not one medium with a format")
	}
	m := s.MediaDescriptions[0]
	f, err := format.Unmarshal(m, m.MediaName.Formats[0])
	if err != nil {
		return nil, fmt.Errorf("its SDP: %w", err)
	}
	switch f := f.(type) {
	case *format.H264:
		f.PayloadTyp, f.PacketizationMode = rtspVideo, 1
	case *format.H265:
		f.PayloadTyp = rtspVideo
	case *format.MJPEG: // has 26
	case *format.Opus:
		f.PayloadTyp = rtspAudio
	case *format.MPEG4Audio:
		f.PayloadTyp = rtspAudio
	case *format.MPEG4AudioLATM:
		f.PayloadTyp = rtspAudio
	case *format.G711:
		if f.PayloadTyp >= rtspVideo { // not one that says all (RFC 3551 §6)
			f.PayloadTyp = rtspAudio
		}
	default:
		return nil, fmt.Errorf("RTSP viewers are not given %s", f.Codec())
	}
	return f, nil
}

// rtspSDP is the answer to DESCRIBE.
func rtspSDP(stream string, tracks []rtspTrack) ([]byte, error) {
	s := description.Session{Title: stream}
	for _, t := range tracks {
		s.Medias = append(s.Medias, t.media)
	}
	return s.Marshal()
}

// noTrack stands for a URL that names a stream as a whole.
const noTrack = -1

// rtspPath finds the stream, and the track if there is one, that a URL names:
// /main, /main/ and /main/trackID=0.
func rtspPath(u *base.URL) (stream string, track int, ok bool) {
	if u == nil {
		return "", noTrack, false
	}
	stream, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !validName(stream) {
		return "", noTrack, false
	}
	if rest == "" {
		return stream, noTrack, true
	}
	digits, ok := strings.CutPrefix(rest, trackControl)
	n, err := strconv.ParseUint(digits, 10, 8)
	return stream, int(n), ok && err == nil
}

// rtspTracks describes what a stream is now.
func (g *Gateway) rtspTracks(ctx context.Context, stream string) ([]rtspTrack, error) {
	streams, err := g.forwarder.describe(ctx, stream)
	if errors.Is(err, errUnknownStream) {
		return nil, refuse(base.StatusNotFound, err.Error())
	}
	if err != nil {
		return nil, err
	}
	return tracksOf(streams)
}
