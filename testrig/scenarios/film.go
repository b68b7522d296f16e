package scenarios

import (
	"bytes"
	"slices"
	"sync"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"slipstream/testrig/camera"
)

const (
	maxShot  = 4 << 20 // bytes from a key frame to the picture that is kept
	maxShots = 16      // of one viewer
)

// NAL units of H.264 as a file has them (ITU-T H.264, annex B).
const (
	naluStart = "\x00\x00\x01"
	naluTypes = 0x1f
	naluIDR   = 5
)

// film keeps of an H.264 stream what it takes to decode pictures of moments that matter.
// It is given each packet that a viewer gets.
type film struct {
	mu     sync.Mutex // guards what follows
	shots  []shot
	wanted []string // captions of the next whole picture

	packets  codecs.H264Packet
	next     uint16
	time     uint32
	picture  []byte // that is coming
	pictures []byte // from the latest key frame on
	whole    bool   // nothing of them is missing
	version  string // that the last stamp named
}

// shot is a piece of a stream, whose last picture is meant.
type shot struct {
	caption string
	stream  []byte
}

// take keeps the next whole picture.
func (f *film) take(caption string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.want(caption)
}

func (f *film) want(caption string) {
	taken := slices.ContainsFunc(f.shots, func(s shot) bool { return s.caption == caption })
	if !taken && !slices.Contains(f.wanted, caption) {
		f.wanted = append(f.wanted, caption)
	}
}

func (f *film) packet(p *rtp.Packet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.whole = f.whole && p.SequenceNumber == f.next
	f.next = p.SequenceNumber + 1
	if p.Timestamp != f.time {
		f.picture, f.time = nil, p.Timestamp
	}
	nalus, err := f.packets.Unmarshal(p.Payload)
	if err != nil || len(f.picture)+len(f.pictures)+len(nalus) > maxShot {
		f.whole = false
		return
	}
	f.picture = append(f.picture, nalus...)
	if p.Marker {
		f.close()
	}
}

// close takes a picture in.
func (f *film) close() {
	for nalu := range bytes.SplitSeq(f.picture, []byte(naluStart)) {
		if len(nalu) > 0 && nalu[0]&naluTypes == naluIDR {
			f.pictures, f.whole = nil, true
		}
		if s, is := camera.ParseStamp(nalu); is && s.Version != f.version {
			f.version = s.Version
			f.want("version " + s.Version + " comes")
		}
	}
	f.pictures, f.picture = append(f.pictures, f.picture...), nil
	if !f.whole {
		return
	}
	for _, caption := range f.wanted {
		if len(f.shots) < maxShots {
			f.shots = append(f.shots, shot{caption, bytes.Clone(f.pictures)})
		}
	}
	f.wanted = nil
}

// reel is all that was kept, and the last picture.
func (f *film) reel() []shot {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pictures) == 0 {
		return f.shots
	}
	return append(slices.Clone(f.shots), shot{"in the end", bytes.Clone(f.pictures)})
}
