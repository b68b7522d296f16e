package gateway_test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v3"
)

// Versions come and go; a viewer that the forwarder has notices nothing.
func TestSwitchAndRevert(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	v := join(t, w.whep)
	v.pass(t, 10)
	for range 2 {
		w.swap(t)
		v.forget()
		v.pass(t, 10)
	}
	v.unbroken(t)
}

// lossy is a viewer's socket that loses some of what comes.
type lossy struct {
	net.PacketConn
	lose func(pkt []byte) bool
	lost atomic.Int64
}

func (l *lossy) ReadFrom(buf []byte) (int, net.Addr, error) {
	for {
		n, from, err := l.PacketConn.ReadFrom(buf)
		if err != nil || n == 0 || !l.lose(buf[:n]) {
			return n, from, err
		}
		l.lost.Add(1)
	}
}

// over makes a viewer use a socket.
func over(conn net.PacketConn) func(*webrtc.SettingEngine) {
	quiet := &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}
	return func(s *webrtc.SettingEngine) { s.SetICEUDPMux(webrtc.NewICEUDPMux(quiet.NewLogger("ice"), conn)) }
}

func newSocket(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadBuffer(viewerBuffer); err != nil {
		t.Fatal(err)
	}
	return conn
}

// The last datagram of the handshake is lost, and the viewer is the forwarder's
// already: it gets what it lacks from there.
func TestEndOfHandshakeIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	times := 0
	wire := &lossy{PacketConn: newSocket(t), lose: func(pkt []byte) bool {
		if pkt[0] == 20 { // change of cipher
			times++
		}
		return pkt[0] == 20 && times == 1
	}}
	v := join(t, w.whep, over(wire))
	v.pass(t, 10)
	v.unbroken(t)
	if wire.lost.Load() == 0 {
		t.Error("nothing was lost")
	}
}

// roaming is a viewer's socket behind a NAT that forgets it: from then on, what
// the viewer sends comes from another port, and what is sent to the old one is
// lost.
type roaming struct {
	*net.UDPConn // the first
	mu           sync.Mutex
	now          *net.UDPConn
}

func (r *roaming) outside() *net.UDPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *roaming) WriteTo(pkt []byte, to net.Addr) (int, error) { return r.outside().WriteTo(pkt, to) }

func (r *roaming) ReadFrom(buf []byte) (int, net.Addr, error) {
	for {
		conn := r.outside()
		conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		n, from, err := conn.ReadFrom(buf)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, from, err
		}
	}
}

func TestViewerMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	wire := &roaming{UDPConn: newSocket(t)}
	wire.now = wire.UDPConn
	v := join(t, w.whep, over(wire))
	v.pass(t, 10)
	for range 2 {
		wire.mu.Lock()
		wire.now = newSocket(t)
		wire.mu.Unlock()
		v.forget()
		v.pass(t, 30) // more than those that were on their way
	}
	w.log.await(t, "viewer moved")
	if s := v.pc.ConnectionState(); s != webrtc.PeerConnectionStateConnected {
		t.Errorf("connection is %v", s)
	}
}

