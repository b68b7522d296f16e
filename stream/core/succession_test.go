package core_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// apart is a world whose forwarder is a process of its own, with descriptors kept.
type apart struct {
	*world
	kept *store
	now  *process
}

func newApart(t *testing.T) *apart {
	t.Helper()
	run, err := os.MkdirTemp("", "fwd") // unix socket paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	a := &apart{world: &world{t: t, run: run}, kept: newStore(t, run)}
	a.begin()
	return a
}

// begin starts a forwarder with what is kept, and waits until it serves.
func (a *apart) begin() {
	a.t.Helper()
	before := a.kept.readied()
	a.now = start(a.t, a.run, "forward", a.kept)
	await(a.t, "the forwarder's READY=1", func() bool { return a.kept.readied() > before })
	a.connect()
}

// succeed replaces the forwarder by another process.
func (a *apart) succeed() {
	a.t.Helper()
	next := start(a.t, a.run, "succeed", a.kept)
	if err := a.now.ends("the forwarder that was succeeded"); err != nil {
		a.t.Fatalf("the forwarder before ended with %v", err)
	}
	a.now = next
	a.connect()
}

// watched is one stream with viewers that have seen something of it: one for each
// cipher, and on request one RTSP viewer of each kind.
func (a *apart) watched(profiles ...string) (o orders.Orders, viewers []*peer) {
	a.t.Helper()
	o, viewers, _ = a.watchedBy(profiles, false)
	return o, viewers
}

func (a *apart) watchedBy(profiles []string, rtsp bool) (o orders.Orders, viewers []*peer, players []*player) {
	a.t.Helper()
	o = orders.Orders{Sources: []orders.Source{src("a-1", 0)}, Permanent: "a-1"}
	a.order(o)
	a.camera("a-1", 'a', 7)
	g := a.gateway()
	await(a.t, "a picture", func() bool {
		s := a.status()
		return len(s.Streams) == 1 && len(s.Streams[0].Lines) == 1 && s.Streams[0].Lines[0].KeyFrames > 0
	})
	for i, profile := range profiles {
		p := g.peer(newSpec("viewer-"+string(rune('a'+i)), profile))
		p.until("the first pictures", 5, any1)
		viewers = append(viewers, p)
	}
	if rtsp {
		players = []*player{g.player(playerSpec("tcp")), g.udpPlayer(playerSpec("udp"))}
		for _, p := range players {
			p.until("the first pictures", 5, any1)
		}
	}
	return o, viewers, players
}

// goOn waits until each viewer has seen more, with nothing missing in between.
func goOn(t *testing.T, viewers []*peer, players ...*player) {
	t.Helper()
	all := []*viewer{}
	for _, p := range viewers {
		all = append(all, p.viewer)
	}
	for _, p := range players {
		all = append(all, p.viewer)
	}
	for _, v := range all {
		v.until("more pictures", v.count()+20, any1)
		v.unbroken()
	}
	for i, p := range players {
		if got := p.ask("GET_PARAMETER", 100+i, "Session: s1\r\n"); !strings.HasPrefix(got, "RTSP/1.0 200") {
			t.Errorf("a player's request was answered %q", got)
		}
	}
}

// The forwarder is replaced again and again: viewers of each cipher lose nothing,
// and what they did not get of one process they get from the next.
func TestForwarderSucceedsItself(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	o, viewers, players := a.watchedBy([]string{handover.AES128, handover.AES128CM, handover.AES256}, true)
	for range 3 {
		viewers[0].until("as many pictures", viewers[0].count()+70, any1)
		a.succeed()
		viewers[0].lostOne(t, viewers[0].spread()) // at once: it is remembered for 128 pictures
		goOn(t, viewers, players...)
		if got := a.status(); got.Restored != len(viewers)+len(players) || got.Permanent != "a-1" {
			t.Errorf("status: %+v", got)
		}
	}
	a.order(orders.Orders{Sources: append(o.Sources, src("b-2", 0)), Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	a.camera("b-2", 'b', 7)
	a.awaitSwitch()
	for _, p := range viewers {
		p.untilLetter('b', 0)
	}
	goOn(t, viewers, players...)
}

// spread is a packet that the viewer was sent two thirds of a second ago, which is more
// than a succession takes: pictures are of three packets each, and come every 10 ms.
func (p *peer) spread() uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seq - 200
}

// lostOne asks for a packet that an earlier process has sent. media compares it.
func (p *peer) lostOne(t *testing.T, seq uint16) {
	t.Helper()
	had := p.again(seq)
	p.say(&rtcp.TransportLayerNack{SenderSSRC: 99, MediaSSRC: p.spec.Tracks[0].SSRC, Nacks: []rtcp.NackPair{{PacketID: seq}}})
	await(t, "a packet of the forwarder before, sent again", func() bool { return p.again(seq) > had })
}

// A successor that is of no use costs viewers less than its time, and nothing else.
func TestSuccessorThatFails(t *testing.T) {
	for _, role := range []string{"hang", "exit"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			a := newApart(t)
			_, viewers := a.watched(handover.AES128)
			failed := start(t, a.run, role, a.kept)
			if err := failed.ends("a successor that fails"); err == nil {
				t.Error("a successor that fails ended well")
			}
			goOn(t, viewers)
			if s := a.status(); s.Restored != 0 || s.Streams[0].Viewers != 1 {
				t.Errorf("status: %+v", s)
			}
			a.succeed()
			goOn(t, viewers)
		})
	}
}

