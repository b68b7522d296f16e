package gateway_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/transport/v2"
	"github.com/pion/transport/v2/stdnet"
	"github.com/pion/webrtc/v3"
)

// viewer is a pion v3 WHEP client. It checks of each packet what no update may break.
type viewer struct {
	pc       *webrtc.PeerConnection
	location string // URL of the session
	tag      string // entity tag of its ICE session
	answer   string

	mu      sync.Mutex
	breaks  []string
	reports []*rtcp.SenderReport
	ssrc    webrtc.SSRC

	byes   chan string // reasons
	frames chan frame  // one for each access unit; the newest are dropped while it is full
}

// frame is an access unit as a viewer got it.
type frame struct {
	key, sets bool
	ts        uint32
	at        time.Time
}

// newPeer makes a peer connection like a browser's that plays on the gateway's machine.
func newPeer(t *testing.T, change ...func(*webrtc.SettingEngine)) *webrtc.PeerConnection {
	t.Helper()
	var s webrtc.SettingEngine
	sockets, err := stdnet.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	s.SetNet(roomyNet{sockets})
	s.SetIncludeLoopbackCandidate(true)
	for _, f := range change {
		f(&s)
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
	return pc
}

// roomyNet makes sockets that hold what comes while this process waits for a processor:
// what they lose would count as the gateway's loss.
type roomyNet struct{ *stdnet.Net }

func (r roomyNet) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	c, err := net.ListenUDP(network, local)
	if err == nil {
		err = c.SetReadBuffer(viewerBuffer)
	}
	return c, err
}

// viewerBuffer is more than the system may allow.
const viewerBuffer = 4 << 20

// listenRoomy is [roomyNet] for RTSP.
func listenRoomy(network, address string) (net.PacketConn, error) {
	c, err := net.ListenPacket(network, address)
	if udp, ok := c.(*net.UDPConn); ok && err == nil {
		err = udp.SetReadBuffer(viewerBuffer)
	}
	return c, err
}

// newOffer makes an offer to receive one video.
func newOffer(t *testing.T, pc *webrtc.PeerConnection) string {
	t.Helper()
	_, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	if err != nil {
		t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	return offer.SDP
}

// join plays a stream by WHEP.
func join(t *testing.T, url string, change ...func(*webrtc.SettingEngine)) *viewer {
	t.Helper()
	v := knock(t, url, change...)
	v.enter(t)
	return v
}

// knock gets an answer, and makes no use of it yet.
func knock(t *testing.T, url string, change ...func(*webrtc.SettingEngine)) *viewer {
	t.Helper()
	v := &viewer{pc: newPeer(t, change...), frames: make(chan frame, 1000), byes: make(chan string, 10)}
	v.pc.OnTrack(v.watch)
	offer := newOffer(t, v.pc)
	if err := v.pc.SetLocalDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		t.Fatal(err)
	}
	res, body := post(t, url, "application/sdp", offer)
	if res.StatusCode != http.StatusCreated || res.Header.Get("Content-Type") != "application/sdp" {
		t.Fatalf("%s: %s", res.Status, body)
	}
	v.answer = body
	v.tag = res.Header.Get("ETag")
	v.location = url[:strings.Index(url, "/whep/")] + res.Header.Get("Location")
	return v
}

func (v *viewer) enter(t *testing.T) {
	t.Helper()
	if err := v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: v.answer}); err != nil {
		t.Fatal(err)
	}
}

// forget drops the frames that were not looked at.
func (v *viewer) forget() {
	for len(v.frames) > 0 {
		<-v.frames
	}
}

func post(t *testing.T, url, contentType, body string) (*http.Response, string) {
	t.Helper()
	client := http.Client{Timeout: patience}
	res, err := client.Post(url, contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func (v *viewer) watch(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	v.mu.Lock()
	v.ssrc = track.SSRC()
	v.mu.Unlock()
	go func() {
		for {
			packets, _, err := receiver.ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range packets {
				switch r := p.(type) {
				case *rtcp.SenderReport:
					v.mu.Lock()
					v.reports = append(v.reports, r)
					v.mu.Unlock()
				case *rtcp.Goodbye:
					v.byes <- r.Reason
				}
			}
		}
	}()
	var last *rtp.Packet
	var f frame
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			close(v.frames)
			return
		}
		v.check(last, p)
		last = p
		key, sets := look(p.Payload)
		f.key, f.sets, f.ts, f.at = f.key || key, f.sets || sets, p.Timestamp, time.Now()
		if p.Marker {
			select {
			case v.frames <- f:
			default:
			}
			f = frame{}
		}
	}
}

// check compares a packet with the one before it.
func (v *viewer) check(last, p *rtp.Packet) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if last == nil {
		return
	}
	if p.SequenceNumber != last.SequenceNumber+1 {
		v.breaks = append(v.breaks, fmt.Sprintf("sequence number %d follows %d", p.SequenceNumber, last.SequenceNumber))
	}
	if d := int32(p.Timestamp - last.Timestamp); d < 0 || (last.Marker && d == 0) || (!last.Marker && d != 0) {
		v.breaks = append(v.breaks, fmt.Sprintf("time %d follows %d, marker %v", p.Timestamp, last.Timestamp, last.Marker))
	}
}

// look tells whether a payload begins an IDR picture or is a parameter set.
func look(payload []byte) (key, sets bool) {
	switch t := payload[0] & 0x1f; t {
	case 24:
		inner := payload[3] & 0x1f
		return false, inner == 7 || inner == 8
	case 28:
		return payload[1]&0x9f == 0x85, false
	default:
		return t == 5, t == 7 || t == 8
	}
}

// until waits for a frame that matches.
func (v *viewer) until(t *testing.T, what string, match func(frame) bool) frame {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case f, ok := <-v.frames:
			if !ok {
				t.Fatalf("track ended before %s", what)
			}
			if match(f) {
				return f
			}
		case <-timeout:
			t.Fatalf("no %s", what)
		}
	}
}

// pass waits for n frames.
func (v *viewer) pass(t *testing.T, n int) (last frame) {
	t.Helper()
	return v.until(t, fmt.Sprintf("%d frames", n), func(frame) bool { n--; return n == 0 })
}

// unbroken fails the test for whatever went wrong so far.
func (v *viewer) unbroken(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, b := range v.breaks {
		t.Error(b)
	}
}
