package gateway

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

func TestValidName(t *testing.T) {
	t.Parallel()
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

// chromiumBoth is Chromium's offer for a picture and its sound.
var chromiumBoth = strings.Replace(chromiumOffer, "BUNDLE 0", "BUNDLE 0 1", 1) +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:Dxw3\r\na=ice-pwd:5tFkZcGqhyZcfBfcFfrA8dPp\r\n" +
	"a=fingerprint:sha-256 75:74:5A:A6:A4:E5:52:F4:A7:67:4C:01:C7:EE:91:3F:21:3D:A2:E3:53:7B:6F:30:86:F2:30:AA:65:FB:04:24\r\n" +
	"a=setup:actpass\r\na=mid:1\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n" +
	"a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:9 G722/8000\r\na=rtpmap:13 CN/8000\r\n"

const chromiumOffer = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 104\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:Dxw3\r\na=ice-pwd:5tFkZcGqhyZcfBfcFfrA8dPp\r\n" +
	"a=ice-options:trickle\r\na=fingerprint:sha-256 75:74:5A:A6:A4:E5:52:F4:A7:67:4C:01:C7:EE:91:3F:21:3D:A2:E3:53:7B:6F:30:86:F2:30:AA:65:FB:04:24\r\n" +
	"a=setup:actpass\r\na=mid:0\r\na=extmap:1 urn:ietf:params:rtp-hdrext:toffset\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n" +
	"a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" +
	"a=rtpmap:102 H264/90000\r\na=rtcp-fb:102 goog-remb\r\na=rtcp-fb:102 transport-cc\r\na=rtcp-fb:102 ccm fir\r\na=rtcp-fb:102 nack\r\na=rtcp-fb:102 nack pli\r\n" +
	"a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n" +
	"a=rtpmap:104 H264/90000\r\na=rtcp-fb:104 nack\r\na=rtcp-fb:104 nack pli\r\na=fmtp:104 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"

// newTestPeers takes viewers on the loopback address.
func newTestPeers(t testing.TB) *peers {
	udp, err := openPort("127.0.0.1:0", func(string) {}, slog.New(slog.DiscardHandler))
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

// h264Pick chooses what a viewer of constrained baseline is given.
func h264Pick(t *testing.T, o offer) pick {
	t.Helper()
	p, err := choose(o, handover.Stream{Name: "main", Codec: orders.H264, Profile: "42e01f", SDP: lineSDP("H264/90000", "")})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lineSDP is that of a line of the forwarder's.
func lineSDP(codec, fmtp string) string {
	kind := "video"
	if !strings.HasSuffix(codec, "/90000") {
		kind = "audio"
	}
	text := "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=" + kind + " 0 RTP/AVP 96\r\na=rtpmap:96 " + codec + "\r\n"
	if fmtp != "" {
		text += "a=fmtp:96 " + fmtp + "\r\n"
	}
	return text
}

// No offer may panic, neither in our code nor in WebRTC's.
func FuzzOffer(f *testing.F) {
	f.Add([]byte(chromiumOffer))
	f.Add([]byte(chromiumBoth))
	f.Add([]byte(strings.Replace(chromiumOffer, "recvonly", "sendrecv\r\na=candidate:1 1 tcp 1 192.0.2.1 22 typ host tcptype passive", 1)))
	f.Add([]byte(strings.Replace(chromiumOffer, "m=video", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\nm=video", 1)))
	f.Add([]byte(strings.Replace(chromiumOffer, "m=video", "m=application", 1)))
	p := newTestPeers(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := parseOffer(text)
		if err != nil {
			return
		}
		var picks []pick
		for _, s := range []handover.Stream{
			{Name: "main", Codec: orders.H264, SDP: lineSDP("H264/90000", "")}, {Name: "sound", Codec: orders.Opus, SDP: lineSDP("opus/48000/2", "sprop-stereo=1")},
		} {
			if k, err := choose(o, s); err == nil {
				picks = append(picks, k)
			}
		}
		if len(picks) == 0 {
			return
		}
		v, answer, err := p.answer(context.Background(), o, picks)
		if err != nil {
			return
		}
		defer v.close()
		if !strings.Contains(answer, "a=setup:passive") || !strings.Contains(answer, "a=ice-lite") || strings.Contains(answer, "m=application") {
			t.Fatalf("answer:\n%s\nto\n%s", answer, text)
		}
	})
}
