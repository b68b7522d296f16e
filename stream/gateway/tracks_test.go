package gateway_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v3"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// h265Peer is a viewer that plays H.265 by its parameters, and the sound formats of
// any browser.
func h265Peer(t *testing.T, fmtp string) *webrtc.PeerConnection {
	t.Helper()
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	err := media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH265, ClockRate: 90_000, SDPFmtpLine: fmtp},
		PayloadType:        49,
	}, webrtc.RTPCodecTypeVideo)
	if err != nil {
		t.Fatal(err)
	}
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// offerOf makes an offer to receive some kinds of media, in their order.
func offerOf(t *testing.T, pc *webrtc.PeerConnection, kinds ...webrtc.RTPCodecType) string {
	t.Helper()
	for _, kind := range kinds {
		if _, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	return offer.SDP
}

var (
	h264Line = handover.Stream{Name: "main", Codec: "h264", Profile: "42e01f", SDP: sdpOf("video", "H264/90000", "packetization-mode=1")}
	h265Line = handover.Stream{Name: "main", Codec: "h265", SDP: sdpOf("video", "H265/90000", "profile-id=1;level-id=93")}
	opusLine = handover.Stream{Name: "sound", Codec: "opus", SDP: sdpOf("audio", "opus/48000/2", "sprop-stereo=1")}
	pcmaLine = handover.Stream{Name: "sound", Codec: "pcma", SDP: sdpOf("audio", "PCMA/8000", "")}
	aacLine  = handover.Stream{Name: "sound", Codec: "aac", SDP: sdpOf("audio", "mpeg4-generic/48000/2", "")}
)

// Whatever a viewer offers and a stream has, the forwarder gets the tracks that the
// answer has, on one transport, and all else is rejected.
func TestTracksOfViewers(t *testing.T) {
	t.Parallel()
	const video, audio = webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio
	w := newWorld(t)
	f := newFake(t, w)
	for _, c := range []struct {
		name    string
		streams []handover.Stream
		offered []webrtc.RTPCodecType
		want    string // streams of the tracks
		answer  []string
	}{
		{"a picture", []handover.Stream{h264Line}, []webrtc.RTPCodecType{video}, "main", nil},
		{"a picture for a viewer that wants sound, too", []handover.Stream{h264Line}, []webrtc.RTPCodecType{video, audio}, "main", []string{"m=audio 0 ", "a=group:BUNDLE 0\r\n"}},
		{"a picture for a viewer that asks for sound first", []handover.Stream{h264Line}, []webrtc.RTPCodecType{audio, video}, "main", []string{"m=audio 0 ", "a=group:BUNDLE 1\r\n"}},
		{"picture and Opus", []handover.Stream{h264Line, opusLine}, []webrtc.RTPCodecType{video, audio}, "main sound",
			[]string{"opus/48000/2", "stereo=1;sprop-stereo=1", "a=group:BUNDLE 0 1\r\n"}},
		{"Opus before the picture", []handover.Stream{h264Line, opusLine}, []webrtc.RTPCodecType{audio, video}, "main sound", []string{"opus/48000/2", "a=group:BUNDLE 0 1\r\n"}},
		{"picture and A-law", []handover.Stream{h264Line, pcmaLine}, []webrtc.RTPCodecType{video, audio}, "main sound", []string{"PCMA/8000"}},
		{"Opus that the viewer does not want", []handover.Stream{h264Line, opusLine}, []webrtc.RTPCodecType{video}, "main", nil},
		{"AAC", []handover.Stream{h264Line, aacLine}, []webrtc.RTPCodecType{video, audio}, "main", []string{"m=audio 0 "}},
		{"H.265 and Opus", []handover.Stream{h265Line, opusLine}, []webrtc.RTPCodecType{video, audio}, "main sound", []string{"H265/90000", "level-id=93"}},
		{"sound alone", []handover.Stream{opusLine}, []webrtc.RTPCodecType{video, audio}, "sound", []string{"m=video 0 ", "a=group:BUNDLE 1\r\n"}},
	} {
		f.change(func() { f.streams["main"] = c.streams })
		pc := h265Peer(t, "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST")
		offer := offerOf(t, pc, c.offered...)
		res, answer := post(t, w.whep, "application/sdp", offer)
		if res.StatusCode != http.StatusCreated {
			t.Errorf("%s: %s %s", c.name, res.Status, answer)
			continue
		}
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, answer)
			continue
		}
		v := f.viewer().Viewer
		var got []string
		for _, track := range v.Tracks {
			got = append(got, track.Stream)
			if !strings.Contains(answer, "a=ssrc:"+strconv.FormatUint(uint64(track.SSRC), 10)+" cname:slipstream\r\n") {
				t.Errorf("%s: the answer does not name the SSRC %d", c.name, track.SSRC)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: tracks %v, want %s", c.name, got, c.want)
		}
		sent := len(v.Tracks)
		for what, n := range map[string]int{"a=sendonly\r\n": sent, "a=msid:slipstream ": sent, "a=rtcp-mux\r\n": sent, "a=candidate:": 1, "a=mid:": len(c.offered), "a=recvonly": 0, "a=sendrecv": 0} {
			if strings.Count(answer, what) != n {
				t.Errorf("%s: the answer has %q %d times, not %d:\n%s", c.name, what, strings.Count(answer, what), n, answer)
			}
		}
		for _, want := range c.answer {
			if !strings.Contains(answer, want) {
				t.Errorf("%s: the answer lacks %q:\n%s", c.name, want, answer)
			}
		}
		pc.Close()
	}
	w.log.await(t, `msg="viewer gets no sound" stream=main because="the stream is AAC: WebRTC has no format for it; watch it by RTSP"`)
}