// During a trial nobody takes over: one thing at a time.
func TestNoSuccessionDuringATrial(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	o, viewers := a.watched(handover.AES128)
	a.order(orders.Orders{Sources: append(o.Sources, src("b-2", 0)), Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	if err := start(t, a.run, "succeed", nil).ends("a successor at the wrong time"); err == nil {
		t.Error("it ended well")
	}
	a.camera("b-2", 'b', 7)
	a.awaitSwitch()
	viewers[0].untilLetter('b', 0)
	viewers[0].unbroken()
}

// A forwarder that is killed loses no viewer: the next one goes on with the packet
// that it would have sent.
func TestForwarderThatCrashes(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	_, viewers, players := a.watchedBy([]string{handover.AES128, handover.AES128CM, handover.AES256}, true)
	for range 3 {
		a.now.kill()
		a.begin()
		goOn(t, viewers, players...)
	}
	all := len(viewers) + len(players)
	if s := a.status(); s.Restored != all || s.Streams[0].Viewers != all {
		t.Errorf("status: %+v", s)
	}
	// What ends later leaves nothing behind at the keeper.
	viewers[0].say(&rtcp.ReceiverReport{SSRC: 1}, &rtcp.Goodbye{Sources: []uint32{1}})
	await(t, "a viewer that is forgotten", func() bool { return a.status().Streams[0].Viewers == all-1 })
	await(t, "its descriptor let go", func() bool { return a.kept.count("viewer.", ".0") == all-1 })
	await(t, "those of all its lines let go", func() bool { return a.kept.count("memory.", "") == 1 })
}

// A crash during a trial ends the trial, and viewers see the permanent version.
func TestForwarderThatCrashesOnTrial(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	o, viewers := a.watched(handover.AES128)
	a.order(orders.Orders{Sources: append(o.Sources, src("b-2", 0)), Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	a.camera("b-2", 'b', 7)
	a.awaitSwitch()
	at := viewers[0].untilLetter('b', 0)
	a.now.kill()
	a.begin()
	back := viewers[0].untilLetter('a', at)
	viewers[0].until("more of a", back+20, any1)
	viewers[0].unbrokenButHoles()
	if s := a.status(); s.Permanent != "a-1" || s.Phase != "steady" {
		t.Errorf("status: %+v", s)
	}
}

// What is kept is checked: a forwarder that is given nonsense begins anew.
func TestInheritanceOfNoUse(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	a.watched(handover.AES128)
	a.now.kill()
	a.kept.mu.Lock()
	for name, f := range a.kept.files {
		if name != "ledger" {
			continue
		}
		f.Close()
		var err error
		if a.kept.files[name], err = os.Create(filepath.Join(a.run, hex.EncodeToString(secret(4)))); err != nil {
			t.Fatal(err)
		}
	}
	a.kept.mu.Unlock()
	a.begin()
	o := orders.Orders{Sources: []orders.Source{src("a-1", 0)}, Permanent: "a-1"}
	a.order(o)
	a.camera("a-1", 'a', 7)
	g := a.gateway()
	await(t, "a picture", func() bool {
		s := a.status()
		return len(s.Streams[0].Lines) == 1 && s.Streams[0].Lines[0].KeyFrames > 0
	})
	p := g.peer(newSpec("another", handover.AES128))
	p.until("pictures", 10, any1)
	p.unbroken()
}

// Viewers who are held, because there is no version at the moment, are held over a
// crash, too.
func TestForwarderThatCrashesWithoutSources(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	_, viewers, players := a.watchedBy([]string{handover.AES128}, true)
	a.order(orders.Orders{})
	a.now.kill()
	a.begin()
	if known := a.gateway().known; len(known) != 3 {
		t.Errorf("%d viewers are known", len(known))
	}
	a.order(orders.Orders{Sources: []orders.Source{src("a-2", 0)}, Permanent: "a-2"})
	a.camera("a-2", 'b', 7)
	for _, v := range viewers {
		v.untilLetter('b', 0)
	}
	for _, p := range players {
		p.untilLetter('b', 0)
	}
}
