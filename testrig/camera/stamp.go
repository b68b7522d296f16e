package camera

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
)

// stampUUID marks our SEI user data among that of others.
var stampUUID = [16]byte{0x5c, 0x1d, 0x57, 0x2e, 0xa3, 0x0b, 0x4e, 0x61, 0x9b, 0x7f, 0x70, 0xc4, 0x21, 0xe8, 0x36, 0xd9}

// maxVersion bounds the version string of a stamp, in bytes: the whole message
// stays below 255 bytes, so its size is one byte.
const maxVersion = 64

const (
	naluSEI      = 6
	seiUserData  = 5 // user_data_unregistered, H.264 §D.1.7
	seiTrailing  = 0x80
	stampNumbers = 8 + 8 + 8 + stateSize
)

// Stamp tells a viewer without a decoder what an access unit shows.
type Stamp struct {
	Version  string
	Counter  uint64        // the frame counter of [FrameAt]
	Captured time.Duration // CLOCK_MONOTONIC
	Count    uint64        // pictures so far, see [State]; 0 on other streams than the first
	Given    State         // what the version began with
}

// SEI is the stamp as a NAL unit: UUID, u64be counter, u64be nanoseconds, u64be count,
// the state that was given, version.
func (s Stamp) SEI() []byte {
	body := bytes.Clone(stampUUID[:])
	body = binary.BigEndian.AppendUint64(body, s.Counter)
	body = binary.BigEndian.AppendUint64(body, uint64(s.Captured))
	body = binary.BigEndian.AppendUint64(body, s.Count)
	body = append(body, s.Given.bytes()...)
	body = append(body, s.Version[:min(len(s.Version), maxVersion)]...)
	payload := append([]byte{seiUserData, byte(len(body))}, body...)
	return append([]byte{naluSEI}, escape(append(payload, seiTrailing))...)
}

// ParseStamp reads the stamp from a NAL unit; ok is false for any other unit.
func ParseStamp(nalu []byte) (s Stamp, ok bool) {
	if len(nalu) == 0 || nalu[0]&0x1f != naluSEI {
		return Stamp{}, false
	}
	raw := h264.EmulationPreventionRemove(nalu)[1:]
	const head = len(stampUUID) + stampNumbers
	if len(raw) < 2+head || raw[0] != seiUserData || len(raw) < 2+int(raw[1]) || int(raw[1]) < head {
		return Stamp{}, false
	}
	body := raw[2 : 2+int(raw[1])]
	if !bytes.Equal(body[:len(stampUUID)], stampUUID[:]) {
		return Stamp{}, false
	}
	numbers := body[len(stampUUID):]
	return Stamp{
		Version:  string(body[head:]),
		Counter:  binary.BigEndian.Uint64(numbers),
		Captured: time.Duration(binary.BigEndian.Uint64(numbers[8:])),
		Count:    binary.BigEndian.Uint64(numbers[16:]),
		Given:    readState(numbers[24:]),
	}, true
}

// escape adds the emulation prevention bytes of H.264 §7.4.1, so that no number
// in a stamp looks like a start code.
func escape(raw []byte) []byte {
	out := make([]byte, 0, len(raw)+4)
	zeros := 0
	for _, b := range raw {
		if zeros >= 2 && b <= 3 {
			out = append(out, 3)
			zeros = 0
		}
		out = append(out, b)
		zeros++
		if b != 0 {
			zeros = 0
		}
	}
	return out
}

func (s Stamp) String() string { return fmt.Sprintf("%s #%d", s.Version, s.Counter) }
