package ingest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"

	"slipstream/stream/orders"
)

// medium is one announced medium that is forwarded.
type medium struct {
	*description.Media
	codec  string // as in package orders
	sound  bool
	format format.Format
	cutter func(sender) cutter
}

func cutH264(s sender) cutter  { return &nalCutter{sender: s, codec: h264} }
func cutH265(s sender) cutter  { return &nalCutter{sender: s, codec: h265} }
func cutJPEG(s sender) cutter  { return &jpegCutter{s} }
func cutNever(s sender) cutter { return &whole{s} }

const whatIsForwarded = "publish H.264, H.265 or MJPEG video, and Opus, G.711 or AAC audio (ffmpeg: -c:v libx264 -c:a libopus, or -an)"

// readMedium says how a medium is forwarded, or why it cannot be and what to change.
func readMedium(m *description.Media) (medium, error) {
	if len(m.Formats) != 1 {
		return medium{}, fmt.Errorf("a medium of type %s is announced in %d formats; announce it in one", m.Type, len(m.Formats))
	}
	f := m.Formats[0]
	switch f := f.(type) {
	case *format.H264:
		if f.PacketizationMode > 1 {
			return medium{}, fmt.Errorf("H.264 packetization-mode %d is not forwarded; use mode 1", f.PacketizationMode)
		}
		return medium{m, orders.H264, false, f, cutH264}, nil
	case *format.H265:
		if f.MaxDONDiff > 0 {
			return medium{}, errors.New("H.265 that is sent in another order than that of decoding (sprop-max-don-diff) is not forwarded; set it to 0")
		}
		return medium{m, orders.H265, false, f, cutH265}, nil
	case *format.MJPEG:
		return medium{m, orders.MJPEG, false, f, cutJPEG}, nil
	case *format.Opus:
		if f.ChannelCount > 2 {
			return medium{}, fmt.Errorf("opus of %d channels is not forwarded; use one or two (ffmpeg: -ac 2)", f.ChannelCount)
		}
		return medium{m, orders.Opus, true, f, cutNever}, nil
	case *format.G711:
		codec := orders.PCMA
		if f.MULaw {
			codec = orders.PCMU
		}
		if f.SampleRate != 8000 || f.ChannelCount != 1 {
			return medium{}, fmt.Errorf("G.711 of %d Hz and %d channels is not forwarded; use 8000 Hz and one channel (ffmpeg: -ar 8000 -ac 1)", f.SampleRate, f.ChannelCount)
		}
		return medium{m, codec, true, f, cutNever}, nil
	case *format.MPEG4AudioLATM:
		return medium{}, errors.New("AAC as LATM (RFC 6416) is not forwarded; send it as RFC 3640 has it (GStreamer: rtspclientsink sink_1::payloader=rtpmp4gpay)")
	case *format.MPEG4Audio:
		if f.Config.SampleRate <= 0 || f.Config.ExtensionSampleRate != 0 {
			return medium{}, errors.New("AAC with spectral band replication is not forwarded; use AAC-LC (ffmpeg: -c:a aac -profile:a aac_low)")
		}
		return medium{m, orders.AAC, true, f, cutNever}, nil
	}
	return medium{}, fmt.Errorf("%s %s is not forwarded; %s", f.Codec(), m.Type, whatIsForwarded)
}

// describe is the SDP of the one medium.
func (m medium) describe() ([]byte, error) {
	text, err := description.Session{Medias: []*description.Media{m.Media}}.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write SDP: %w", err)
	}
	return text, nil
}

// assign finds a declared stream for each announced medium: the one that the path
// names for the picture (or for a medium that is alone), and the one that this
// names as its audio for the sound.
func (c Config) assign(name string, d *description.Session) (map[string]medium, error) {
	var all []medium
	for _, m := range d.Medias {
		read, err := readMedium(m)
		if err != nil {
			return nil, err
		}
		all = append(all, read)
	}
	switch {
	case len(all) == 1:
		return map[string]medium{name: all[0]}, nil
	case len(all) == 0:
		return nil, errors.New("no medium is announced")
	case len(all) > 2 || all[0].sound == all[1].sound:
		return nil, errors.New("more than one picture or sound is announced; publish each to its own URL")
	}
	picture, sound := all[0], all[1]
	if picture.sound {
		picture, sound = sound, picture
	}
	audio := c.stream(name).Audio
	if audio == "" {
		return nil, fmt.Errorf("sound (%s) is announced beside the picture, and no stream is declared for it: "+
			`declare one with "codec": %q in the manifest and name it as "audio" of stream %q, or publish without sound (ffmpeg: -an)`,
			strings.ToLower(sound.format.Codec()), sound.codec, name)
	}
	return map[string]medium{name: picture, audio: sound}, nil
}
