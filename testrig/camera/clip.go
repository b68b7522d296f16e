package camera

import (
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
)

// maxClip bounds a clip's file in bytes.
const maxClip = 4 << 20

// Clip is a short film that is played round and round.
type Clip struct {
	SPS, PPS []byte

	frames []frame
	phase  uint64 // the counter that the first frame shows
}

type frame struct {
	nalus [][]byte // one access unit
	idr   bool
}

// ReadClip splits an Annex B stream into frames. It refuses what the camera
// cannot send from any key frame on: parameter sets that do not stand before
// every key frame, a first frame that is none, several slices a frame.
func ReadClip(data []byte, phase uint64) (*Clip, error) {
	if len(data) > maxClip {
		return nil, fmt.Errorf("clip of %d bytes is over the limit of %d", len(data), maxClip)
	}
	var nalus h264.AnnexB
	if err := nalus.Unmarshal(data); err != nil {
		return nil, fmt.Errorf("read clip: %w", err)
	}
	c := &Clip{phase: phase}
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
			if err := f.check(len(c.frames)); err != nil {
				return nil, err
			}
			c.frames, head = append(c.frames, f), nil
		default:
			return nil, fmt.Errorf("read clip: frame %d has a NAL unit of type %d", len(c.frames), typ)
		}
	}
	if len(c.frames) == 0 {
		return nil, errors.New("read clip: no frame in it")
	}
	return c, nil
}

func (f frame) check(index int) error {
	slice := f.nalus[len(f.nalus)-1]
	switch {
	case len(slice) < 2 || slice[1]&0x80 == 0: // first_mb_in_slice, ue(v), is not 0
		return fmt.Errorf("read clip: frame %d has several slices", index)
	case f.idr && len(f.nalus) < 3:
		return fmt.Errorf("read clip: key frame %d has no parameter sets before it", index)
	case index == 0 && !f.idr:
		return errors.New("read clip: the first frame is no key frame")
	}
	return nil
}

// frame is the one that shows counter n.
func (c *Clip) frame(n uint64) frame {
	size := uint64(len(c.frames))
	return c.frames[(n%size+size-c.phase%size)%size]
}

// Frame is the NAL units of the frame that shows counter n, its slice last; they
// must not be changed.
func (c *Clip) Frame(n uint64) (nalus [][]byte, key bool) {
	f := c.frame(n)
	return f.nalus, f.idr
}

// nextKey is the first counter from n on whose frame is a key frame.
func (c *Clip) nextKey(n uint64) uint64 {
	for !c.frame(n).idr {
		n++
	}
	return n
}
