package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/ice/v2"
	"github.com/pion/interceptor"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v3"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// gatherTime bounds the making of an answer, which asks nobody outside.
const gatherTime = 5 * time.Second

// offerError is WebRTC's complaint about what the viewer sent.
type offerError struct{ err error }

func (e *offerError) Error() string { return "the offer is not usable: " + e.err.Error() }
func (e *offerError) Unwrap() error { return e.err }

// peers makes WebRTC connections that begin on one UDP port.
type peers struct {
	port      *port
	mux       ice.UDPMux
	advertise []netip.Addr
	log       *slog.Logger
}

func newPeers(p *port, advertise []netip.Addr, log *slog.Logger) *peers {
	mux := tapped{webrtc.NewICEUDPMux(pionLog{log}, p), p}
	return &peers{port: p, mux: mux, advertise: advertise, log: log}
}

func (p *peers) addr() *net.UDPAddr { return p.port.addr() }

// tapped is what ICE sees of the port.
type tapped struct {
	ice.UDPMux
	port *port
}

// GetConn implements [ice.UDPMux].
func (m tapped) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	l, ok := m.port.link(ufrag)
	if !ok {
		return nil, errors.New("no viewer has this ufrag")
	}
	conn, err := m.UDPMux.GetConn(ufrag, addr)
	if err != nil {
		return nil, err
	}
	return tap{conn, l}, nil
}

// GetListenAddresses implements [ice.UDPMux]: it shows a single address of each
// family. A socket that is bound to none would count as one candidate for each of
// the device's addresses; they all read from it, each packet is taken for one of
// them at random, and the pair that the viewer nominates may never be the one
// that was found to work.
func (m tapped) GetListenAddresses() []net.Addr {
	local := m.port.addr()
	if !local.IP.IsUnspecified() {
		return []net.Addr{local}
	}
	addrs := []net.Addr{&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: local.Port}}
	if local.IP.To4() == nil {
		addrs = append(addrs, &net.UDPAddr{IP: net.IPv6loopback, Port: local.Port})
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

// peer is one viewer's WebRTC connection. It negotiates, shakes hands, and is
// closed once the forwarder has the viewer: no media ever goes through it.
type peer struct {
	pc     *webrtc.PeerConnection
	sender *webrtc.RTPSender // of the first track; all have one transport
	tracks []handover.Track
	port   *port
	link   *link
	remote string // the viewer's ufrag

	connected chan struct{} // closed when the handshake is done
	ended     chan struct{} // closed when the viewer is gone for good
}

// pick is a stream in the format in which a viewer is given it.
type pick struct {
	payload
	stream  string
	stereo  bool
	profile string // that the stream declares
}

// kind is the section that the stream goes into.
func (p pick) kind() webrtc.RTPCodecType {
	if p.channels > 0 {
		return webrtc.RTPCodecTypeAudio
	}
	return webrtc.RTPCodecTypeVideo
}

// answer makes the connection for an offer. The caller owns it and closes it.
func (p *peers) answer(ctx context.Context, o offer, picks []pick) (*peer, string, error) {
	v := &peer{
		port: p.port, link: newLink(), remote: o.ufrag,
		connected: make(chan struct{}), ended: make(chan struct{}),
	}
	api, err := p.api(picks, v.link)
	if err != nil {
		return nil, "", err
	}
	if v.pc, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return nil, "", fmt.Errorf("make peer connection: %w", err)
	}
	p.port.add(v.link)
	text, err := v.negotiate(ctx, o, picks)
	if err == nil {
		stereo := slices.ContainsFunc(picks, func(k pick) bool { return k.stereo })
		text, err = finish(text, o.session.MediaDescriptions, p.candidates(), stereo)
	}
	if err != nil {
		v.close()
		return nil, "", err
	}
	return v, text, nil
}

// candidates are the lines of SDP for where viewers can reach the gateway.
func (p *peers) candidates() []string { return candidates(p.reachable(), p.addr().Port) }

