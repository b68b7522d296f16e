package core_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/stun"

	"slipstream/stream/core"
	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

func someKey(p picture) bool { return p.key }
func any1(picture) bool      { return true }

// A viewer of each profile sees its first picture at once, a switch and a revert,
// unbroken; what it is sent is what another implementation of SRTP opens.
func TestWebRTCSwitchAndRevert(t *testing.T) {
	for profile := range profiles {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			w, _, b, _, _ := onTrial(t, time.Hour, 0)
			g := w.gateway()
			p := g.peer(newSpec("one", profile))
			at := p.untilLetter('b', 0)
			p.until("more of b", at+10, any1)
			if n := w.status().Streams[0].Viewers; n != 2 {
				t.Errorf("%d viewers are counted, not 2", n)
			}
			b.close()
			if r := w.awaitRevert(); r.Streams[0].Viewers != 2 {
				t.Errorf("revert: %+v", r)
			}
			back := p.untilLetter('a', at)
			p.until("more of a", back+20, func(p picture) bool { return p.letter == 'a' })
			w.order(orders.Orders{
				Sources: []orders.Source{src("a-1", 0), src("c-3", 0)}, Permanent: "a-1",
				Trial: trialOf("t2", "c-3", time.Hour),
			})
			w.camera("c-3", 'c', 7)
			w.awaitSwitch()
			p.untilLetter('c', back)
			p.unbroken()
		})
	}
}

// steadyPeer is a world with a WebRTC viewer who has seen some pictures.
func steadyPeer(t *testing.T) (*world, *camera, *gateway, *peer) {
	t.Helper()
	w, a, _ := steadyWorld(t)
	g := w.gateway()
	p := g.peer(newSpec("one", handover.AES128))
	p.until("pictures", 10, any1)
	return w, a, g, p
}

func nack(p *peer, pairs ...rtcp.NackPair) *rtcp.TransportLayerNack {
	return &rtcp.TransportLayerNack{MediaSSRC: p.spec.Tracks[0].SSRC, Nacks: pairs}
}

// newest is the newest sequence number that came.
func (p *peer) newest() uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seq - 1
}

