package gateway

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"
)

func formatsOf(t *testing.T, fmtp ...string) []h264Format {
	t.Helper()
	var b strings.Builder
	b.WriteString("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF")
	for i := range fmtp {
		b.WriteString([]string{" 100", " 101", " 102", " 103"}[i])
	}
	b.WriteString("\r\n")
	for i, f := range fmtp {
		pt := []string{"100", "101", "102", "103"}[i]
		b.WriteString("a=rtpmap:" + pt + " H264/90000\r\na=fmtp:" + pt + " " + f + "\r\n")
	}
	var s sdp.SessionDescription
	if err := s.UnmarshalString(b.String()); err != nil {
		t.Fatal(err)
	}
	return h264Formats(s.MediaDescriptions[0])
}

// Chromium's order: baseline, constrained baseline, main; each in mode 1 and 0.
func TestChoose(t *testing.T) {
	const (
		b0  = "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f"
		b1  = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"
		cb1 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
		m1  = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f"
		h1  = "profile-level-id=640032; packetization-mode=1"
	)
	for _, c := range []struct {
		name    string
		stream  profile
		offered []string
		want    uint8 // 0: none
	}{
		{"x264's baseline is constrained baseline", profileOf(0x42, 0xc0), []string{b0, b1, cb1, m1}, 102},
		{"x264's main, which sets a flag that the offer does not", profileOf(0x4d, 0x40), []string{b0, b1, cb1, m1}, 103},
		{"a camera's baseline", profileOf(0x42, 0x00), []string{b0, cb1, b1, m1}, 102},
		{"high", profileOf(0x64, 0x00), []string{b1, cb1, m1, h1}, 103},
		{"constrained baseline for a viewer that has high only", profileOf(0x42, 0xc0), []string{h1}, 100},
		{"high for a viewer that does not offer it gets its best", profileOf(0x64, 0x00), []string{b1, m1, cb1}, 101},
		{"a profile that the SDP does not tell", unknownProfile, []string{b1, m1, cb1}, 101},
		{"mode 0 alone", profileOf(0x42, 0xc0), []string{b0}, 0},
		{"nothing", profileOf(0x42, 0xc0), nil, 0},
	} {
		f, ok := choose(formatsOf(t, c.offered...), c.stream)
		if ok != (c.want != 0) || f.payloadType != c.want {
			t.Errorf("%s: payload type %d, %v; want %d", c.name, f.payloadType, ok, c.want)
		}
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"main": true, "sub-2": true, "a.b_C": true, strings.Repeat("x", maxName): true,
		"": false, ".": false, "..": false, "a/b": false, "main\n": false, "main\nxxxxxx": false, "a b": false,
		"ä": false, "a\x00": false, strings.Repeat("x", maxName+1): false,
	} {
		if validName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

const chromiumOffer = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 104\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:Dxw3\r\na=ice-pwd:5tFkZcGqhyZcfBfcFfrA8dPp\r\n" +
	"a=ice-options:trickle\r\na=fingerprint:sha-256 75:74:5A:A6:A4:E5:52:F4:A7:67:4C:01:C7:EE:91:3F:21:3D:A2:E3:53:7B:6F:30:86:F2:30:AA:65:FB:04:24\r\n" +
	"a=setup:actpass\r\na=mid:0\r\na=extmap:1 urn:ietf:params:rtp-hdrext:toffset\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n" +
	"a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" +
	"a=rtpmap:102 H264/90000\r\na=rtcp-fb:102 goog-remb\r\na=rtcp-fb:102 transport-cc\r\na=rtcp-fb:102 ccm fir\r\na=rtcp-fb:102 nack\r\na=rtcp-fb:102 nack pli\r\n" +
	"a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n" +
	"a=rtpmap:104 H264/90000\r\na=rtcp-fb:104 nack\r\na=rtcp-fb:104 nack pli\r\na=fmtp:104 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"

// What must not reach WebRTC code is gone from every offer that is let through.
func checkReduced(t *testing.T, o offer) {
	t.Helper()
	for line := range strings.SplitSeq(o.sdp, "\r\n") {
		key, _, _ := strings.Cut(line, ":")
		switch key {
		case "a=candidate", "a=ssrc", "a=sendrecv", "a=sendonly", "a=ice-lite", "a=extmap":
			t.Fatalf("the reduced offer has %q:\n%s", line, o.sdp)
		}
		if line == "a=setup:passive" || strings.HasPrefix(line, "m=application") {
			t.Fatalf("the reduced offer has %q:\n%s", line, o.sdp)
		}
	}
}

// newTestPeers takes viewers on the loopback address.
func newTestPeers(t testing.TB) *peers {
	udp, err := openPort("127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p := newPeers(udp, nil, udp.log)
	done := make(chan error, 1)
	go func() { done <- udp.run() }()
	t.Cleanup(func() {
		p.close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestChromiumsOffer(t *testing.T) {
	o, err := parseOffer([]byte(chromiumOffer))
	if err != nil {
		t.Fatal(err)
	}
	checkReduced(t, o)
	f, _ := choose(o.formats, constrainedBaseline)
	v, answer, err := newTestPeers(t).answer(t.Context(), o, f)
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	for _, want := range []string{"m=video 9 UDP/TLS/RTP/SAVPF 104\r\n", "a=rtcp-fb:104 nack pli\r\n", "profile-level-id=42e01f", "a=setup:passive\r\n", "a=ice-lite\r\n"} {
		if !strings.Contains(answer, want) {
			t.Errorf("answer lacks %q:\n%s", want, answer)
		}
	}
}

// No offer may panic, neither in our code nor in WebRTC's.
func FuzzOffer(f *testing.F) {
	f.Add([]byte(chromiumOffer))
	f.Add([]byte(strings.Replace(chromiumOffer, "recvonly", "sendrecv\r\na=candidate:1 1 tcp 1 192.0.2.1 22 typ host tcptype passive", 1)))
	f.Add([]byte(strings.Replace(chromiumOffer, "m=video", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\nm=video", 1)))
	f.Add([]byte(strings.Replace(chromiumOffer, "m=video", "m=application", 1)))
	p := newTestPeers(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := parseOffer(text)
		if err != nil {
			return
		}
		checkReduced(t, o)
		format, ok := choose(o.formats, mainProfile)
		if !ok {
			return
		}
		v, answer, err := p.answer(context.Background(), o, format)
		if err != nil {
			return
		}
		defer v.close()
		if !strings.Contains(answer, "a=setup:passive") || !strings.Contains(answer, "a=ice-lite") || strings.Contains(answer, "m=application") {
			t.Fatalf("answer:\n%s\nto\n%s", answer, o.sdp)
		}
	})
}

func FuzzStreamOfPath(f *testing.F) {
	for _, path := range []string{"/main", "/main/", "//", "/a/b", "/main\nxxxxxx", ""} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if name, ok := streamOfPath(path); ok && (strings.ContainsAny(name, "\n/\x00") || len(name) > maxName || !strings.Contains(path, name)) {
			t.Fatalf("%q is stream %q", path, name)
		}
	})
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 sprop-parameter-sets=Z0LADdkBQZ+fAQ==,aMuDyyA=\r\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if l, err := parseLine(text); err == nil {
			l.media()
		}
	})
}
