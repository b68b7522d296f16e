package camera

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"

	"slipstream/stream/publish"
)

const (
	payloadType = 96
	maxPayload  = 1200 - 12   // bytes of RTP payload: 1200 with the header
	maxLag      = time.Second // by default
	redialPause = 50 * time.Millisecond
)

// line is one stream on its way to the forwarder.
type line struct {
	camera *Camera
	name   string
	media  media
	counts bool          // its pictures are those of the state
	sent   chan struct{} // closed after the first whole frame, or packet of sound
	wishes chan struct{} // for a key frame, from the agent
}

// media is what a line sends: a film or a tone.
type media interface {
	sdp() []byte
	// play sends it over one connection until that or ctx ends.
	play(ctx context.Context, l *line, conn outlet) error
}

// film is a clip that is played round and round.
type film struct {
	clip  *Clip
	first uint64 // counter of the first frame that this process captured
}

// run publishes until ctx ends, and dials again whenever the forwarder goes away:
// it may be replaced while the camera works.
func (l *line) run(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		err := l.publish(ctx)
		if err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error() // once, not twenty times a second
			l.camera.log.Warn("stream interrupted", "stream", l.name, "err", err)
		}
		sleep(ctx, redialPause)
	}
}

func (l *line) publish(ctx context.Context) error {
	conn, err := l.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	return l.media.play(ctx, l, conn)
}

// begun says that the line has sent something; only the line's goroutine calls it.
func (l *line) begun() {
	select {
	case <-l.sent:
	default:
		close(l.sent)
	}
}

// play implements [media], from a key frame on.
func (f *film) play(ctx context.Context, l *line, conn outlet) error {
	enc := &rtph264.Encoder{PayloadType: payloadType, PayloadMaxSize: maxPayload, PacketizationMode: 1}
	if err := enc.Init(); err != nil {
		return err
	}
	base := rand.Uint32() // a random start, RFC 3550 §5.1
	n := f.clip.nextKey(FrameAt(publish.Monotonic()) + 1)
	reel := reel{clip: f.clip}
	blind, unseen := false, uint64(0) // now, and frames in all
	for lastClock := uint64(0); ; n++ {
		if blind && l.camera.sees() || publish.Monotonic()-FrameTime(n) > l.camera.config.lag() {
			reel.take, n = 0, f.clip.nextKey(FrameAt(publish.Monotonic())+1)
		}
		if !sleepUntil(ctx, conn.Done(), FrameTime(n)) {
			return conn.Err()
		}
		nalus := reel.next(n, conn.KeyFrames(), l.wishes)
		if blind = !l.camera.sees(); blind {
			unseen++
			continue
		}
		ts := base + uint32(n*(rtpClock/FrameRate))
		if n-lastClock >= FrameRate {
			if err := conn.WriteClock(ts, FrameTime(n), n-f.first+1-unseen); err != nil {
				return err
			}
			lastClock = n
		}
		if err := send(l, conn, enc, nalus, n, ts); err != nil {
			return err
		}
		if l.counts {
			if err := l.camera.count(n); err != nil {
				l.camera.log.Warn("state not handed over", "err", err)
			}
		}
		l.camera.frameOut(l)
	}
}

// reel is a clip as it is being played, from a key frame of its first take on.
type reel struct {
	clip   *Clip
	take   int
	wished bool // somebody waits for a key frame
}

// next is the frame that shows counter n. Of the takes it stays with one, unless a
// key frame is wished for.
func (r *reel) next(n uint64, wishes ...<-chan struct{}) [][]byte {
	for _, w := range wishes {
		select {
		case <-w:
			r.wished = true
		default:
		}
	}
	if r.wished {
		take, found := r.clip.takeWithKey(r.take, n)
		r.take, r.wished = take, !found
	}
	return r.clip.frame(r.take, n).nalus
}

// send writes frame n as RTP packets, the stamp before its slice.
func send(l *line, conn outlet, enc *rtph264.Encoder, nalus [][]byte, n uint64, ts uint32) error {
	stamp := Stamp{Version: l.camera.config.Version, Counter: n, Captured: FrameTime(n)}
	if l.counts {
		stamp.Count, stamp.Given = l.camera.state.Count+1, l.camera.given
	}
	last := len(nalus) - 1
	unit := append(append([][]byte{}, nalus[:last]...), stamp.SEI(), nalus[last])
	packets, err := enc.Encode(unit)
	if err != nil {
		return fmt.Errorf("packetise frame %d: %w", n, err)
	}
	for _, p := range packets {
		p.Timestamp = ts
		raw, err := p.Marshal()
		if err != nil {
			return fmt.Errorf("marshal frame %d: %w", n, err)
		}
		if err := conn.WriteRTP(raw); err != nil {
			return err
		}
	}
	return nil
}

const sdpHead = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"

func (f *film) sdp() []byte {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf([]byte(sdpHead), "m=video 0 RTP/AVP %d\r\na=rtpmap:%[1]d H264/90000\r\n"+
		"a=fmtp:%[1]d packetization-mode=1;profile-level-id=%x;sprop-parameter-sets=%s,%s\r\n",
		payloadType, f.clip.SPS[1:4], b64(f.clip.SPS), b64(f.clip.PPS))
}

// sleepUntil waits for an instant of CLOCK_MONOTONIC; false if something ended before.
func sleepUntil(ctx context.Context, done <-chan struct{}, at time.Duration) bool {
	timer := time.NewTimer(at - publish.Monotonic())
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
	case <-ctx.Done():
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

var errNoStream = errors.New("SLIPSTREAM_PUBLISH is not set: the camera is started by the agent")
