package camera

import (
	"errors"
	"fmt"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
)

// maxClip bounds a clip's file in bytes.
const maxClip = 4 << 20

// Clip is a short film that is played round and round. It may consist of several
// takes of the same frames, which differ in where their key frames are: going over
// to another one at a key frame of it is what an encoder does that is asked for one.
type Clip struct {
	SPS, PPS []byte

	takes [][]frame // all of one length, at least one
	phase uint64    // the counter that their first frames show
}

type frame struct {
	nalus [][]byte // one access unit
	idr   bool
}

// ReadClip splits an Annex B stream into frames, and these into takes of
// [CounterModulo] if there are more. It refuses what the camera cannot send from any
// key frame on: parameter sets that do not stand before every key frame, a take
// whose first frame is none, several slices a frame.
func ReadClip(data []byte, phase uint64) (*Clip, error) {
	if len(data) > maxClip {
		return nil, fmt.Errorf("clip of %d bytes is over the limit of %d", len(data), maxClip)
	}
	var nalus h264.AnnexB
	if err := nalus.Unmarshal(data); err != nil {
		return nil, fmt.Errorf("read clip: %w", err)
	}
	c := &Clip{phase: phase}
	var frames []frame
	var head [][]byte // what stands before the frame's slice
	for _, nalu := range nalus {
		if len(nalu) == 0 {
			return nil, errors.New("read clip: empty NAL unit")
		}
		switch typ := h264.NALUType(nalu[0] & 0x1f); typ {
		case h264.NALUTypeSPS:
			c.SPS, head = nalu, append(head, nalu)
		case h264.NALUTypePPS:
			c.PPS, head = nalu, append(head, nalu)
		case h264.NALUTypeIDR, h264.NALUTypeNonIDR:
			f := frame{nalus: append(head, nalu), idr: typ == h264.NALUTypeIDR}
			if err := f.check(len(frames)); err != nil {
				return nil, err
			}
			frames, head = append(frames, f), nil
		default:
			return nil, fmt.Errorf("read clip: frame %d has a NAL unit of type %d", len(frames), typ)
		}
	}
	switch n := len(frames); {
	case n == 0:
		return nil, errors.New("read clip: no frame in it")
	case n > CounterModulo && n%CounterModulo != 0:
		return nil, fmt.Errorf("read clip: its %d frames are no whole number of takes of %d", n, CounterModulo)
	}
	c.takes = slices.Collect(slices.Chunk(frames, CounterModulo))
	return c, nil
}

func (f frame) check(index int) error {
	slice := f.nalus[len(f.nalus)-1]
	switch {
	case len(slice) < 2 || slice[1]&0x80 == 0: // first_mb_in_slice, ue(v), is not 0
		return fmt.Errorf("read clip: frame %d has several slices", index)
	case f.idr && len(f.nalus) < 3:
		return fmt.Errorf("read clip: key frame %d has no parameter sets before it", index)
	case index%CounterModulo == 0 && !f.idr:
		return fmt.Errorf("read clip: frame %d begins a take and is no key frame", index)
	}
	return nil
}

// frame is the one of a take that shows counter n.
func (c *Clip) frame(take int, n uint64) frame {
	size := uint64(len(c.takes[take]))
	return c.takes[take][(n%size+size-c.phase%size)%size]
}

// Frame is the NAL units of the first take's frame that shows counter n, its slice
// last; they must not be changed.
func (c *Clip) Frame(n uint64) (nalus [][]byte, key bool) {
	f := c.frame(0, n)
	return f.nalus, f.idr
}

// nextKey is the first counter from n on at which the first take has a key frame.
func (c *Clip) nextKey(n uint64) uint64 {
	for !c.frame(0, n).idr {
		n++
	}
	return n
}

// takeWithKey finds a take whose frame n is a key frame, the given one first.
func (c *Clip) takeWithKey(take int, n uint64) (int, bool) {
	for i := range c.takes {
		if t := (take + i) % len(c.takes); c.frame(t, n).idr {
			return t, true
		}
	}
	return take, false
}
