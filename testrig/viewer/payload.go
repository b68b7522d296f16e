package viewer

import (
	"encoding/binary"

	"slipstream/testrig/camera"
)

// NAL unit types, RFC 6184 §5.2.
const (
	typeSlice = 1
	typeIDR   = 5
	typeSTAPA = 24
	typeFUA   = 28
)

// contents is what one RTP payload tells about its access unit.
type contents struct {
	slice   bool // a slice begins here
	idr     bool // and is one of a key frame
	stamp   camera.Stamp
	stamped bool
}

// inspect reads an H.264 payload. A malformed one simply tells nothing; its
// access unit then counts as incomplete.
func inspect(payload []byte) (c contents) {
	if len(payload) < 2 {
		return c
	}
	switch payload[0] & 0x1f {
	case typeSTAPA:
		for rest := payload[1:]; len(rest) > 2; {
			size := int(binary.BigEndian.Uint16(rest))
			if size == 0 || len(rest) < 2+size {
				return c
			}
			c.nalu(rest[2 : 2+size])
			rest = rest[2+size:]
		}
	case typeFUA:
		if start := payload[1]&0x80 != 0; start {
			c.nalu([]byte{payload[1] & 0x1f})
		}
	default:
		c.nalu(payload)
	}
	return c
}

func (c *contents) nalu(nalu []byte) {
	switch nalu[0] & 0x1f {
	case typeIDR:
		c.slice, c.idr = true, true
	case typeSlice:
		c.slice = true
	}
	if s, ok := camera.ParseStamp(nalu); ok {
		c.stamp, c.stamped = s, true
	}
}
