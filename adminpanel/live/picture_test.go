package live

import (
	"strings"
	"testing"

	"github.com/pion/stun"

	"slipstream/agent/wire"
	"slipstream/stream/orders"
)

func TestWhereKeyFramesBegin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, codec string
		payload     []byte
		key         bool
		sets        int // that it brought
	}{
		{"a slice", orders.H264, []byte{0x41, 1}, false, 0},
		{"a key frame", orders.H264, []byte{0x65, 1}, true, 0},
		{"its sets", orders.H264, []byte{0x67, 0x42, 0, 0x1f}, true, 1},
		{"sets that are none", orders.H264, []byte{0x67, 0x42}, true, 0},
		{"all in one", orders.H264, []byte{0x18, 0, 4, 0x67, 1, 2, 3, 0, 2, 0x68, 1, 0, 1, 0x65}, true, 2},
		{"one that is cut", orders.H264, []byte{0x18, 0, 9, 0x67}, false, 0},
		{"the first part", orders.H264, []byte{0x7c, 0x85, 1}, true, 0},
		{"the next part", orders.H264, []byte{0x7c, 0x05, 1}, false, 0},
		{"nothing", orders.H264, nil, false, 0},
		{"a slice of H.265", orders.H265, []byte{2, 1, 1}, false, 0},
		{"a key frame of H.265", orders.H265, []byte{19 << 1, 1, 1}, true, 0},
		{"its sets of H.265", orders.H265, []byte{48 << 1, 1, 0, 2, 32 << 1, 1, 0, 2, 33 << 1, 1, 0, 2, 34 << 1, 1}, true, 3},
		{"the first part of H.265", orders.H265, []byte{49 << 1, 1, 0x80 | 20}, true, 0},
		{"nothing of H.265", orders.H265, []byte{2}, false, 0},
	} {
		s := newSets(test.codec)
		key, sets := s.look(test.codec, test.payload), 0
		for _, set := range s {
			if len(set) > 0 {
				sets++
			}
		}
		if key != test.key || sets != test.sets || s.whole() != (sets == len(s)) {
			t.Errorf("%s: key %v, %d sets", test.name, key, sets)
		}
	}
}

// Any payload may come from a device that means no good.
func FuzzLook(f *testing.F) {
	f.Add([]byte{0x18, 0, 4, 0x67, 1, 2, 3, 0, 2, 0x68, 1, 0, 1, 0x65})
	f.Add([]byte{48 << 1, 1, 0, 2, 32 << 1, 1})
	f.Fuzz(func(_ *testing.T, payload []byte) {
		for _, codec := range []string{orders.H264, orders.H265} {
			s := newSets(codec)
			s.look(codec, payload)
			if s.whole() {
				describe(wire.LegTrack{Codec: codec}, s)
			}
		}
	})
}

// The library of others takes our checks for what they are.
func TestChecks(t *testing.T) {
	t.Parallel()
	leg := newLeg("main", 0, random)
	if err := leg.Check(); err != nil {
		t.Fatal(err)
	}
	m := &stun.Message{Raw: check(&leg)}
	if err := m.Decode(); err != nil || m.Type != stun.BindingRequest {
		t.Fatalf("%v %v", m.Type, err)
	}
	var name stun.Username
	if err := name.GetFrom(m); err != nil || name.String() != leg.DeviceUfrag+":"+leg.PanelUfrag {
		t.Errorf("user name %q, %v", name, err)
	}
	if err := stun.NewShortTermIntegrity(leg.DevicePwd).Check(m); err != nil {
		t.Error(err)
	}
	if err := stun.Fingerprint.Check(m); err != nil {
		t.Error(err)
	}
}

func TestTracksThatMakeNoSense(t *testing.T) {
	t.Parallel()
	leg := newLeg("main", 0, random)
	good := wire.LegTrack{Stream: "main", Codec: orders.H264, SSRC: leg.SSRC, PayloadType: 96}
	sound := wire.LegTrack{Stream: "mic", Codec: orders.Opus, SSRC: leg.SSRC + 1, PayloadType: 97}
	with := func(t wire.LegTrack, change func(*wire.LegTrack)) wire.LegTrack { change(&t); return t }
	for name, tracks := range map[string][]wire.LegTrack{
		"none":           nil,
		"three":          {good, sound, sound},
		"no picture":     {sound},
		"two pictures":   {good, good},
		"MJPEG":          {with(good, func(t *wire.LegTrack) { t.Codec = orders.MJPEG })},
		"another SSRC":   {with(good, func(t *wire.LegTrack) { t.SSRC++ })},
		"a large type":   {with(good, func(t *wire.LegTrack) { t.PayloadType = 200 })},
		"a long profile": {with(good, func(t *wire.LegTrack) { t.Profile = strings.Repeat("4", 100) })},
	} {
		if checkTracks(&leg, tracks) == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := checkTracks(&leg, []wire.LegTrack{good, sound}); err != nil {
		t.Error(err)
	}
}
