package core

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/bluenviron/gortsplib/v5/pkg/format"

	"slipstream/stream/orders"
)

const (
	// maxSets is how many kinds of parameter sets a codec may have.
	maxSets = 3

	// maxSetBytes bounds one parameter set, so that it fits a packet of its own.
	maxSetBytes = 1024
)

// codec is what the forwarder must know of a payload format: where access units
// and key frames begin, and what a decoder needs before one.
type codec interface {
	// clockRate is of the RTP clock, in Hz.
	clockRate() int64
	// sound says that each packet is an access unit of its own, and a key frame.
	sound() bool
	// describe reads the format of an SDP, which has the codec's parameter sets if
	// it has any. It reports false if the format is another codec's.
	describe(f format.Format) (sets [maxSets][]byte, ok bool)
	// look tells what one RTP payload, not empty, says of its access unit. What it
	// returns lies in the payload. It reports false for a payload that is not the
	// codec's; refusal then says what it is.
	look(payload []byte) (info unitInfo, ok bool)
	refusal() string
	// learn reads a parameter set that is new to the line, before it is kept, and
	// returns why it must be refused, or "".
	learn(p *parameterSets, kind int, set []byte) (refusal string)
	// whole says that the sets are enough for a decoder.
	whole(p *parameterSets) bool
}

// unitInfo is what one RTP payload tells about its access unit.
type unitInfo struct {
	key       bool // a picture begins that needs none before it
	reordered bool // a picture begins that is not shown in the order of coding
	sets      [maxSets][]byte
}

// codecs by the names that declarations have for them.
var codecs = map[string]codec{
	orders.H264: h264{},
}

// codecOf finds the codec of a declared stream.
func codecOf(declared string) (codec, error) {
	if c := codecs[strings.ToLower(declared)]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("codec %s is not supported", declared)
}

// parameterSets are the newest ones of a line, from SDP or from the stream. They
// are plain data.
type parameterSets struct {
	sets          [maxSets]parameterSet
	width, height int32 // of the picture
}

type parameterSet struct {
	n     uint16
	bytes [maxSetBytes]byte
}

func (s *parameterSet) get() []byte { return s.bytes[:min(int(s.n), len(s.bytes))] }

// set keeps a parameter set, and returns why it must be refused, or "".
func (p *parameterSets) set(c codec, kind int, set []byte) (refusal string) {
	kept := &p.sets[kind]
	if bytes.Equal(set, kept.get()) {
		return ""
	}
	if len(set) > maxSetBytes {
		return fmt.Sprintf("a parameter set of %d bytes is over the limit of %d", len(set), maxSetBytes)
	}
	if refusal := c.learn(p, kind, set); refusal != "" {
		return refusal
	}
	kept.n = uint16(copy(kept.bytes[:], set))
	return ""
}
