package gateway

import (
	"bufio"
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"

	"slipstream/stream/handover"
)

// Whatever a viewer sends is a request with bounded parts, or an error; and an
// answer to it is one message, whatever it repeats of the request.
func FuzzReadRequest(f *testing.F) {
	for _, text := range []string{
		"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", "\r\n$\x00\x00\x02abSETUP rtsp://h/main/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nSession: a;timeout=5\r\n\r\n",
		"DESCRIBE rtsp://u:p@[::1%25lo]:8554/main?x=y#z RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 2\r\n\r\nab", "PLAY rtsp://h%0d%0aX: y/main RTSP/1.0\r\nCSeq: 1\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		br := bufio.NewReaderSize(bytes.NewReader(text), maxRTSPHead)
		for {
			r, err := readRequest(br)
			if err != nil {
				return
			}
			if len(r.cseq) > maxCSeq || r.body > maxRTSPBody || len(r.Method) > maxRTSPMethod || strings.ContainsAny(r.session, "\r\n") {
				t.Fatalf("%+v", r)
			}
			stream, track, ok := rtspPath(r.URL)
			if !ok {
				continue
			}
			if !validName(stream) || track < noTrack {
				t.Fatalf("%v is stream %q, track %d", r.URL, stream, track)
			}
			res := named(response(base.StatusOK), "session")
			res.Header["Content-Base"] = base.HeaderValue{rtspBase(r.URL, stream)}
			answer := answerBytes(res, r.cseq)
			if bytes.Count(answer, []byte("\r\n")) != 5 || bytes.Count(answer, []byte("\n")) != 5 || len(answer) > 2*maxRTSPURL+200 {
				t.Fatalf("%q is answered with %q", text, answer)
			}
		}
	})
}

func FuzzTransport(f *testing.F) {
	for _, text := range []string{"RTP/AVP/TCP;unicast;interleaved=0-1", "RTP/AVP;unicast;client_port=5000-5001, RTP/AVP/TCP", "RTP/AVP;ssrc=zz;mode=\"PLAY\""} {
		f.Add(text, 0, true)
	}
	f.Fuzz(func(t *testing.T, text string, track int, secure bool) {
		track &= 1
		others := []transport{{channel: 4}}
		w, ok := chooseTransport(base.HeaderValue{text}, track, others, secure)
		if !ok {
			return
		}
		if w.udp || w.channel > 254 || w.channel >= 3 && w.channel <= 5 {
			t.Fatalf("%q: %+v beside %+v", text, w, others)
		}
		if w, ok = chooseTransport(base.HeaderValue{text}, track, nil, false); !ok || w.udp && (!validPort(w.ports[0]) || !validPort(w.ports[1])) {
			t.Fatalf("%q alone: %+v", text, w)
		}
	})
}

func FuzzTracksOf(f *testing.F) {
	for _, format := range []string{
		"video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 sprop-parameter-sets=Z0LADdkBQZ+fAQ==,aMuDyyA=", "video 0 RTP/AVP 26", "audio 0 RTP/AVP 0",
		"video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=fmtp:96 sprop-vps=QAEMAf//", "audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2",
		"audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/48000/2\r\na=fmtp:97 mode=AAC-hbr;config=1190;sizelength=13;indexlength=3;indexdeltalength=3",
	} {
		f.Add("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=" + format + "\r\n")
	}
	f.Fuzz(func(t *testing.T, text string) {
		tracks, err := tracksOf([]handover.Stream{{Name: "main", SDP: text}})
		if err != nil {
			return
		}
		if _, err := rtspSDP("main", tracks); err != nil || tracks[0].payloadType > 127 || tracks[0].rate <= 0 {
			t.Fatalf("%+v, %v", tracks, err)
		}
	})
}

func FuzzAuthorization(f *testing.F) {
	f.Add("OPTIONS", "rtsp://h/main", `Digest username="nvr", realm="slipstream", nonce="n", uri="rtsp://h/main", response="x"`)
	f.Add("DESCRIBE", "rtsp://h/main", "Basic bnZyOnNlY3JldC0x")
	g := &guard{own: "the-device's-own", log: slog.New(slog.DiscardHandler)}
	f.Fuzz(func(t *testing.T, method, url, header string) {
		u, err := base.ParseURL(url)
		if err != nil {
			return
		}
		a := asker{guard: g, from: netip.IPv4Unspecified(), secure: true}
		r := &base.Request{Method: base.Method(method), URL: u, Header: base.Header{"Authorization": base.HeaderValue{header}}}
		if a.check(r, time.Now()) == nil {
			t.Fatalf("%q is let in", header)
		}
	})
}

