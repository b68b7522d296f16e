package gateway

import (
	"net"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v2"
	"github.com/pion/webrtc/v3"
	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
)

// testTime bounds every wait; the machines are busy.
const testTime = time.Minute

// wire is a test viewer's UDP socket, which can lose what it is told to.
type wire struct {
	net.PacketConn
	lose atomic.Bool // datagrams that begin with a change of cipher
	got  chan []byte // all others; the newest are not noted while it is full
}

func (w *wire) ReadFrom(buf []byte) (int, net.Addr, error) {
	for {
		n, from, err := w.PacketConn.ReadFrom(buf)
		if err == nil && n > 0 && buf[0] == recordCipherChange && w.lose.Load() {
			continue
		}
		if err == nil {
			select {
			case w.got <- slices.Clone(buf[:n]):
			default:
			}
		}
		return n, from, err
	}
}

func newWire(t *testing.T) *wire {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return &wire{PacketConn: conn, got: make(chan []byte, 10_000)}
}

// newViewer makes a WebRTC client and the gateway's peer for it.
func newViewer(t *testing.T, p *peers, w *wire, ciphers ...dtls.SRTPProtectionProfile) (*webrtc.PeerConnection, *peer) {
	t.Helper()
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEUDPMux(webrtc.NewICEUDPMux(pionLog{p.log}, w))
	if len(ciphers) > 0 {
		s.SetSRTPProtectionProfiles(ciphers...)
	}
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(media)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	o, err := parseOffer([]byte(offer.SDP))
	if err != nil {
		t.Fatal(err)
	}
	v, answer, err := p.answer(t.Context(), o, []pick{h264Pick(t, o)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.close)
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
	return pc, v
}

func await(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(testTime):
		t.Fatalf("no %s", what)
	}
}

// connected is closed once a client's handshake is done.
func connected(pc *webrtc.PeerConnection) <-chan struct{} {
	done := make(chan struct{})
	var once atomic.Bool
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected && once.CompareAndSwap(false, true) {
			close(done)
		}
	})
	if pc.ConnectionState() == webrtc.PeerConnectionStateConnected && once.CompareAndSwap(false, true) {
		close(done)
	}
	return done
}

// This fails if the inside of WebRTC's library is not what keys.go knows.
func TestInsideOfWebRTC(t *testing.T) {
	t.Parallel()
	if err := checkInside(); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if _, err := mediaKeys(pc.SCTP().Transport(), false); err == nil {
		t.Error("a transport that is not connected has keys")
	}
}

// Both sides of a handshake read the same keys, and our order of ciphers holds.
func TestMediaKeys(t *testing.T) {
	t.Parallel()
	const cm, gcm128, gcm256 = dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM
	for _, c := range []struct {
		name      string
		offered   []dtls.SRTPProtectionProfile
		want      string
		key, salt int
	}{
		{"Chromium's order", []dtls.SRTPProtectionProfile{cm, gcm256, gcm128}, handover.AES128, 16, 12},
		{"our order", []dtls.SRTPProtectionProfile{gcm128, gcm256, cm}, handover.AES128, 16, 12},
		{"no 128 bits", []dtls.SRTPProtectionProfile{cm, gcm256}, handover.AES256, 32, 12},
		{"CM alone", []dtls.SRTPProtectionProfile{cm}, handover.AES128CM, 16, 14},
		{"one that we do not take", []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_32, cm}, handover.AES128CM, 16, 14},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t)
			pc, v := newViewer(t, newTestPeers(t), w, c.offered...)
			await(t, "handshake", v.connected)
			await(t, "client's handshake", connected(pc))
			got, addr, err := v.viewer("x")
			if err != nil {
				t.Fatal(err)
			}
			if want := w.LocalAddr().(*net.UDPAddr).AddrPort(); addr != want {
				t.Errorf("address %v, want %v", addr, want)
			}
			k := got.SRTP
			if k.Profile != c.want || len(k.LocalKey) != c.key || len(k.RemoteKey) != c.key || len(k.LocalSalt) != c.salt || len(k.RemoteSalt) != c.salt {
				t.Errorf("%+v; want %s", k, c.want)
			}
			theirs, err := mediaKeys(pc.GetReceivers()[0].Transport(), true)
			if err != nil {
				t.Fatal(err)
			}
			mirrored := handover.SRTP{Profile: k.Profile, LocalKey: k.RemoteKey, LocalSalt: k.RemoteSalt, RemoteKey: k.LocalKey, RemoteSalt: k.LocalSalt}
			if !reflect.DeepEqual(theirs, mirrored) {
				t.Errorf("the viewer has %+v, we %+v", theirs, k)
			}
			if got.Tracks[0].SSRC == 0 || got.Tracks[0].PayloadType == 0 || got.ICE.RemoteUfrag == "" || len(got.Flight) == 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// WebRTC's library says goodbye when it is closed; to a viewer that it no longer
// has it must not.
func TestReleaseIsSilent(t *testing.T) {
	t.Parallel()
	for _, released := range []bool{true, false} {
		w := newWire(t)
		p := newTestPeers(t)
		pc, v := newViewer(t, p, w)
		await(t, "handshake", v.connected)
		await(t, "client's handshake", connected(pc))
		_, addr, err := v.viewer("x")
		if err != nil {
			t.Fatal(err)
		}
		for len(w.got) > 0 {
			<-w.got
		}
		if released {
			v.release()
		} else {
			v.close()
		}
		last := []byte{200, 'l', 'a', 's', 't'}
		if _, err := p.port.conn.WriteToUDPAddrPort(last, addr); err != nil {
			t.Fatal(err)
		}
		alerts := 0
		for timeout := time.After(testTime); ; {
			var pkt []byte
			select {
			case pkt = <-w.got:
			case <-timeout:
				t.Fatal("the last datagram did not come")
			}
			if string(pkt) == string(last) {
				break
			}
			if pkt[0] == 21 {
				alerts++
			}
		}
		if released != (alerts == 0) {
			t.Errorf("released %v: %d alerts", released, alerts)
		}
	}
}

// The last flight of the handshake is lost, and WebRTC is gone: what was noted of
// it, sent again as it was, ends the viewer's handshake.
func TestLastFlightIsLost(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.lose.Store(true)
	p := newTestPeers(t)
	pc, v := newViewer(t, p, w)
	done := connected(pc)
	await(t, "handshake", v.connected)
	give, addr, err := v.viewer("x")
	if err != nil {
		t.Fatal(err)
	}
	v.release()
	v.link.at(addr)
	own, err := p.port.connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer own.close()
	p.port.drain(own)
	buf := make([]byte, maxDatagram)
	for deadline := time.Now().Add(testTime); ; {
		if time.Now().After(deadline) {
			t.Fatal("the viewer does not try again")
		}
		poll := []unix.PollFd{{Fd: int32(own.fd), Events: unix.POLLIN}}
		unix.Poll(poll, 100)
		if n, _, err := unix.Recvfrom(own.fd, buf, 0); err == nil && n > 0 && buf[0] == recordHandshake {
			break
		}
	}
	w.lose.Store(false)
	if _, err := unix.Write(own.fd, give.Flight); err != nil {
		t.Fatal(err)
	}
	await(t, "client's handshake", done)
}
