package gateway

import (
	"strconv"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// offering makes an offer of a video and an audio section with payload types from 100
// on, each "CODEC FMTP".
func offering(t *testing.T, video, audio []string) offer {
	t.Helper()
	var b strings.Builder
	b.WriteString("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-ufrag:Dxw3\r\na=ice-pwd:5tFkZcGqhyZcfBfcFfrA8dPp\r\n")
	pt := 100
	for i, kind := range []string{"video", "audio"} {
		var types, lines strings.Builder
		for _, codec := range [][]string{video, audio}[i] {
			name, fmtp, _ := strings.Cut(codec, " ")
			types.WriteString(" " + strconv.Itoa(pt))
			lines.WriteString("a=rtpmap:" + strconv.Itoa(pt) + " " + name + "\r\n")
			if fmtp != "" {
				lines.WriteString("a=fmtp:" + strconv.Itoa(pt) + " " + fmtp + "\r\n")
			}
			pt++
		}
		b.WriteString("m=" + kind + " 9 UDP/TLS/RTP/SAVPF" + types.String() + "\r\na=mid:" + strconv.Itoa(i) + "\r\na=recvonly\r\na=rtcp-mux\r\na=setup:actpass\r\n" + lines.String())
	}
	o, err := parseOffer([]byte(b.String()))
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	return o
}

// Chromium's order: baseline, constrained baseline, main, 4:4:4; each in mode 1 and 0.
const (
	h264b0  = "H264/90000 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f"
	h264b1  = "H264/90000 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"
	h264cb1 = "H264/90000 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
	h264m1  = "H264/90000 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f"
	h264f41 = "H264/90000 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=f4001f"
	h264h1  = "H264/90000 profile-level-id=640032; packetization-mode=1"
	h264lo  = "H264/90000 profile-level-id=42e00a; packetization-mode=1"
	h264un  = "H264/90000 packetization-mode=1"
	vp8     = "VP8/90000"

	h265m93  = "H265/90000 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"
	h265m180 = "H265/90000 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"
	h265t180 = "H265/90000 level-id=180;profile-id=2;tier-flag=0;tx-mode=SRST"
	h265h180 = "H265/90000 level-id=180;profile-id=1;tier-flag=1"
	h265none = "H265/90000"
	h265mrst = "H265/90000 level-id=180;tx-mode=MRST"
)

// A viewer is given what it can decode, or told what it lacks.
func TestViewersOfAnEnvelope(t *testing.T) {
	t.Parallel()
	chromium := []string{h264b1, h264b0, h264cb1, h264m1, h264f41}
	// x265's parameter set of Main, level 3.1, and the same of Main 10, high tier, level 5.
	const main93 = "QgEBAWAAAAMAkAAAAwAAAwBdoAKAgC0WUrTKkvNwECAAAAMAIAAAAwPB"
	const ten150 = "QgEBImAAAAMAkAAAAwAAAwCWoAKAgC0WUrTKkvNwECAAAAMAIAAAAwPB"
	for _, c := range []struct {
		name           string
		codec, profile string
		fmtp           string // of the line
		video          []string
		want           int    // payload type; 0: refused
		says           string // why
	}{
		{"x264's baseline is constrained baseline", orders.H264, "", "profile-level-id=42c01f", chromium, 102, ""},
		{"x264's main, which sets a flag that the offer does not", orders.H264, "", "profile-level-id=4d401f", chromium, 103, ""},
		{"a camera's baseline", orders.H264, "", "profile-level-id=42001f", []string{h264b0, h264cb1, h264b1, h264m1}, 102, ""},
		{"high by high", orders.H264, "", "profile-level-id=640028", []string{h264b1, h264cb1, h264m1, h264h1}, 103, ""},
		{"high by a decoder of 4:4:4", orders.H264, "", "profile-level-id=640028", chromium, 104, ""},
		{"high for a viewer that has main at most", orders.H264, "", "profile-level-id=640028", []string{h264b1, h264m1, h264m1}, 0,
			"the stream is H.264 High, level 4.0, and the offer has only H.264 Baseline, level 3.1; H.264 Main, level 3.1"},
		{"constrained baseline for a viewer that has high only", orders.H264, "", "profile-level-id=42c01f", []string{h264h1}, 100, ""},
		{"the declaration counts, not the line of now", orders.H264, "640028", "profile-level-id=42c01f", chromium, 104, ""},
		{"the declaration counts for a viewer that lacks it", orders.H264, "640028", "profile-level-id=42c01f", []string{h264cb1, h264m1}, 0, "the stream is H.264 High"},
		{"high for Firefox, which offers constrained baseline alone", orders.H264, "640028", "profile-level-id=640028", []string{h264cb1, h264b0}, 100, ""},
		{"high for a viewer of constrained baseline at a low level", orders.H264, "640028", "profile-level-id=640028", []string{h264lo}, 0, "the stream is H.264 High"},
		{"the parameter set counts, not what stands beside it", orders.H264, "", "profile-level-id=640028;sprop-parameter-sets=Z0LADdkBQZ+fAQ==,aMuDyyA=", chromium, 102, ""},
		{"a level above 3.1, which browsers never offer", orders.H264, "", "profile-level-id=42c033", chromium, 102, ""},
		{"a level that a small viewer lacks", orders.H264, "", "profile-level-id=42c01f", []string{h264lo}, 0, "the offer has only H.264 Constrained Baseline, level 1.0"},
		{"a viewer that does not say what it has", orders.H264, "", "profile-level-id=42c01f", []string{h264un}, 0, "H.264 Baseline, level 1.0"},
		{"a profile that nobody tells", orders.H264, "", "", []string{h264b1, h264m1, h264cb1}, 101, ""},
		{"mode 0 alone", orders.H264, "", "profile-level-id=42c01f", []string{h264b0}, 0, "packetization-mode=1"},
		{"nothing that is H.264", orders.H264, "", "profile-level-id=42c01f", []string{vp8}, 0, "the stream main is H264, which the offer does not have"},

		{"H.265 by its level", orders.H265, "", "profile-id=1;tier-flag=0;level-id=120", []string{h264b1, h265m93, h265m180}, 102, ""},
		{"H.265 by its parameter set", orders.H265, "", "profile-id=2;sprop-sps=" + main93, []string{h265m93}, 100, ""},
		{"H.265 of Main 10 and high tier by its parameter set", orders.H265, "", "sprop-sps=" + ten150, []string{h265m180, h265t180}, 0,
			"the stream is H.265 profile 2, high tier, level 5.0, and the offer has only H.265 profile 1, main tier, level 6.0; H.265 profile 2, main tier, level 6.0"},
		{"H.265 of a level that the viewer lacks", orders.H265, "", "profile-id=1;level-id=120", []string{h265m93}, 0, "level 4.0, and the offer has only H.265 profile 1, main tier, level 3.1"},
		{"H.265 of a viewer that says nothing: Main, 3.1", orders.H265, "", "profile-id=1;level-id=93", []string{h265none}, 100, ""},
		{"Main by a decoder of Main 10", orders.H265, "", "profile-id=1;level-id=93", []string{h265t180}, 100, ""},
		{"Main 10 for a decoder of Main", orders.H265, "", "profile-id=2;level-id=93", []string{h265m180}, 0, "profile 2"},
		{"high tier", orders.H265, "", "tier-flag=1;level-id=93", []string{h265m180, h265h180}, 101, ""},
		{"H.265 in several streams", orders.H265, "", "level-id=93", []string{h265mrst}, 0, "the offer has only"},
		{"no H.265", orders.H265, "", "", chromium, 0, "the stream main is H265, which the offer does not have"},
		{"MJPEG", orders.MJPEG, "", "", chromium, 0, "the stream is MJPEG: WebRTC has no format for it; watch it by RTSP"},
		{"AAC", orders.AAC, "", "", chromium, 0, "AAC"},
	} {
		line := map[string]string{orders.H264: "H264/90000", orders.H265: "H265/90000", orders.MJPEG: "JPEG/90000", orders.AAC: "mpeg4-generic/48000/2"}[c.codec]
		got, err := choose(offering(t, c.video, nil), handover.Stream{Name: "main", Codec: c.codec, Profile: c.profile, SDP: lineSDP(line, c.fmtp)})
		switch {
		case c.want != 0 && (err != nil || int(got.payloadType) != c.want):
			t.Errorf("%s: payload type %d, %v; want %d", c.name, got.payloadType, err, c.want)
		case c.want == 0 && (err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %v; want %q", c.name, err, c.says)
		}
	}
}

func TestSoundOfAnOffer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, codec, line string
		audio             []string
		want              int
	}{
		{"Opus", orders.Opus, "opus/48000/2", []string{"G722/8000", "opus/48000/2 minptime=10"}, 101},
		{"µ-law", orders.PCMU, "PCMU/8000", []string{"opus/48000/2", "PCMA/8000", "PCMU/8000/1"}, 102},
		{"A-law", orders.PCMA, "PCMA/8000", []string{"opus/48000/2", "PCMA/8000"}, 101},
		{"a codec that the viewer lacks", orders.PCMA, "PCMA/8000", []string{"opus/48000/2"}, 0},
		{"Opus of one channel is no Opus", orders.Opus, "opus/48000/2", []string{"opus/48000"}, 0},
		{"AAC", orders.AAC, "mpeg4-generic/48000/2", []string{"mpeg4-generic/48000/2"}, 0},
	} {
		got, err := choose(offering(t, []string{h264b1}, c.audio), handover.Stream{Name: "sound", Codec: c.codec, SDP: lineSDP(c.line, "")})
		if c.want != 0 && (err != nil || int(got.payloadType)-1 != c.want) || c.want == 0 && err == nil {
			t.Errorf("%s: payload type %d, %v; want %d", c.name, got.payloadType, err, c.want+1)
		}
	}
}