// A packet that was lost comes again byte for byte, the marker and all, also
// when viewers are on another version meanwhile.
func TestNACKIsAnsweredWithTheSameBytes(t *testing.T) {
	w, _, _, p := steadyPeer(t)
	first := p.newest() - 11
	p.say(nack(p, rtcp.NackPair{PacketID: first, LostPackets: 0b101}))
	for _, seq := range []uint16{first, first + 1, first + 3} {
		await(t, "a resent packet", func() bool { return p.again(seq) == 1 })
	}
	if p.again(first+2) != 0 {
		t.Error("a packet came that was not asked for")
	}

	both := []orders.Source{src("a-1", 0), src("b-2", 0)}
	w.order(orders.Orders{Sources: both, Permanent: "a-1"})
	w.camera("b-2", 'b', 10)
	w.order(orders.Orders{Sources: both, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	ofA := p.newest()
	w.awaitSwitch()
	at := p.untilLetter('b', 0)
	p.until("more of b", at+5, any1)
	// Across the switch: these are a's packets and b's.
	var pairs []rtcp.NackPair
	for n := range uint16(4) {
		pairs = append(pairs, rtcp.NackPair{PacketID: ofA - 8 + n*17, LostPackets: 0xffff})
	}
	newest := p.newest()
	p.say(nack(p, pairs...))
	for seq := ofA - 8; seq != newest+1 && seq != ofA+60; seq++ {
		await(t, fmt.Sprintf("resent packet %d of %d to %d", seq, ofA-8, newest), func() bool { return p.again(seq) >= 1 })
	}
	p.unbroken()
}

// What was never sent, is too old or is another's is not resent; and whoever
// asks for everything gets no more than the bound.
func TestNACKIsBounded(t *testing.T) {
	_, _, g, p := steadyPeer(t)
	p.say(nack(p, rtcp.NackPair{PacketID: p.newest() + 5000, LostPackets: 0xffff}))
	p.say(&rtcp.TransportLayerNack{MediaSSRC: 1, Nacks: []rtcp.NackPair{{PacketID: p.newest(), LostPackets: 0}}})
	one := p.newest()
	var many []rtcp.NackPair
	for range 250 {
		many = append(many, rtcp.NackPair{PacketID: one, LostPackets: 0})
	}
	for range 20 {
		p.say(nack(p, many...))
	}
	p.until("more pictures", p.count()+20, any1)
	m := g.ask(handover.Request{End: &handover.End{ID: "one"}})
	if m.Ended == nil || m.Ended.Report.Resent > 2000 || m.Ended.Report.Resent == 0 {
		t.Errorf("after 5000 requests: %+v", m.Ended)
	}
	p.unbroken()
}

// A lost picture is shown again from the arena while its key frame is fresh.
func TestPLIIsAnsweredFromTheArena(t *testing.T) {
	for name, ask := range map[string]func(*peer) rtcp.Packet{
		"PLI": func(p *peer) rtcp.Packet { return &rtcp.PictureLossIndication{MediaSSRC: p.spec.Tracks[0].SSRC} },
		"FIR": func(p *peer) rtcp.Packet {
			return &rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: p.spec.Tracks[0].SSRC, SequenceNumber: 1}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0)}, Permanent: "a-1"})
			a := w.camera("a-1", 'a', 1<<30) // one key frame, and never a second
			p := w.gateway().peer(newSpec("one", handover.AES256))
			at := p.until("first picture", 0, someKey)
			p.say(ask(p))
			again := p.until("the key frame again", at+1, someKey)
			if all := p.slice(at, again+1); all[0].number != all[len(all)-1].number {
				t.Errorf("key frame %d came, then %d", all[0].number, all[len(all)-1].number)
			}
			p.until("the key frame is old", again+50, any1)
			drained := false
			for !drained {
				select {
				case <-a.conn.KeyFrames():
				default:
					drained = true
				}
			}
			p.say(ask(p))
			select {
			case <-a.conn.KeyFrames():
			case <-time.After(patience):
				t.Error("the app was not asked for a key frame")
			}
			p.unbroken()
		})
	}
}

// Checks are answered with the address they came from, and only those that know
// the password and the names.
func TestChecksAreAnsweredIfAuthentic(t *testing.T) {
	_, _, _, p := steadyPeer(t)
	p.check(strings.Repeat("x", 22))
	named := p.spec.ICE.RemoteUfrag
	p.spec.ICE.RemoteUfrag = "nobody"
	p.check(p.spec.ICE.LocalPwd)
	p.spec.ICE.RemoteUfrag = named
	unsigned, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	p.write(unsigned.Raw)
	p.write([]byte{0})
	right := p.check(p.spec.ICE.LocalPwd, stun.NewSoftware("a browser"))
	answer := <-p.answers // the first one, so that the others got none
	if answer.TransactionID != right.TransactionID || answer.Type != stun.BindingSuccess {
		t.Fatalf("answer %v", answer)
	}
	if err := stun.NewShortTermIntegrity(p.spec.ICE.LocalPwd).Check(answer); err != nil {
		t.Error(err)
	}
	if err := stun.Fingerprint.Check(answer); err != nil {
		t.Error(err)
	}
	var mapped stun.XORMappedAddress
	if err := mapped.GetFrom(answer); err != nil || mapped.String() != p.sock.LocalAddr().String() {
		t.Errorf("mapped address %v (%v), not %v", mapped, err, p.sock.LocalAddr())
	}
	p.unbroken()
}

// A viewer who asks to stay stays; one that falls silent, or does not know the
// password, is let go.
func TestConsentExpires(t *testing.T) {
	w := newWorldWith(t, core.Config{Consent: time.Second})
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0)}, Permanent: "a-1"})
	w.camera("a-1", 'a', 5)
	g := w.gateway()
	stays, wrong := g.peer(newSpec("stays", handover.AES128)), g.peer(newSpec("wrong", handover.AES128))
	stays.until("picture", 0, someKey)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	ended := ""
	for timeout := time.After(patience); ended == ""; {
		select {
		case m := <-g.events:
			if m.Ended == nil || m.Ended.Reason != handover.EndedConsent || m.Ended.Report.Packets == 0 {
				t.Fatalf("message %+v", m)
			}
			ended = m.Ended.ID
		case <-tick.C:
			stays.check(stays.spec.ICE.LocalPwd)
			wrong.check(stays.spec.ICE.LocalPwd)
		case <-timeout:
			t.Fatal("the silent viewer stays for ever")
		}
	}
	if ended != "wrong" {
		t.Fatalf("viewer %q ended", ended)
	}
	stays.until("more pictures", stays.count()+10, any1)
	stays.unbroken()
}

