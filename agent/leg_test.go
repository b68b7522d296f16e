package agent

import (
	"reflect"
	"testing"

	"slipstream/agent/wire"
	"slipstream/verify"
)

// What a leg carries is what the permanent version declares.
func TestTracksOfALeg(t *testing.T) {
	v := versionOf(verify.Manifest{Version: "1.0", App: &verify.App{Streams: []verify.Stream{
		{Name: "main", Codec: verify.CodecH264, Profile: "4d001f", Width: 1280, Height: 720, Audio: "mic"},
		{Name: "mic", Codec: verify.CodecOpus}, {Name: "sub", Codec: verify.CodecH265, Audio: "hall"},
		{Name: "hall", Codec: verify.CodecAAC}, {Name: "door", Codec: verify.CodecMJPEG},
	}}}, "digest", "a")
	main := wire.LegTrack{Stream: "main", Codec: "h264", Profile: "4d001f", Width: 1280, Height: 720, SSRC: 70, PayloadType: 96}
	for stream, want := range map[string][]wire.LegTrack{
		"main": {main, {Stream: "mic", Codec: "opus", SSRC: 71, PayloadType: 97}},
		"sub":  {{Stream: "sub", Codec: "h265", SSRC: 70, PayloadType: 96}}, // whose sound browsers do not know
		"mic":  nil, "door": nil, "none": nil,
	} {
		got, err := legTracks(v, wire.Leg{Stream: stream, SSRC: 70})
		if !reflect.DeepEqual(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%s: %+v, %v", stream, got, err)
		}
	}
}
