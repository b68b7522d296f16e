package core_test

import (
	"bytes"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v2"

	"slipstream/stream/core"
	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// onTwo is a device whose permanent version plays, with another one to be tried.
func onTwo(t *testing.T) (*world, func() *camera) {
	t.Helper()
	w := newWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 250)}, Permanent: "a-1"})
	a := w.viewer0()
	a.untilLetter('a', 0)
	return w, func() *camera {
		w.order(orders.Orders{Sources: []orders.Source{src("a-1", 250), src("b-2", 250)}, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Minute)})
		b := w.camera("b-2", 'b', 20)
		w.awaitSwitch()
		return b
	}
}

// viewer0 starts the permanent version's camera, and waits for its pictures.
func (w *world) viewer0() *viewer {
	w.t.Helper()
	w.camera("a-1", 'a', 20)
	return w.viewer()
}

// through plays a switch and a revert on the far side of a leg: it sees all of it,
// its checks are answered, and what it lost is sent again.
func through(t *testing.T, w *world, p *peer, try func() *camera) {
	t.Helper()
	p.untilLetter('a', 0)
	p.answered(p.check(p.spec.ICE.LocalPwd))
	b := try()
	at := p.untilLetter('b', 0)
	b.close()
	w.awaitRevert()
	back := p.untilLetter('a', at)
	p.until("more pictures", back+20, any1)
	p.unbroken()
	lost := p.newest() // older ones may be gone by now
	p.say(&rtcp.TransportLayerNack{MediaSSRC: p.spec.Tracks[0].SSRC, Nacks: []rtcp.NackPair{{PacketID: lost}}})
	await(t, "the lost packet", func() bool { return p.again(lost) > 0 })
	p.answered(p.check(p.spec.ICE.LocalPwd))
	p.say(&rtcp.Goodbye{Sources: []uint32{9}})
	if e := w.legEnded(p.spec.ID); e.Reason != handover.EndedClosed || e.Report.Resent != 1 || e.Report.Refused != 0 {
		t.Errorf("%+v", e)
	}
	p.unbroken()
}

// Behind a NAT the device reaches the relay, and by that alone the relay reaches
// the device: over UDP, and over a stream where UDP is blocked.
func TestLegsThroughNAT(t *testing.T) {
	t.Parallel()
	device, relay := behindNAT(t)

	t.Run("UDP", func(t *testing.T) {
		w, try := onTwo(t)
		far := in(relay, func() (*net.UDPConn, error) { return net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(relayIP)}) })
		far.SetReadBuffer(4 << 20)
		near := in(device, func() (*net.UDPConn, error) {
			return net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(deviceIP), Port: devicePort}, far.LocalAddr().(*net.UDPAddr))
		})
		p := w.leg(newSpec("leg", handover.AES128), near, far)
		if p.far.IP.String() != outsideIP || p.far.Port < mappedFrom || p.far.Port == devicePort {
			t.Errorf("the relay sees the device at %v", p.far)
		}
		through(t, w, p, try)
	})
	t.Run("decoded", func(t *testing.T) {
		w, swap := filming(t)
		far := in(relay, func() (*net.UDPConn, error) { return net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(relayIP)}) })
		near := in(device, func() (*net.UDPConn, error) { return net.DialUDP("udp4", nil, far.LocalAddr().(*net.UDPAddr)) })
		spec := newSpec("leg", handover.AES128)
		w.openLeg(orders.Leg{Viewer: spec}, near)
		r := record(t, far, spec)
		r.until(20)
		swap()
		r.until(r.count() + 20)
		far.Close()
		r.decode()
	})
	t.Run("framed", func(t *testing.T) {
		w, try := onTwo(t)
		l := in(relay, func() (net.Listener, error) { return net.Listen("tcp4", relayIP+":0") })
		near := in(device, func() (net.Conn, error) { return net.DialTimeout("tcp4", l.Addr().String(), patience) })
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if from := far.RemoteAddr().(*net.TCPAddr); from.IP.String() != outsideIP || from.Port < mappedFrom {
			t.Errorf("the relay sees the device at %v", from)
		}
		through(t, w, w.framedLeg(newSpec("leg", handover.AES256), near.(*net.TCPConn), far), try)
	})
}

// Before there is a picture, something goes out all the same: else nothing could
// come in.
func TestLegOpensItsWay(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, core.Config{Consent: 2 * time.Second})
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 250)}, Permanent: "a-1"})
	w.publisher("a-1", "main")
	relay, device := connected(t)
	p := w.leg(newSpec("leg", handover.AES128), device, relay)
	p.answered(p.check(p.spec.ICE.LocalPwd))
	if e := w.legEnded("leg"); e.Reason != handover.EndedConsent || e.Report.Packets != 0 {
		t.Errorf("a relay that fell silent: %+v", e)
	}
	if len(p.answers) == 0 {
		t.Error("the way was not kept open")
	}
}

