package core

import (
	"encoding/binary"
	"fmt"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
)

// unset is for codecs that send no parameter sets.
type unset struct{}

func (unset) learn(*parameterSets, int, []byte) (refusal string) { return "" }
func (unset) whole(*parameterSets) bool                          { return false }

// opus is a [codec]: RFC 7587. Its packets say themselves whether they are stereo,
// and what bandwidth they have.
type opus struct{ unset }

func (opus) clockRate() int64 { return 48_000 }
func (opus) sound() bool      { return true }
func (opus) encoders() string { return "ffmpeg: -c:a libopus, GStreamer: opusenc" }

// describe implements [codec].
func (opus) describe(f format.Format) (m medium, refusal string, ok bool) {
	sound, ok := f.(*format.Opus)
	if ok && sound.ChannelCount > 2 {
		refusal = fmt.Sprintf("Opus of %d channels; use one or two (ffmpeg: -ac 2)", sound.ChannelCount)
	}
	return m, refusal, ok
}

// look implements [codec]: a packet that counts its frames has one at least, and
// none of them lasts longer than 120 ms together (RFC 6716 §3.2.5).
func (opus) look(payload []byte) (info unitInfo, refusal string) {
	const counted, most = 3, 48
	if payload[0]&3 == counted && (len(payload) < 2 || payload[1]&0x3f == 0 || payload[1]&0x3f > most) {
		return info, "a payload that is no Opus packet (RFC 6716 §3.2.5)"
	}
	info.key = true
	return info, ""
}

// g711 is a [codec]: RFC 3551 §4.5.14.
type g711 struct {
	unset
	mulaw bool
}

func (g711) clockRate() int64 { return 8_000 }
func (g711) sound() bool      { return true }

func (g g711) encoders() string {
	if g.mulaw {
		return "ffmpeg: -c:a pcm_mulaw -ar 8000 -ac 1, GStreamer: mulawenc"
	}
	return "ffmpeg: -c:a pcm_alaw -ar 8000 -ac 1, GStreamer: alawenc"
}

// describe implements [codec].
func (g g711) describe(f format.Format) (m medium, refusal string, ok bool) {
	sound, ok := f.(*format.G711)
	if !ok || sound.MULaw != g.mulaw {
		return m, "", false
	}
	if int64(sound.SampleRate) != g.clockRate() || sound.ChannelCount != 1 {
		refusal = fmt.Sprintf("G.711 of %d Hz and %d channels; use 8000 Hz and one channel (ffmpeg: -ar 8000 -ac 1)", sound.SampleRate, sound.ChannelCount)
	}
	return m, refusal, true
}

// look implements [codec]: every byte is a sample.
func (g711) look([]byte) (info unitInfo, refusal string) {
	info.key = true
	return info, ""
}

// aac is a [codec]: RFC 3640, mode AAC-hbr. What a decoder must know of it stands
// in the SDP only, so viewers cannot go on with a version that has another
// configuration; they are closed, and get the new one when they come back.
type aac struct{ unset }

// aacSet is the kind of the configuration, which is compared and never sent.
const aacSet = 0

func (aac) clockRate() int64 { return 48_000 }
func (aac) sound() bool      { return true }
func (aac) encoders() string { return "ffmpeg: -c:a aac, GStreamer: voaacenc" }

// describe implements [codec].
func (aac) describe(f format.Format) (m medium, refusal string, ok bool) {
	sound, ok := f.(*format.MPEG4Audio)
	if !ok {
		return m, "", false
	}
	if sound.SizeLength != 13 || sound.IndexLength != 3 || sound.IndexDeltaLength != 3 {
		return m, "AAC outside of mode AAC-hbr (RFC 3640 §3.3.6)", true
	}
	config, err := sound.Config.Marshal()
	if err != nil || sound.Config.SampleRate <= 0 || sound.Config.ExtensionSampleRate != 0 {
		return m, "AAC other than AAC-LC (ffmpeg: -profile:a aac_low)", true
	}
	m.rate, m.sets[aacSet] = int64(sound.Config.SampleRate), config
	return m, "", true
}

// look implements [codec]: the sizes of a packet's frames add up, so that none
// goes on in another packet.
func (aac) look(payload []byte) (info unitInfo, refusal string) {
	const (
		aacRefusal = "a payload that holds no whole AAC frames (RFC 3640 §3.3.6)"
		head       = 2 // bytes of a frame's header: 13 bits of size, 3 of index
	)
	if len(payload) < 2 {
		return info, aacRefusal
	}
	heads := int(binary.BigEndian.Uint16(payload)) / 8
	if heads == 0 || heads%head != 0 || len(payload) < 2+heads {
		return info, aacRefusal
	}
	total := 2 + heads
	for at := 2; at < 2+heads; at += head {
		total += int(binary.BigEndian.Uint16(payload[at:]) >> 3)
	}
	if total != len(payload) {
		return info, aacRefusal
	}
	info.key = true
	return info, ""
}