// Who cannot decode what a stream declares is told what is missing, and takes no place.
func TestViewersThatLackTheCodec(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFake(t, w)
	for _, c := range []struct {
		name   string
		stream handover.Stream
		fmtp   string
		says   string
	}{
		{"H.265 of a higher level", handover.Stream{Name: "main", Codec: "h265", SDP: sdpOf("video", "H265/90000", "profile-id=1;level-id=150")},
			"level-id=93;profile-id=1", "the stream is H.265 profile 1, main tier, level 5.0, and the offer has only H.265 profile 1, main tier, level 3.1"},
		{"4:4:4", handover.Stream{Name: "main", Codec: "h264", Profile: "f4001f", SDP: h264Line.SDP}, "x=1", "the stream is H.264 High 4:4:4 Predictive, level 3.1, and the offer has only"},
		{"MJPEG", handover.Stream{Name: "main", Codec: "mjpeg", SDP: sdpOf("video", "JPEG/90000", "")}, "x=1", "watch it by RTSP"},
	} {
		f.change(func() { f.streams["main"] = []handover.Stream{c.stream} })
		res, body := post(t, w.whep, "application/sdp", offerOf(t, h265Peer(t, c.fmtp), webrtc.RTPCodecTypeVideo))
		if res.StatusCode != http.StatusNotAcceptable || !strings.Contains(body, c.says) || strings.Count(body, "\n") != 1 {
			t.Errorf("%s: %s %q; want 406 and %q", c.name, res.Status, body, c.says)
		}
	}
	for path, want := range map[string]int{"dark": http.StatusServiceUnavailable, "none": http.StatusNotFound} {
		res, body := post(t, strings.Replace(w.whep, "main", path, 1), "application/sdp", newOffer(t, newPeer(t)))
		if res.StatusCode != want || (res.Header.Get("Retry-After") != "") != (want == http.StatusServiceUnavailable) {
			t.Errorf("%s: %s %v %s", path, res.Status, res.Header, body)
		}
	}
}

// Picture and sound of each codec that browsers may know come to a viewer, each on its
// own track.
func TestTracksPlay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ video, audio string }{{orders.H265, orders.Opus}, {orders.H264, orders.PCMU}, {orders.H264, orders.PCMA}} {
		t.Run(c.video+" and "+c.audio, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.forward(t)
			w.publishBoth(t, c.video, c.audio)
			pc := h265Peer(t, "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST")
			heard := make(chan string, 1000)
			pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
				for n := 0; ; n++ {
					p, _, err := track.ReadRTP()
					if err != nil {
						return
					}
					if n == 50 && p.PayloadType == uint8(track.PayloadType()) {
						heard <- strings.ToLower(track.Codec().MimeType) + " " + track.StreamID()
					}
				}
			})
			res, answer := post(t, w.whep, "application/sdp", offerOf(t, pc, webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo))
			if res.StatusCode != http.StatusCreated {
				t.Fatalf("%s %s", res.Status, answer)
			}
			if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
				t.Fatal(err)
			}
			want := map[string]bool{"video/" + c.video + " slipstream": true, "audio/" + c.audio + " slipstream": true}
			for timeout := time.After(patience); len(want) > 0; {
				select {
				case what := <-heard:
					if !want[what] {
						t.Errorf("%s came", what)
					}
					delete(want, what)
				case <-timeout:
					t.Fatalf("%v did not come", want)
				}
			}
		})
	}
}