// A viewer that asks again for what was lost gets it.
func TestLostPacketsAreSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	seen := 0
	wire := &lossy{PacketConn: newSocket(t), lose: func(pkt []byte) bool {
		if media := len(pkt) > 1 && pkt[0]>>6 == 2 && (pkt[1] < 192 || pkt[1] > 223); media {
			seen++
			return seen%20 == 0
		}
		return false
	}}
	v := knock(t, w.whep, over(wire))
	packets := make(chan *rtp.Packet, 1000)
	v.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		v.mu.Lock()
		v.ssrc = track.SSRC()
		v.mu.Unlock()
		for {
			p, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			packets <- p
		}
	})
	v.enter(t)
	got := map[uint16]bool{}
	var first, last uint16
	missing := func() (seqs []uint16) {
		for seq := first; seq != last; seq++ {
			if !got[seq] {
				seqs = append(seqs, seq)
			}
		}
		return seqs
	}
	ask := time.NewTicker(20 * time.Millisecond)
	defer ask.Stop()
	for timeout := time.After(patience); wire.lost.Load() < 15 || len(missing()) > 0; {
		select {
		case p := <-packets:
			if len(got) == 0 {
				first, last = p.SequenceNumber, p.SequenceNumber
			}
			got[p.SequenceNumber] = true
			if int16(p.SequenceNumber-last) > 0 {
				last = p.SequenceNumber
			}
		case <-ask.C:
			if seqs := missing(); len(seqs) > 0 {
				nack := &rtcp.TransportLayerNack{MediaSSRC: uint32(v.ssrc), Nacks: rtcp.NackPairsFromSequenceNumbers(seqs)}
				if err := v.pc.WriteRTCP([]rtcp.Packet{nack}); err != nil {
					t.Fatal(err)
				}
			}
		case <-timeout:
			t.Fatalf("%d packets were lost; of those between %d and %d %v never came", wire.lost.Load(), first, last, missing())
		}
	}
}

// Many viewers come at once; each has its own pictures.
func TestFiftyViewersAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	viewers := make([]*viewer, 50)
	for i := range viewers {
		viewers[i] = knock(t, w.whep)
	}
	var entering sync.WaitGroup
	for _, v := range viewers {
		entering.Go(func() { v.enter(t) })
	}
	entering.Wait()
	ssrcs := map[webrtc.SSRC]bool{}
	for _, v := range viewers {
		v.pass(t, 30)
		v.unbroken(t)
		v.mu.Lock()
		ssrcs[v.ssrc] = true
		v.mu.Unlock()
	}
	if len(ssrcs) != len(viewers) {
		t.Errorf("%d viewers have %d different SSRCs", len(viewers), len(ssrcs))
	}
}

// A viewer that leaves without a word is noticed by the forwarder, and its
// session is freed here.
func TestViewerThatVanishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	v := join(t, w.whep)
	v.pass(t, 5)
	v.pc.Close()
	w.log.await(t, "the forwarder ended it")
	if res := request(t, http.MethodDelete, v.location); res.StatusCode != http.StatusNotFound {
		t.Errorf("DELETE afterwards: %s", res.Status)
	}
}

// The forwarder ends, and the next one does not have its viewers: they are lost, and
// their places are free.
func TestForwarderEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stopForwarder := w.forward(t)
	stopSource := w.publish(t)
	v := join(t, w.whep)
	v.pass(t, 5)
	stopForwarder()
	stopSource()
	w.log.await(t, "the forwarder is away")
	w.forward(t)
	w.log.await(t, `because="the forwarder no longer has it"`)
	if res := request(t, http.MethodDelete, v.location); res.StatusCode != http.StatusNotFound {
		t.Errorf("DELETE afterwards: %s", res.Status)
	}
	w.publish(t)
	join(t, w.whep).pass(t, 5)
}

// The forwarder went away between the answer and the end of the handshake.
func TestForwarderIsAwayAtHandOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stopForwarder := w.forward(t)
	w.publish(t)
	alert := make(chan struct{}, 1)
	wire := &lossy{PacketConn: newSocket(t), lose: func(pkt []byte) bool {
		if pkt[0] == 21 {
			select {
			case alert <- struct{}{}:
			default:
			}
		}
		return false
	}}
	v := knock(t, w.whep, over(wire))
	stopForwarder()
	v.enter(t)
	w.log.await(t, `because="the forwarder is away`)
	select {
	case <-alert: // DTLS's close_notify
	case <-time.After(patience):
		t.Error("the viewer was not told")
	}
}

// A forwarder that does not take a viewer is heard.
func TestForwarderRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFake(t, w)
	f.change(func() { f.refusal = "it is full" })
	join(t, w.whep)
	w.log.await(t, `because="the forwarder refused it: it is full"`)
}