func TestReplayedRTCPIsIgnored(t *testing.T) {
	_, _, g, p := steadyPeer(t)
	seq := p.newest()
	sealed := p.say(nack(p, rtcp.NackPair{PacketID: seq}))
	await(t, "a resent packet", func() bool { return p.again(seq) == 1 })
	for range 5 {
		p.write(sealed)
	}
	broken := bytes.Clone(sealed)
	broken[len(broken)-6] ^= 1
	p.write(broken)
	p.answered(p.check(p.spec.ICE.LocalPwd)) // after all of them
	if n := p.again(seq); n != 1 {
		t.Errorf("a replayed request was answered %d times", n-1)
	}
	p.say(&rtcp.TransportLayerNack{SenderSSRC: 99, MediaSSRC: p.spec.Tracks[0].SSRC, Nacks: []rtcp.NackPair{{PacketID: seq}}})
	await(t, "an answer to another of the viewer's senders, who counts from 1, too", func() bool { return p.again(seq) == 2 })
	m := g.ask(handover.Request{End: &handover.End{ID: "one"}})
	if m.Ended == nil || m.Ended.Report.Refused != 6 || m.Ended.Reason != handover.EndedAsked {
		t.Errorf("ended: %+v", m)
	}
}

// Garbage of every kind is counted, and disturbs nobody.
func TestGarbageIsCounted(t *testing.T) {
	_, _, g, p := steadyPeer(t)
	for first := range 256 {
		p.write(bytes.Repeat([]byte{byte(first)}, 1+first*7))
		if first%16 == 0 { // no more than its socket holds
			p.answered(p.check(p.spec.ICE.LocalPwd))
		}
	}
	p.write(nil)
	p.write(make([]byte, 9000))
	p.answered(p.check(p.spec.ICE.LocalPwd))
	p.until("more pictures", p.count()+10, any1)
	if m := g.ask(handover.Request{End: &handover.End{ID: "one"}}); m.Ended == nil || m.Ended.Report.Refused != 258 {
		t.Errorf("ended: %+v", m)
	}
	p.unbroken()
}

// A gateway that dies drops no viewer, and the next one may end it.
func TestViewersOutliveTheGateway(t *testing.T) {
	w, _, g, p := steadyPeer(t)
	g.conn.Close()
	<-g.events // closed
	p.answered(p.check(p.spec.ICE.LocalPwd))
	p.until("more pictures", p.count()+30, any1)
	next := w.gateway()
	if m := next.ask(handover.Request{End: &handover.End{ID: "nobody"}}); m.Error == "" || m.ID != "nobody" {
		t.Errorf("end of nobody: %+v", m)
	}
	if m := next.ask(handover.Request{End: &handover.End{ID: "one"}}); m.Ended == nil || m.Ended.ID != "one" {
		t.Errorf("end: %+v", m)
	}
	if n := w.status().Streams[0].Viewers; n != 1 {
		t.Errorf("%d viewers", n)
	}
	p.unbroken()
}

func TestMovedViewerGoesOnAtItsNewAddress(t *testing.T) {
	_, _, g, p := steadyPeer(t)
	sock, far := connected(t)
	p.to(sock, far.LocalAddr().(*net.UDPAddr))
	if m := g.ask(handover.Request{Moved: &handover.Moved{ID: "one"}}, far); m.Taken != "one" {
		t.Fatalf("moved: %+v", m)
	}
	answer := p.answered(p.check(p.spec.ICE.LocalPwd))
	var mapped stun.XORMappedAddress
	if err := mapped.GetFrom(answer); err != nil || mapped.String() != sock.LocalAddr().String() {
		t.Errorf("mapped address %v (%v), not %v", mapped, err, sock.LocalAddr())
	}
	p.until("pictures at the new address", p.count()+20, any1)
	seq := p.newest()
	p.say(nack(p, rtcp.NackPair{PacketID: seq}))
	await(t, "a resent packet", func() bool { return p.again(seq) == 1 })
	p.unbroken()
}

