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
	// clockRate is of the RTP clock in Hz, unless the SDP says another.
	clockRate() int64
	// sound says that each packet is an access unit of its own, and a key frame.
	sound() bool
	// encoders names programs that make it, for whoever is told to use them.
	encoders() string
	// describe reads the format of an SDP. It reports false if the format is another
	// codec's; refusal says why one of its own must be refused, or is "".
	describe(f format.Format) (m medium, refusal string, ok bool)
	// look tells what one RTP payload, not empty, says of its access unit. What it
	// returns lies in the payload. Refusal says why there can be no such payload, or
	// is "".
	look(payload []byte) (info unitInfo, refusal string)
	// learn reads a parameter set that is new to the line, before it is kept, and
	// returns why it must be refused, or "".
	learn(p *parameterSets, kind int, set []byte) (refusal string)
	// whole says that the sets are enough for a decoder, and may be sent to it as
	// packets of their own.
	whole(p *parameterSets) bool
}

// medium is what an SDP says of a line.
type medium struct {
	rate int64 // of the RTP clock; 0: the codec's
	sets [maxSets][]byte
}

// unitInfo is what one RTP payload tells about its access unit.
type unitInfo struct {
	key  bool // a picture begins that needs none before it
	sets [maxSets][]byte
	// The size of a picture that has it in itself, 0 otherwise, and to a multiple of
	// what it is rounded up.
	width, height, step int32
}

// codecs by the names that declarations have for them.
var codecs = map[string]codec{
	orders.H264:  h264{},
	orders.H265:  h265{},
	orders.MJPEG: mjpeg{},
	orders.Opus:  opus{},
	orders.PCMU:  g711{mulaw: true},
	orders.PCMA:  g711{},
	orders.AAC:   aac{},
}

// codecOf finds the codec of a declared stream.
func codecOf(declared string) (codec, error) {
	if c := codecs[strings.ToLower(declared)]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("codec %s is not supported; use h264, h265, mjpeg, opus, pcmu, pcma or aac", declared)
}

// codecName is the name of a codec in declarations.
func codecName(c codec) string {
	for name, its := range codecs {
		if its == c {
			return name
		}
	}
	return ""
}

// Refusals that several codecs have.
const (
	reorderRefusal = "the stream reorders pictures (B-frames); set the encoder to none (x264, x265: bframes=0, ffmpeg: -bf 0)"
	layerRefusal   = "the stream has layers (SVC, SHVC, MVC); set the encoder to one layer"
)

// parameterSets are the newest ones of a line, from SDP or from the stream. They
// are plain data.
type parameterSets struct {
	sets          [maxSets]parameterSet
	width, height int32 // of the picture
	step          int32 // to a multiple of which they are rounded up; 0: they are not
}

// fit says that the picture has a declared size, if both are known.
func (p *parameterSets) fit(width, height int) bool {
	step := int(max(p.step, 1))
	rounded := func(n int) int { return (n + step - 1) / step * step }
	return width <= 0 || p.width <= 0 || int(p.width) == rounded(width) && int(p.height) == rounded(height)
}

// same says that a decoder that has the one needs nothing to go on with the other.
func (p *parameterSets) same(other *parameterSets) bool {
	for kind := range p.sets {
		if !bytes.Equal(p.sets[kind].get(), other.sets[kind].get()) {
			return false
		}
	}
	return true
}

// any says that the codec has parameter sets, and that some are known.
func (p *parameterSets) any() bool {
	for kind := range p.sets {
		if p.sets[kind].n > 0 {
			return true
		}
	}
	return false
}

type parameterSet struct {
	n     uint16
	bytes [maxSetBytes]byte
}

func (s *parameterSet) get() []byte { return s.bytes[:min(int(s.n), len(s.bytes))] }

// set keeps a parameter set that is new, and returns why it must be refused, or "".
func (p *parameterSets) set(c codec, kind int, set []byte) (refusal string) {
	if len(set) > maxSetBytes {
		return fmt.Sprintf("a parameter set of %d bytes is over the limit of %d", len(set), maxSetBytes)
	}
	if refusal := c.learn(p, kind, set); refusal != "" {
		return refusal
	}
	kept := &p.sets[kind]
	kept.n = uint16(copy(kept.bytes[:], set))
	return ""
}