// api is what one viewer may negotiate: the formats that were chosen. There are no
// interceptors, since these send.
func (p *peers) api(picks []pick, l *link) (*webrtc.API, error) {
	media := &webrtc.MediaEngine{}
	for _, k := range picks {
		err := media.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: k.capability(),
			PayloadType:        webrtc.PayloadType(k.payloadType),
		}, k.kind())
		if err != nil {
			return nil, fmt.Errorf("register codec: %w", err)
		}
	}
	own := l.own()
	s := webrtc.SettingEngine{LoggerFactory: pionLog{p.log}}
	s.SetLite(true)
	s.SetICEUDPMux(p.mux)
	s.SetICECredentials(own.ufrag, own.pwd)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.DisableActiveTCP(true)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.SetSRTPProtectionProfiles(l.cipher.list...)
	if err := s.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
		return nil, fmt.Errorf("set DTLS role: %w", err)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(s),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{})), nil
}

// mimeTypes are WebRTC's names of the codecs.
var mimeTypes = map[string]string{
	orders.H264: webrtc.MimeTypeH264, orders.H265: webrtc.MimeTypeH265,
	orders.Opus: webrtc.MimeTypeOpus, orders.PCMU: webrtc.MimeTypePCMU, orders.PCMA: webrtc.MimeTypePCMA,
}

func (f payload) capability() webrtc.RTPCodecCapability {
	c := webrtc.RTPCodecCapability{MimeType: mimeTypes[f.codec], ClockRate: f.rate, SDPFmtpLine: f.fmtp}
	if f.channels > 1 {
		c.Channels = f.channels
	}
	if f.channels == 0 {
		c.RTCPFeedback = []webrtc.RTCPFeedback{
			{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"},
		}
	}
	return c
}

func (v *peer) negotiate(ctx context.Context, o offer, picks []pick) (string, error) {
	answered := map[string]bool{}
	for _, k := range picks {
		if err := v.add(k); err != nil {
			return "", err
		}
		answered[k.kind().String()] = true
	}
	text, err := o.text(func(m *sdp.MediaDescription) bool {
		return answered[m.MediaName.Media] && (m == o.video.media || m == o.audio.media)
	})
	if err != nil {
		return "", &offerError{err}
	}
	v.pc.OnConnectionStateChange(v.changed())
	if err := v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text}); err != nil {
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

// add makes a track for a stream. All tracks are of one MediaStream, as WHEP has it.
func (v *peer) add(k pick) error {
	local, err := webrtc.NewTrackLocalStaticRTP(k.capability(), k.kind().String(), "slipstream")
	if err != nil {
		return fmt.Errorf("make track: %w", err)
	}
	t, err := v.pc.AddTransceiverFromTrack(local, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return fmt.Errorf("add track: %w", err)
	}
	if v.sender == nil {
		v.sender = t.Sender()
	}
	ssrc := uint32(t.Sender().GetParameters().Encodings[0].SSRC)
	v.tracks = append(v.tracks, handover.Track{Stream: k.stream, SSRC: ssrc, PayloadType: k.payloadType, Codec: k.codec, Profile: k.profile})
	return nil
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

// viewer is a connected peer as the forwarder needs to know it, and its address.
func (v *peer) viewer(id string) (handover.Viewer, netip.AddrPort, error) {
	dtls := v.sender.Transport()
	keys, err := mediaKeys(dtls, false)
	if err != nil {
		return handover.Viewer{}, netip.AddrPort{}, err
	}
	pair, err := dtls.ICETransport().GetSelectedCandidatePair()
	if err == nil && pair == nil {
		err = errors.New("none was nominated")
	}
	if err != nil {
		return handover.Viewer{}, netip.AddrPort{}, fmt.Errorf("the viewer's address: %w", err)
	}
	addr, err := netip.ParseAddr(pair.Remote.Address)
	if err != nil {
		return handover.Viewer{}, netip.AddrPort{}, fmt.Errorf("the viewer's address: %w", err)
	}
	return handover.Viewer{
		ID: id, Tracks: v.tracks, SRTP: keys, ICE: v.link.own().ice(v.remote), Flight: v.link.lastFlight(),
	}, netip.AddrPortFrom(addr.Unmap(), pair.Remote.Port), nil
}

// release ends the connection without a word to the viewer, who goes on with the
// forwarder. Only the link is kept, until close: what the library has of a viewer is
// most of the memory that a session takes.
func (v *peer) release() {
	v.link.muted.Store(true)
	v.pc.Close()
	v.pc, v.sender = nil, nil
}

// close ends the connection, and tells the viewer unless it was released.
func (v *peer) close() {
	if v.pc != nil {
		v.pc.Close()
	}
	v.port.remove(v.link)
}
