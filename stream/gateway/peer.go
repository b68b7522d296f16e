package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/ice/v2"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v3"
)

const (
	// resendPackets is how far back a viewer may ask for lost packets; a power of two.
	resendPackets = 512

	// gatherTime bounds the making of an answer, which asks nobody outside.
	gatherTime = 5 * time.Second

	rtcpBuffer = 1500
)

// offerError is WebRTC's complaint about what the viewer sent.
type offerError struct{ err error }

func (e *offerError) Error() string { return "the offer is not usable: " + e.err.Error() }
func (e *offerError) Unwrap() error { return e.err }

// peers makes WebRTC connections that share one UDP socket.
type peers struct {
	conn      *net.UDPConn
	mux       ice.UDPMux
	advertise []netip.Addr
	log       *slog.Logger
}

func newPeers(conn *net.UDPConn, advertise []netip.Addr, log *slog.Logger) *peers {
	mux := onePerFamily{webrtc.NewICEUDPMux(pionLog{log}, conn), conn.LocalAddr().(*net.UDPAddr)}
	return &peers{conn: conn, mux: mux, advertise: advertise, log: log}
}

func (p *peers) addr() *net.UDPAddr { return p.conn.LocalAddr().(*net.UDPAddr) }

// onePerFamily shows ICE a single address of each family. A socket that is bound
// to none would count as one candidate for each of the device's addresses; they
// all read from it, each packet is taken for one of them at random, and the pair
// that the viewer nominates may never be the one that was found to work.
type onePerFamily struct {
	ice.UDPMux
	local *net.UDPAddr
}

// GetListenAddresses implements [ice.UDPMux].
func (m onePerFamily) GetListenAddresses() []net.Addr {
	if !m.local.IP.IsUnspecified() {
		return []net.Addr{m.local}
	}
	addrs := []net.Addr{&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: m.local.Port}}
	if m.local.IP.To4() == nil {
		addrs = append(addrs, &net.UDPAddr{IP: net.IPv6loopback, Port: m.local.Port})
	}
	return addrs
}

func (p *peers) close() { p.mux.Close() }

// reachable lists the addresses that viewers are told, best first.
func (p *peers) reachable() []netip.Addr {
	if len(p.advertise) > 0 {
		return p.advertise
	}
	local := p.addr().AddrPort().Addr().Unmap()
	if !local.IsUnspecified() {
		return []netip.Addr{local}
	}
	return ownAddresses(local.Is6())
}

// peer is one viewer's WebRTC connection.
type peer struct {
	pc     *webrtc.PeerConnection
	track  *webrtc.TrackLocalStaticRTP
	sender *webrtc.RTPSender
	ssrc   uint32

	connected chan struct{} // closed when packets can flow
	ended     chan struct{} // closed when the viewer is gone for good
	feedback  sync.WaitGroup
}

// answer makes the connection for an offer. The caller owns it and closes it.
func (p *peers) answer(ctx context.Context, o offer, f h264Format) (*peer, string, error) {
	api, err := p.api(f)
	if err != nil {
		return nil, "", err
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, "", fmt.Errorf("make peer connection: %w", err)
	}
	v := &peer{pc: pc, connected: make(chan struct{}), ended: make(chan struct{})}
	text, err := v.negotiate(ctx, o, f)
	if err == nil {
		text, err = listCandidates(text, p.reachable(), p.addr().Port)
	}
	if err != nil {
		pc.Close()
		return nil, "", err
	}
	return v, text, nil
}

// api is what one viewer may negotiate: the one format that was chosen.
func (p *peers) api(f h264Format) (*webrtc.API, error) {
	media := &webrtc.MediaEngine{}
	err := media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: f.capability(),
		PayloadType:        webrtc.PayloadType(f.payloadType),
	}, webrtc.RTPCodecTypeVideo)
	if err != nil {
		return nil, fmt.Errorf("register codec: %w", err)
	}
	resend, err := nack.NewResponderInterceptor(nack.ResponderSize(resendPackets))
	if err != nil {
		return nil, fmt.Errorf("register resends: %w", err)
	}
	chain := &interceptor.Registry{}
	chain.Add(resend)

	s := webrtc.SettingEngine{LoggerFactory: pionLog{p.log}}
	s.SetLite(true)
	s.SetICEUDPMux(p.mux)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.DisableActiveTCP(true)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	if err := s.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
		return nil, fmt.Errorf("set DTLS role: %w", err)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(chain),
		webrtc.WithSettingEngine(s)), nil
}

func (f h264Format) capability() webrtc.RTPCodecCapability {
	return webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeH264, ClockRate: videoRate, SDPFmtpLine: f.fmtp,
		RTCPFeedback: []webrtc.RTCPFeedback{
			{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"},
		},
	}
}

func (v *peer) negotiate(ctx context.Context, o offer, f h264Format) (string, error) {
	var err error
	if v.track, err = webrtc.NewTrackLocalStaticRTP(f.capability(), "video", "slipstream"); err != nil {
		return "", fmt.Errorf("make track: %w", err)
	}
	t, err := v.pc.AddTransceiverFromTrack(v.track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return "", fmt.Errorf("add track: %w", err)
	}
	v.sender = t.Sender()
	v.ssrc = uint32(v.sender.GetParameters().Encodings[0].SSRC)
	v.pc.OnConnectionStateChange(v.changed())
	if err := v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.sdp}); err != nil {
		return "", &offerError{err}
	}
	answer, err := v.pc.CreateAnswer(nil)
	if err != nil {
		return "", &offerError{err}
	}
	gathered := webrtc.GatheringCompletePromise(v.pc)
	if err := v.pc.SetLocalDescription(answer); err != nil {
		return "", &offerError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	select {
	case <-gathered:
		return v.pc.LocalDescription().SDP, nil
	case <-ctx.Done():
		return "", fmt.Errorf("list own addresses: %w", ctx.Err())
	}
}

// changed follows the connection's state. "disconnected" is not the end: ICE
// still waits for the viewer to come back.
func (v *peer) changed() func(webrtc.PeerConnectionState) {
	var connected, ended sync.Once
	return func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			connected.Do(func() { close(v.connected) })
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			ended.Do(func() { close(v.ended) })
		}
	}
}

// listen calls lost for each report that the viewer cannot go on decoding, until
// the peer is closed. It also lets the resender see the viewer's requests.
func (v *peer) listen(lost func()) {
	v.feedback.Go(func() {
		buf := make([]byte, rtcpBuffer)
		for {
			n, _, err := v.sender.Read(buf)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
				return
			}
			if err == nil && lostPicture(buf[:n]) {
				lost()
			}
		}
	})
}

func lostPicture(report []byte) bool {
	packets, err := rtcp.Unmarshal(report)
	if err != nil {
		return false
	}
	for _, p := range packets {
		switch p.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			return true
		}
	}
	return false
}

// write sends one RTP packet, with the SSRC and payload type of the connection. A
// packet that the network does not take is lost like any other.
func (v *peer) write(pkt []byte) error {
	if _, err := v.track.Write(pkt); errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return nil
}

func (v *peer) report(r *rtcp.SenderReport) { _ = v.pc.WriteRTCP([]rtcp.Packet{r}) }

func (v *peer) close() {
	v.pc.Close()
	v.feedback.Wait()
}
