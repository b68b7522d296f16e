package ingest

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
)

// onlyH264 returns the one medium of an announcement and its SDP, or why it
// cannot be forwarded and what to change.
func onlyH264(d *description.Session) (*description.Media, []byte, error) {
	for _, m := range d.Medias {
		for _, f := range m.Formats {
			if _, ok := f.(*format.H264); !ok {
				return nil, nil, fmt.Errorf("%s %s is not forwarded; publish H.264 video alone (ffmpeg: -c:v libx264 -an)", f.Codec(), m.Type)
			}
		}
	}
	if len(d.Medias) != 1 || len(d.Medias[0].Formats) != 1 {
		return nil, nil, errors.New("more than one video is announced; publish each to its own URL")
	}
	m := d.Medias[0]
	if f := m.Formats[0].(*format.H264); f.PacketizationMode > 1 {
		return nil, nil, fmt.Errorf("H.264 packetization-mode %d is not forwarded; use mode 1", f.PacketizationMode)
	}
	text, err := description.Session{Medias: []*description.Media{m}}.Marshal()
	if err != nil {
		return nil, nil, fmt.Errorf("write SDP: %w", err)
	}
	return m, text, nil
}
