package stand

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"

	"slipstream/stream/publish"
	"slipstream/testrig/camera"
)

const (
	rtpClock   = 90000
	maxPayload = 1200 - 12 // bytes of RTP payload: 1200 with the header
)

// Parameter sets of x264: baseline, 320 × 180. What follows them in a scene is no
// picture, but the forwarder and package viewer look no deeper.
var (
	sps = mustHex("6742c00dd901419f9f0110000003001000000303c0f142a480")
	pps = mustHex("68cb83cb20")
)

func mustHex(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err) // a constant
	}
	return b
}

// SDP declares a scene.
var SDP = fmt.Appendf(nil, "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=scene\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"+
	"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=%x;sprop-parameter-sets=%s,%s\r\n",
	sps[1:4], base64.StdEncoding.EncodeToString(sps), base64.StdEncoding.EncodeToString(pps))

// Scene is a made stream with the sample camera's stamps: frame n is that of the
// instant n / Rate on CLOCK_MONOTONIC, so all scenes of one rate show the same.
type Scene struct {
	Version string
	Rate    uint64 // frames a second
	GOP     uint64 // frames from key frame to key frame; others come when they are asked for
	Phase   uint64 // of the key frames
	Bytes   int    // of a slice
}

// FrameTime is when frame n is captured.
func (s Scene) FrameTime(n uint64) time.Duration {
	return time.Duration(n * uint64(time.Second) / s.Rate)
}

// Next is the number of the first frame after an instant.
func (s Scene) Next(after time.Duration) uint64 {
	return uint64(after)*s.Rate/uint64(time.Second) + 1
}

// Play publishes the scene until ctx or the connection ends, and returns why.
func (s Scene) Play(ctx context.Context, socket string) error {
	conn, err := publish.Dial(socket, Stream, SDP)
	if err != nil {
		return err
	}
	defer conn.Close()
	packer, err := s.packer()
	if err != nil {
		return err
	}
	n := s.Next(publish.Monotonic())
	for clock, key := uint64(0), true; ; n++ {
		if !waitUntil(ctx.Done(), conn.Done(), s.FrameTime(n)) {
			return conn.Err()
		}
		select {
		case <-conn.KeyFrames():
			key = true
		default:
		}
		if n >= clock+s.Rate/4 {
			if err := conn.WriteClock(packer.time(n), s.FrameTime(n), n); err != nil {
				return err
			}
			clock = n
		}
		packets, err := packer.frame(n, key || (n+s.Phase)%s.GOP == 0)
		if err != nil {
			return err
		}
		key = false
		for _, p := range packets {
			if err := conn.WriteRTP(p); err != nil {
				return err
			}
		}
	}
}

// Frames gives each frame's packets to a function when they are due, from a key
// frame on, until quit is closed or the function fails.
func (s Scene) Frames(quit <-chan struct{}, send func(packets [][]byte) error) error {
	packer, err := s.packer()
	if err != nil {
		return err
	}
	n := s.Next(publish.Monotonic())
	for key := true; waitUntil(quit, nil, s.FrameTime(n)); n++ {
		packets, err := packer.frame(n, key || (n+s.Phase)%s.GOP == 0)
		if err == nil {
			err = send(packets)
		}
		if err != nil {
			return err
		}
		key = false
	}
	return nil
}

// waitUntil waits for an instant; false if one of the channels was closed before.
func waitUntil(quit, gone <-chan struct{}, at time.Duration) bool {
	timer := time.NewTimer(max(0, at-publish.Monotonic()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-gone:
	case <-quit:
	}
	return false
}

// packer makes a scene's packets.
type packer struct {
	scene Scene
	enc   *rtph264.Encoder
	base  uint32
	slice []byte
}

func (s Scene) packer() (*packer, error) {
	enc := &rtph264.Encoder{PayloadType: 96, PayloadMaxSize: maxPayload, PacketizationMode: 1}
	if err := enc.Init(); err != nil {
		return nil, err
	}
	return &packer{scene: s, enc: enc, base: rand.Uint32(), slice: bytes.Repeat([]byte{0xa5}, max(2, s.Bytes))}, nil
}

func (p *packer) time(n uint64) uint32 { return p.base + uint32(n*rtpClock/p.scene.Rate) }

// frame is the RTP packets of frame n.
func (p *packer) frame(n uint64, key bool) (raws [][]byte, err error) {
	stamp := camera.Stamp{Version: p.scene.Version, Counter: n, Captured: p.scene.FrameTime(n)}.SEI()
	p.slice[0], p.slice[1] = 0x61, 0x98 // a P slice whose first macroblock is 0
	unit := [][]byte{stamp, p.slice}
	if key {
		p.slice[0] = 0x65
		unit = [][]byte{sps, pps, stamp, p.slice}
	}
	packets, err := p.enc.Encode(unit)
	if err != nil {
		return nil, err
	}
	for _, packet := range packets {
		packet.Timestamp = p.time(n)
		raw, err := packet.Marshal()
		if err != nil {
			return nil, err
		}
		raws = append(raws, raw)
	}
	return raws, nil
}
