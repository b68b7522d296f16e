package gateway_test

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v3"

	"slipstream/stream/handover"
)

// Versions come and go; a viewer that the forwarder has notices nothing.
func TestSwitchAndRevert(t *testing.T) {
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

// lossy is a viewer's socket that loses some of the media.
type lossy struct {
	net.PacketConn
	seen, lost atomic.Int64
}

func (l *lossy) ReadFrom(buf []byte) (int, net.Addr, error) {
	for {
		n, from, err := l.PacketConn.ReadFrom(buf)
		media := err == nil && n > 1 && buf[0]>>6 == 2 && (buf[1] < 192 || buf[1] > 223)
		if media && l.seen.Add(1)%20 == 0 {
			l.lost.Add(1)
			continue
		}
		return n, from, err
	}
}

// A viewer that asks again for what was lost gets it.
func TestLostPacketsAreSentAgain(t *testing.T) {
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	wire := &lossy{PacketConn: conn}
	v := knock(t, w.whep, func(s *webrtc.SettingEngine) { s.SetICEUDPMux(webrtc.NewICEUDPMux(nil, wire)) })
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
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	v := join(t, w.whep, func(s *webrtc.SettingEngine) {})
	v.pass(t, 5)
	v.pc.Close()
	w.log.await(t, "the forwarder ended it")
	if res := request(t, http.MethodDelete, v.location); res.StatusCode != http.StatusNotFound {
		t.Errorf("DELETE afterwards: %s", res.Status)
	}
}

// The forwarder ends: its viewers are lost, and their places are free.
func TestForwarderEnds(t *testing.T) {
	w := newWorld(t)
	stopForwarder := w.forward(t)
	stopSource := w.publish(t)
	v := join(t, w.whep)
	v.pass(t, 5)
	stopForwarder()
	stopSource()
	w.log.await(t, `because="the forwarder is away"`)
	if res := request(t, http.MethodDelete, v.location); res.StatusCode != http.StatusNotFound {
		t.Errorf("DELETE afterwards: %s", res.Status)
	}
	w.forward(t)
	w.publish(t)
	join(t, w.whep).pass(t, 5)
}

// The forwarder went away between the answer and the end of the handshake.
func TestForwarderIsAwayAtHandOver(t *testing.T) {
	w := newWorld(t)
	stopForwarder := w.forward(t)
	w.publish(t)
	v := knock(t, w.whep)
	stopForwarder()
	v.enter(t)
	w.log.await(t, `because="the forwarder is away`)
}

// A forwarder that does not take a viewer is heard.
func TestForwarderRefuses(t *testing.T) {
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	// In the real one's place stands one that refuses whatever comes.
	path := filepath.Join(w.run, handover.Socket)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, handover.MaxMessage)
		for {
			var r handover.Request
			n, err := conn.Read(buf)
			if err != nil || json.Unmarshal(buf[:n], &r) != nil || r.Viewer == nil {
				return
			}
			body, _ := json.Marshal(handover.Message{ID: r.Viewer.ID, Error: "it is full"})
			conn.Write(body)
		}
	}()
	join(t, w.whep)
	w.log.await(t, `because="the forwarder refused it: it is full"`)
}