// PCMU and PCMA have payload types of their own, which need no rtpmap.
func TestFixedPayloadTypes(t *testing.T) {
	t.Parallel()
	var s sdp.SessionDescription
	if err := s.UnmarshalString("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0 8 9 0\r\n"); err != nil {
		t.Fatal(err)
	}
	got := payloads(s.MediaDescriptions[0])
	if len(got) != 2 || got[0].codec != orders.PCMU || got[1].codec != orders.PCMA || got[1].payloadType != 8 {
		t.Errorf("%+v", got)
	}
}

// What the forwarder tells of a line may be anything that an app has published.
func FuzzLine(f *testing.F) {
	f.Add(orders.H264, lineSDP("H264/90000", "sprop-parameter-sets=Z0LADdkBQZ+fAQ==,aMuDyyA="), "640028")
	f.Add(orders.H265, lineSDP("H265/90000", "sprop-sps=QgEBAWAAAAMAkAAAAwAAAwBdoAKAgC0WUrTKkvNwECAAAAMAIAAAAwPB"), "")
	f.Add(orders.Opus, lineSDP("opus/48000/2", "sprop-stereo=1"), "")
	o, err := parseOffer([]byte(chromiumBoth))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, codec, text, profile string) {
		p, err := choose(o, handover.Stream{Name: "main", Codec: codec, Profile: profile, SDP: text})
		if err == nil && p.codec != codec {
			t.Fatalf("a stream of %q is given as %q", codec, p.codec)
		}
	})
}
