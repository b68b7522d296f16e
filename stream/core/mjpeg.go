package core

import (
	"encoding/binary"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
)

// RFC 2435 §3.1.
const (
	jpegHeader    = 8
	jpegStep      = 8   // pixels: the unit of the picture's size
	jpegRestarts  = 64  // added to a type that has restart markers, with a header for them
	jpegOwnTables = 128 // Q from here on: the first packet has the tables
)

// mjpeg is a [codec]: RFC 2435. Every picture is a key frame, with its tables and
// its size in it.
type mjpeg struct{ unset }

func (mjpeg) clockRate() int64 { return videoRate }
func (mjpeg) sound() bool      { return false }
func (mjpeg) encoders() string { return "ffmpeg: -c:v mjpeg, GStreamer: jpegenc" }

const (
	jpegRefusal       = "a payload that is no JPEG of RFC 2435 (baseline, 4:2:0 or 4:2:2, at most 2040 pixels each way)"
	jpegTablesRefusal = "a JPEG without its quantization tables; send them with every picture"
)

// describe implements [codec].
func (mjpeg) describe(f format.Format) (m medium, refusal string, ok bool) {
	_, ok = f.(*format.MJPEG)
	return m, "", ok
}

// look implements [codec].
func (mjpeg) look(payload []byte) (info unitInfo, refusal string) {
	if len(payload) <= jpegHeader || payload[4]&^jpegRestarts > 1 || payload[5] == 0 {
		return info, jpegRefusal
	}
	if payload[1]|payload[2]|payload[3] != 0 {
		return info, "" // goes on with a picture
	}
	info.key = true
	info.width, info.height, info.step = int32(payload[6])*jpegStep, int32(payload[7])*jpegStep, jpegStep
	if info.width == 0 || info.height == 0 {
		return info, jpegRefusal
	}
	rest := payload[jpegHeader:]
	if payload[4] >= jpegRestarts {
		rest = rest[min(4, len(rest)):]
	}
	if payload[5] < jpegOwnTables {
		return info, ""
	}
	if len(rest) < 4 {
		return info, jpegRefusal
	}
	switch n := int(binary.BigEndian.Uint16(rest[2:])); {
	case n == 0:
		return info, jpegTablesRefusal
	case n > len(rest)-4:
		return info, jpegRefusal
	}
	return info, ""
}
