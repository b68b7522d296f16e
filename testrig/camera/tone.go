package camera

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/g711"
	"github.com/pion/rtp"

	"slipstream/stream/publish"
)

// Sounds of a stream, as [Stream] names them and the manifest its codec.
const (
	SoundPCMU = "pcmu"
	SoundPCMA = "pcma"
)

const (
	// ToneRate is the number of packets a second, and ToneModulo that of different
	// ones: each is a tone of its own.
	ToneRate   = 50
	ToneModulo = toneDigit * toneDigit

	toneDigit   = 16 // frequencies of each of the two
	soundRate   = 8000
	toneSamples = soundRate / ToneRate

	// All frequencies fill a packet with whole periods, so that none disturbs the
	// reading of another one.
	toneLow  = 400
	toneHigh = 1400
	toneStep = ToneRate

	toneVolume = 8000 // of each frequency, of 32767
)

// tone is a sound that tells its time: packet n plays the two digits of n.
type tone struct {
	sound   string
	packets [ToneModulo][]byte
}

func newTone(sound string) (*tone, error) {
	t := &tone{sound: sound}
	for n := range t.packets {
		samples := make([]byte, 0, 2*toneSamples)
		for i := range toneSamples {
			at := 2 * math.Pi * float64(i) / soundRate
			v := toneVolume * (math.Sin(at*toneFrequency(toneLow, n)) + math.Sin(at*toneFrequency(toneHigh, n/toneDigit)))
			samples = binary.BigEndian.AppendUint16(samples, uint16(int16(v)))
		}
		encode := g711.Mulaw(samples).Marshal
		if sound == SoundPCMA {
			encode = g711.Alaw(samples).Marshal
		}
		var err error
		if t.packets[n], err = encode(); err != nil {
			return nil, fmt.Errorf("make the tone: %w", err)
		}
	}
	return t, nil
}

func toneFrequency(from, digit int) float64 { return float64(from + toneStep*(digit%toneDigit)) }

func (t *tone) payloadType() uint8 {
	if t.sound == SoundPCMA {
		return 8
	}
	return 0
}

func (t *tone) sdp() []byte {
	name := map[string]string{SoundPCMU: "PCMU", SoundPCMA: "PCMA"}[t.sound]
	return fmt.Appendf([]byte(sdpHead), "m=audio 0 RTP/AVP %d\r\na=rtpmap:%[1]d %s/%d\r\n", t.payloadType(), name, soundRate)
}

// play implements [media]. A packet is sent when its last sample was captured. One
// that would come too late is left out: sound cannot be made good.
func (t *tone) play(ctx context.Context, l *line, conn outlet) error {
	seq, base := uint16(rand.Uint32()), rand.Uint32()
	n := ToneAt(publish.Monotonic()) + 1
	for lastClock := uint64(0); ; n++ {
		n = max(n, ToneAt(publish.Monotonic()-l.camera.config.lag()))
		if !sleepUntil(ctx, conn.Done(), ToneTime(n+1)) {
			return conn.Err()
		}
		if l.camera.silent.Load() {
			continue
		}
		ts := base + uint32(n*toneSamples)
		if n-lastClock >= ToneRate {
			if err := conn.WriteClock(ts, ToneTime(n), publish.FramesUnknown); err != nil {
				return err
			}
			lastClock = n
		}
		p := rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: t.payloadType(), SequenceNumber: seq, Timestamp: ts},
			Payload: t.packets[n%ToneModulo],
		}
		seq++
		raw, err := p.Marshal()
		if err != nil {
			return fmt.Errorf("marshal packet %d: %w", n, err)
		}
		if err := conn.WriteRTP(raw); err != nil {
			return err
		}
		l.begun()
	}
}

// ToneAt is the number of the packet whose first sample was captured last at a
// CLOCK_MONOTONIC time.
func ToneAt(mono time.Duration) uint64 { return uint64(mono) * ToneRate / uint64(time.Second) }

// ToneTime is when the first sample of packet n is captured.
func ToneTime(n uint64) time.Duration { return time.Duration(n) * (time.Second / ToneRate) }

var errNoTone = errors.New("no tone of the camera")

// ReadTone reads the counter modulo [ToneModulo] from one packet's samples, 8000 a
// second. They begin with the packet.
func ReadTone(samples []int16) (n int, err error) {
	if len(samples) != toneSamples {
		return 0, fmt.Errorf("a packet has %d samples, not %d", len(samples), toneSamples)
	}
	low, ok1 := loudest(samples, toneLow)
	high, ok2 := loudest(samples, toneHigh)
	if !ok1 || !ok2 {
		return 0, errNoTone
	}
	return high*toneDigit + low, nil
}

// loudest finds the one frequency that is there; ok is false if several are, or none.
func loudest(samples []int16, from int) (digit int, ok bool) {
	const loud = toneVolume * toneVolume / 2
	found := 0
	for d := range toneDigit {
		if power(samples, toneFrequency(from, d)) > loud/2 {
			digit = d
			found++
		}
	}
	return digit, found == 1
}

// power is how much of a frequency there is (Goertzel), as the square of its volume
// halved.
func power(samples []int16, frequency float64) float64 {
	w := 2 * math.Cos(2*math.Pi*frequency/soundRate)
	var s1, s2 float64
	for _, v := range samples {
		s1, s2 = float64(v)+w*s1-s2, s1
	}
	n := float64(len(samples))
	return (s1*s1 + s2*s2 - w*s1*s2) / (n * n / 4) / 2
}