// Legs are the agent's: it ends them, and the gateway knows them and does not.
func TestLegsBelongToTheAgent(t *testing.T) {
	t.Parallel()
	w, _ := onTwo(t)
	relay, device := tcpPair(t)
	p := w.framedLeg(newSpec("leg", handover.AES128), device, relay)
	device.Close()
	p.untilLetter('a', 0)
	g := w.gateway()
	if len(g.known) != 1 || g.known[0].Kind != handover.KindLeg || g.known[0].ICE != nil {
		t.Errorf("known: %+v", g.known)
	}
	_, udp := connected(t)
	for _, r := range []handover.Request{{End: &handover.End{ID: "leg"}}, {Moved: &handover.Moved{ID: "leg", ICE: &p.spec.ICE}}} {
		if m := g.ask(r); m.Error == "" {
			t.Errorf("%+v", m)
		}
	}
	for what, r := range map[string]orders.Request{
		"a leg twice":           {Leg: &orders.Leg{Viewer: p.spec}},
		"a leg without a name":  {Leg: &orders.Leg{Viewer: handover.Viewer{}}},
		"UDP as if it was none": {Leg: &orders.Leg{Viewer: newSpec("two", handover.AES128), Framed: true}},
	} {
		f, _ := udp.File()
		if m := w.ask(r, int(f.Fd())); m.Result != orders.ResultError {
			t.Errorf("%s: %+v", what, m)
		}
		f.Close()
	}
	if m := w.ask(orders.Request{Leg: &orders.Leg{Viewer: newSpec("two", handover.AES128)}}); m.Result != orders.ResultError {
		t.Errorf("a leg without a socket: %+v", m)
	}
	theirs := g.peer(newSpec("theirs", handover.AES128))
	if m := w.ask(orders.Request{EndLeg: "theirs"}); m.Result != orders.ResultError {
		t.Errorf("the agent has ended the gateway's viewer: %+v", m)
	}
	theirs.until("more pictures", 10, any1)
	p.until("more pictures", p.count()+10, any1)
	for range 2 {
		if m := w.ask(orders.Request{EndLeg: "leg"}); m.Result != orders.ResultOK {
			t.Errorf("%+v", m)
		}
	}
	p.unbroken()
	if m := g.next(); m.Ended == nil || m.Ended.ID != "leg" || m.Ended.Reason != handover.EndedAsked {
		t.Errorf("%+v", m)
	}
}

// recorder keeps the pictures that come out of a leg.
type recorder struct {
	t    *testing.T
	done chan struct{}

	mu    sync.Mutex
	units int
	film  bytes.Buffer
}

func record(t *testing.T, sock *net.UDPConn, spec handover.Viewer) *recorder {
	t.Helper()
	open, err := srtp.CreateContext(spec.SRTP.LocalKey, spec.SRTP.LocalSalt, profiles[spec.SRTP.Profile].library)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := (&format.H264{PacketizationMode: 1}).CreateDecoder()
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{t: t, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		buf := make([]byte, 4096)
		for {
			n, _, err := sock.ReadFromUDP(buf)
			if err != nil {
				return
			}
			if buf[0]>>6 != 2 || buf[1] >= 192 && buf[1] <= 223 {
				continue
			}
			var pkt rtp.Packet
			plain, err := open.DecryptRTP(nil, buf[:n], nil)
			if err == nil {
				err = pkt.Unmarshal(plain)
			}
			if err != nil {
				t.Errorf("a packet of the leg: %v", err)
				return
			}
			if unit, err := dec.Decode(&pkt); err == nil {
				r.add(unit)
			}
		}
	}()
	t.Cleanup(func() { sock.Close(); <-r.done })
	return r
}

func (r *recorder) add(unit [][]byte) {
	b, err := h264.AnnexB(unit).Marshal()
	if err != nil {
		r.t.Error(err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.units++
	r.film.Write(b)
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.units
}

func (r *recorder) until(units int) {
	r.t.Helper()
	await(r.t, "pictures out of the leg", func() bool { return r.count() >= units })
}

// decode plays what was recorded: each access unit is a picture, and none is broken.
func (r *recorder) decode() {
	r.t.Helper()
	<-r.done
	cmd := exec.CommandContext(r.t.Context(), "ffmpeg", "-nostdin", "-v", "warning", "-xerror", "-f", "h264", "-i", "pipe:", "-fps_mode", "passthrough", "-f", "framemd5", "-")
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &r.film, &out, &complaints
	if err := cmd.Run(); err != nil || complaints.Len() > 0 {
		r.t.Errorf("ffmpeg: %v %s", err, complaints.String())
	}
	pictures := 0
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "#") {
			pictures++
		}
	}
	if pictures != r.units {
		r.t.Errorf("%d access units are %d pictures", r.units, pictures)
	}
}