// A nonce is good for a while only.
func TestNonceGetsOld(t *testing.T) {
	t.Parallel()
	g, _ := guardOf(t, "nvr:secret-1\n")
	a := asker{guard: g, from: netip.MustParseAddr("192.0.2.1")}
	u, err := base.ParseURL("rtsp://h/main")
	if err != nil {
		t.Fatal(err)
	}
	r := &base.Request{Method: base.Describe, URL: u, Header: base.Header{}}
	start := time.Unix(1e9, 0)
	challenge := a.check(r, start)
	s := auth.Sender{WWWAuth: challenge.Header["WWW-Authenticate"], User: "nvr", Pass: "secret-1"}
	if err := s.Initialize(); err != nil {
		t.Fatal(err)
	}
	s.AddAuthorization(r)
	if res := a.check(r, start.Add(nonceTime)); res != nil {
		t.Errorf("in time: %v", res)
	}
	res := a.check(r, start.Add(nonceTime+time.Second))
	if res == nil || !strings.Contains(res.Header["WWW-Authenticate"][0], `stale="true"`) {
		t.Errorf("too late: %v", res)
	}
	if g.refused.Load() != 0 {
		t.Error("an old nonce counts as a wrong secret")
	}
}

// What viewers are told of each codec, in place of what the publisher has said.
func TestTracksOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ sdp, want string }{
		{"video 0 RTP/AVP 100\r\na=rtpmap:100 H264/90000", "m=video 0 RTP/AVP 96|a=rtpmap:96 H264/90000|a=fmtp:96 packetization-mode=1"},
		{"video 0 RTP/AVP 100\r\na=rtpmap:100 H265/90000", "m=video 0 RTP/AVP 96|a=rtpmap:96 H265/90000"},
		{"video 0 RTP/AVP 26", "m=video 0 RTP/AVP 26|a=rtpmap:26 JPEG/90000"},
		{"audio 0 RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 sprop-stereo=1", "m=audio 0 RTP/AVP 97|a=rtpmap:97 opus/48000/2|a=fmtp:97 sprop-stereo=1"},
		{"audio 0 RTP/AVP 0", "m=audio 0 RTP/AVP 0|a=rtpmap:0 PCMU/8000"},
		{"audio 0 RTP/AVP 8", "m=audio 0 RTP/AVP 8|a=rtpmap:8 PCMA/8000"},
		{"audio 0 RTP/AVP 105\r\na=rtpmap:105 PCMA/16000/2", "m=audio 0 RTP/AVP 97|a=rtpmap:97 PCMA/16000/2"},
		{"audio 0 RTP/AVP 105\r\na=rtpmap:105 mpeg4-generic/48000/2\r\na=fmtp:105 mode=AAC-hbr;config=1190;sizelength=13;indexlength=3;indexdeltalength=3", "m=audio 0 RTP/AVP 97|a=rtpmap:97 mpeg4-generic/48000/2|config=1190"},
		{"video 0 RTP/AVP 100\r\na=rtpmap:100 VP8/90000", ""},
		{"video 0 RTP/AVP 100", ""},
		{"application 0 RTP/AVP 100\r\na=rtpmap:100 smpte336m/90000", ""},
		{"video 0 RTP/AVP 26\r\nm=audio 0 RTP/AVP 0", ""},
	} {
		text := "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=" + c.sdp + "\r\n"
		tracks, err := tracksOf([]handover.Stream{{Name: "main", SDP: text}})
		if c.want == "" {
			if err == nil {
				t.Errorf("%q is taken", c.sdp)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.sdp, err)
			continue
		}
		told, err := rtspSDP("main", tracks)
		for want := range strings.SplitSeq(c.want+"|a=control:trackID=0", "|") {
			if err != nil || !strings.Contains(string(told), want) {
				t.Errorf("%q: no %q, %v in\n%s", c.sdp, want, err, told)
			}
		}
	}
	for _, streams := range [][]handover.Stream{nil, make([]handover.Stream, handover.MaxTracks+1)} {
		if _, err := tracksOf(streams); err == nil {
			t.Errorf("%d streams are taken", len(streams))
		}
	}
}
