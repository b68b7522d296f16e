package camera_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/g711"
	"github.com/pion/rtp"

	"slipstream/stream/publish"
	"slipstream/testrig/camera"
)

// samples decodes a packet of the camera's sound.
func samples(sound string, payload []byte) []int16 {
	var pcm []byte
	if sound == camera.SoundPCMA {
		var s g711.Alaw
		s.Unmarshal(payload)
		pcm = s
	} else {
		var s g711.Mulaw
		s.Unmarshal(payload)
		pcm = s
	}
	out := make([]int16, len(pcm)/2)
	for i := range out {
		out[i] = int16(uint16(pcm[2*i])<<8 | uint16(pcm[2*i+1]))
	}
	return out
}

// The tone tells its time, follows to the sample, and begins when it says.
func TestCameraSounds(t *testing.T) {
	for _, sound := range []string{camera.SoundPCMU, camera.SoundPCMA} {
		t.Run(sound, func(t *testing.T) {
			t.Parallel()
			env := slot(t, strings.Replace(goodConfig, `"phase":0}`, `"phase":0},{"name":"mic","sound":"`+sound+`"}`, 1))
			env.NotifySocket = ""
			publishers := forwarder(t, env.Publish)
			start(t, env)
			var mic *publisher
			for mic == nil {
				p := next(t, publishers, "publisher")
				if hello := next(t, p.messages, "hello"); bytes.HasPrefix(hello, []byte("Smic\n")) {
					mic = p
				}
			}
			clock := next(t, mic.messages, "clock")
			if clock[0] != publish.MsgClock {
				t.Fatalf("%x comes before the clock", clock)
			}
			captured := time.Duration(be(clock[5:13]))
			var last rtp.Packet
			for i := range 60 {
				msg := next(t, mic.messages, "packet")
				if msg[0] == publish.MsgClock {
					msg = next(t, mic.messages, "packet")
				}
				var p rtp.Packet
				if err := p.Unmarshal(msg); err != nil {
					t.Fatal(err)
				}
				n, err := camera.ReadTone(samples(sound, p.Payload))
				if want := int((camera.ToneAt(captured) + uint64(i)) % camera.ToneModulo); err != nil || n != want {
					t.Fatalf("packet %d is %d (%v), not %d", i, n, err, want)
				}
				if i > 0 && (p.SequenceNumber != last.SequenceNumber+1 || p.Timestamp != last.Timestamp+160) {
					t.Fatalf("%v follows %v", &p, &last)
				}
				last = p
			}
		})
	}
}

func be(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

func TestWhatIsNoTone(t *testing.T) {
	silence := make([]int16, 160)
	square := make([]int16, 160)
	for i := range square {
		square[i] = int16(20000 * (1 - 2*(i/10%2))) // 400 Hz alone, and its overtones
	}
	for name, s := range map[string][]int16{"silence": silence, "half a packet": silence[:80], "a buzzer": square} {
		if n, err := camera.ReadTone(s); err == nil {
			t.Errorf("%s is taken for %d", name, n)
		}
	}
}