func TestByeEndsAViewer(t *testing.T) {
	_, _, g, p := steadyPeer(t)
	p.say(&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: p.spec.Tracks[0].SSRC, TotalLost: 7, Jitter: 90}}}, &rtcp.Goodbye{Sources: []uint32{1}})
	m := g.next()
	if m.Ended == nil || m.Ended.Reason != handover.EndedClosed || m.Ended.Report.Lost != 7 || m.Ended.Report.JitterMS != 1 {
		t.Errorf("ended: %+v", m)
	}
}

func TestStreamThatIsGoneEndsItsViewers(t *testing.T) {
	w, _, g, _ := steadyPeer(t)
	other := src("b-2", 0)
	other.Streams[0].Name = "sub"
	w.order(orders.Orders{Sources: []orders.Source{other}, Permanent: "b-2"})
	if m := g.next(); m.Ended == nil || m.Ended.Reason != handover.EndedStream {
		t.Errorf("ended: %+v", m)
	}
}

// The first report comes with the first picture, and its clock is the pictures'.
func TestSenderReportsTellTheCaptureClock(t *testing.T) {
	_, _, _, p := steadyPeer(t)
	first, second := <-p.reports, <-p.reports
	if first.SSRC != p.spec.Tracks[0].SSRC || second.PacketCount <= first.PacketCount || second.OctetCount <= first.OctetCount {
		t.Errorf("%+v, then %+v", first, second)
	}
	seconds := float64(second.NTPTime-first.NTPTime) / (1 << 32)
	ticks := float64(second.RTPTime - first.RTPTime)
	if drift := ticks - seconds*90_000; drift < -2 || drift > 2 {
		t.Errorf("%v ticks apart after %v s", drift, seconds)
	}
	last := p.slice(p.count()-1, p.count())[0]
	captured := float64(int32(last.ts-second.RTPTime)) / 90_000
	reported := time.Unix(int64(second.NTPTime>>32)-2_208_988_800, 0)
	if off := time.Since(reported) - time.Duration(captured*1e9); off < 0 || off > patience {
		t.Errorf("the last picture is %v old by the report's clock", off)
	}
}

// A viewer who missed the end of the handshake is sent it again.
func TestDTLSFlightIsSentAgain(t *testing.T) {
	w, _, _ := steadyWorld(t)
	spec := newSpec("one", handover.AES128)
	spec.Flight = []byte{20, 0xfe, 0xfd, 1, 2, 3}
	p := w.gateway().peer(spec)
	p.until("picture", 0, someKey)
	for range 20 {
		p.write([]byte{22, 0xfe, 0xfd, 9})
	}
	if got := <-p.flights; !bytes.Equal(got, spec.Flight) {
		t.Errorf("flight %x", got)
	}
	p.answered(p.check(p.spec.ICE.LocalPwd))
	if n := len(p.flights); n > 5 {
		t.Errorf("20 records were answered %d times more", n)
	}
	p.unbroken()
}

// A viewer whose machine refuses its packets is not ended by that: addresses come
// and go, and consent decides.
func TestRefusedPacketsEndNobody(t *testing.T) {
	w := newWorldWith(t, core.Config{Consent: 1500 * time.Millisecond})
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0)}, Permanent: "a-1"})
	w.camera("a-1", 'a', 5)
	g := w.gateway()
	p, other := g.peer(newSpec("one", handover.AES128)), w.viewer()
	p.until("picture", 0, someKey)
	p.sock.Close()
	m := g.next()
	if m.Ended == nil || m.Ended.Reason != handover.EndedConsent || m.Ended.Report.Packets < 150 {
		t.Errorf("ended: %+v", m.Ended)
	}
	other.until("pictures", 100, any1)
	other.unbroken()
}
