package viewer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v2"
	"github.com/pion/transport/v2/stdnet"
	"github.com/pion/webrtc/v3"
)

// maxAnswer bounds a WHEP answer in bytes.
const maxAnswer = 64 << 10

// receiveMTU is larger than any packet.
const receiveMTU = 4096

// replayWindow is a browser's: how many packets late one may come that was sent
// again. The library's own 64 are a fifth of a second.
const replayWindow = 1024

// keepalive is the library's own pause between two signs of life.
const keepalive = 2 * time.Second

// DialWHEP plays a stream by WebRTC (draft-ietf-wish-whep) and returns once the
// session is connected.
func DialWHEP(ctx context.Context, endpoint string, options ...Option) (*Viewer, error) {
	v := newViewer(WHEP, endpoint, options)
	ctx, cancel := context.WithTimeout(ctx, v.limit)
	defer cancel()
	came := &arrivals{}
	pc, err := newPeer(came, v.limit)
	if err != nil {
		return nil, fmt.Errorf("whep viewer: %w", err)
	}
	s := &whepSession{viewer: v, pc: pc, arrivals: came, connected: make(chan struct{})}
	v.hangUp = s.hangUp
	pc.OnConnectionStateChange(s.state)
	pc.OnTrack(s.play)
	if err := s.negotiate(ctx, endpoint); err != nil {
		v.Close()
		return nil, fmt.Errorf("whep viewer of %s: %w", endpoint, err)
	}
	return v, nil
}

// newPeer has no interceptors: a lost packet must be seen. Who wants it to be asked
// for has [Repair], which counts.
func newPeer(came *arrivals, limit time.Duration) (*webrtc.PeerConnection, error) {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	sockets, err := stdnet.NewNet()
	if err != nil {
		return nil, err
	}
	setting := webrtc.SettingEngine{}
	setting.SetNet(roomyNet{sockets, came})
	setting.SetIncludeLoopbackCandidate(true)
	setting.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled) // its sockets must be the system's own
	if limit > dialTimeout {
		setting.SetICETimeouts(limit, 2*limit, keepalive)
	}
	setting.SetReceiveMTU(receiveMTU)
	setting.SetSRTPReplayProtectionWindow(replayWindow)
	setting.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(setting))
	return api.NewPeerConnection(webrtc.Configuration{})
}

type whepSession struct {
	viewer    *Viewer
	pc        *webrtc.PeerConnection
	arrivals  *arrivals
	resource  string // what DELETE ends
	connected chan struct{}
	once      sync.Once

	mu      sync.Mutex // guards closed, and playing against a late track
	closed  bool
	playing sync.WaitGroup
}

func (s *whepSession) negotiate(ctx context.Context, endpoint string) error {
	only := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	if _, err := s.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, only); err != nil {
		return err
	}
	offer, err := s.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(offer); err != nil {
		return err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return fmt.Errorf("gather candidates: %w", ctx.Err())
	}
	answer, err := s.post(ctx, endpoint, s.pc.LocalDescription().SDP)
	if err != nil {
		return err
	}
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: s.viewer.answer(answer)}); err != nil {
		return fmt.Errorf("take the answer: %w", err)
	}
	select {
	case <-s.connected:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("connect: %w", ctx.Err())
	}
}

func (s *whepSession) post(ctx context.Context, endpoint, offer string) (answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(offer))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/sdp")
	s.viewer.sign(req)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("the gateway answers %s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	base, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	location, err := base.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" {
		return "", errors.New("the gateway's answer has no Location to end the session with")
	}
	s.resource = location.String()
	return string(body), nil
}

// sign shows who asks.
func (v *Viewer) sign(req *http.Request) {
	if v.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+v.bearer)
	}
}

func (s *whepSession) state(state webrtc.PeerConnectionState) {
	switch state {
	case webrtc.PeerConnectionStateConnected:
		s.once.Do(func() { close(s.connected) })
	case webrtc.PeerConnectionStateDisconnected, webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
		s.viewer.end("the connection is " + state.String())
	}
}

func (s *whepSession) play(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.playing.Add(1)
	s.mu.Unlock()
	defer s.playing.Done()
	take := s.viewer.sink
	if r := s.viewer.repair; r != nil {
		stop := r.run(s.pc, track, take)
		defer stop()
		take = r.packet
	}
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			s.viewer.end("the track ended: " + err.Error())
			return
		}
		take(s.arrivals.of(p.SequenceNumber), p)
	}
}

// hangUp ends the session at the gateway too, as a browser's page should.
func (s *whepSession) hangUp() {
	if s.resource != "" {
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		defer cancel()
		if req, err := http.NewRequestWithContext(ctx, http.MethodDelete, s.resource, nil); err == nil {
			s.viewer.sign(req)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}
	}
	s.pc.Close()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.playing.Wait()
}
