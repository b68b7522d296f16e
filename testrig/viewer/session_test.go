package viewer_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v3"

	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/viewer"
)

// patience bounds every wait.
const patience = time.Minute

// play sends the scene in real time until the test ends.
func play(t *testing.T, send func(*rtp.Packet)) {
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-done })
	go func() {
		defer close(done)
		seq := uint16(0)
		for n := (camera.FrameAt(publish.Monotonic())/10 + 1) * 10; ; n++ {
			select {
			case <-time.After(camera.FrameTime(n) - publish.Monotonic()):
			case <-stop:
				return
			}
			for _, p := range packetsOf("1.0", n, n%10 == 0, seq, uint32(n*3000)) {
				seq++
				send(p)
			}
		}
	}()
}

// watch waits for a second of pictures and expects them clean, then ends the
// session at the server and expects the viewer to notice.
func watch(t *testing.T, v *viewer.Viewer, hangUp func()) {
	t.Helper()
	t.Cleanup(v.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first, err := v.WaitVersion(ctx, "1.0", 0)
	if err != nil {
		t.Fatal(err)
	}
	last, err := v.Wait(ctx, "a second of pictures", func(u viewer.Unit) bool {
		return u.First > first.First+time.Second
	})
	if err != nil {
		t.Fatal(err)
	}
	rep := v.Report(first.First, last.Last)
	if !rep.Clean() || rep.Frames < 20 || !v.Alive() {
		t.Errorf("%s: alive %t %q, %+v", v.Kind, v.Alive(), v.Ended(), rep)
	}
	hangUp()
	poll := time.Tick(10 * time.Millisecond)
	for v.Alive() {
		select {
		case <-poll:
		case <-ctx.Done():
			t.Fatalf("%s: the session is over and the viewer thinks it lives", v.Kind)
		}
	}
}

func TestWHEPViewer(t *testing.T) {
	s := &whepServer{t: t}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264}, "video", "scene")
	if err != nil {
		t.Fatal(err)
	}
	s.track = track
	play(t, func(p *rtp.Packet) { track.WriteRTP(p) })

	v, err := viewer.DialWHEP(t.Context(), server.URL+"/whep/main")
	if err != nil {
		t.Fatal(err)
	}
	watch(t, v, func() { s.pc.Close() })
	v.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted != "/whep/main/7" {
		t.Errorf("closing the viewer deleted %q", s.deleted)
	}
}

func TestWHEPViewerSaysWhatTheGatewaySaid(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	if v, err := viewer.DialWHEP(t.Context(), server.URL); err == nil {
		v.Close()
		t.Error("a gateway without the stream was no error")
	}
}

// whepServer answers one viewer.
type whepServer struct {
	t     *testing.T
	track webrtc.TrackLocal
	pc    *webrtc.PeerConnection

	mu      sync.Mutex // guards deleted
	deleted string
}

func (s *whepServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodDelete {
		s.mu.Lock()
		s.deleted = r.URL.Path
		s.mu.Unlock()
		return
	}
	offer, _ := io.ReadAll(r.Body)
	answer, err := s.answer(string(offer))
	if err != nil {
		s.t.Error(err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Location", r.URL.Path+"/7")
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, answer)
}

func (s *whepServer) answer(offer string) (string, error) {
	setting := webrtc.SettingEngine{}
	setting.SetIncludeLoopbackCandidate(true)
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return "", err
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(setting)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	s.pc = pc
	s.t.Cleanup(func() { pc.Close() })
	if _, err := pc.AddTrack(s.track); err != nil {
		return "", err
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

func TestRTSPViewers(t *testing.T) {
	for _, kind := range []string{viewer.RTSPTCP, viewer.RTSPUDP} {
		t.Run(kind, func(t *testing.T) {
			s := newRTSPServer(t)
			play(t, func(p *rtp.Packet) { s.stream.WritePacketRTP(s.stream.Desc.Medias[0], p) })
			v, err := viewer.DialRTSP(t.Context(), kind, "rtsp://"+s.server.RTSPAddress+"/main")
			if err != nil {
				t.Fatal(err)
			}
			watch(t, v, s.close)
		})
	}
}

type rtspServer struct {
	server *gortsplib.Server
	stream *gortsplib.ServerStream
	close  func()
}

func newRTSPServer(t *testing.T) *rtspServer {
	s := &rtspServer{}
	rtpAddress, rtcpAddress := freePair(t)
	s.server = &gortsplib.Server{
		Handler: s, RTSPAddress: freePort(t), UDPRTPAddress: rtpAddress, UDPRTCPAddress: rtcpAddress,
	}
	if err := s.server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.server.Close)
	s.stream = &gortsplib.ServerStream{Server: s.server, Desc: &description.Session{Medias: []*description.Media{{
		Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96, PacketizationMode: 1}},
	}}}}
	if err := s.stream.Initialize(); err != nil {
		t.Fatal(err)
	}
	s.close = sync.OnceFunc(s.stream.Close)
	t.Cleanup(s.close)
	return s
}

// freePair finds the even and the odd UDP port that RTP and RTCP take.
func freePair(t *testing.T) (even, odd string) {
	for range 100 {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		port := c.LocalAddr().(*net.UDPAddr).Port &^ 1
		even, odd = fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", port+1)
		a, errA := net.ListenPacket("udp", even)
		b, errB := net.ListenPacket("udp", odd)
		if errA == nil {
			a.Close()
		}
		if errB == nil {
			b.Close()
		}
		if errA == nil && errB == nil {
			return even, odd
		}
	}
	t.Fatal("no pair of free UDP ports")
	return "", ""
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *rtspServer) OnDescribe(*gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, s.stream, nil
}

func (s *rtspServer) OnSetup(*gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, s.stream, nil
}

func (s *rtspServer) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}
