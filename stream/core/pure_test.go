package core

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

const ms = int64(time.Millisecond)

// TestStallJudge reads as the guards of the stall rule: first a healthy machine,
// then one that sleeps.
func TestStallJudge(t *testing.T) {
	limit := 50 * ms
	start := func() *stallJudge { j := &stallJudge{}; j.start(0); return j }

	j := start()
	if j.verdict(49*ms, limit, false) {
		t.Error("a stall before the limit")
	}
	if !j.verdict(51*ms, limit, false) {
		t.Error("no stall after the limit")
	}

	j = start()
	if j.verdict(50*ms+11*ms, limit, false) {
		t.Error("a core that woke late condemned the source at once")
	}
	if got := j.due(limit); got != 61*ms+limit {
		t.Errorf("judged again at %d ms, not one limit later", got/ms)
	}
	if !j.verdict(112*ms, limit, false) {
		t.Error("a source that stayed silent for one more limit was not condemned")
	}

	j = start()
	now, waits := 51*ms, 0
	for !j.verdict(now, limit, true) {
		if waits++; waits > 10 {
			t.Fatal("waits for ever while the other source is silent too")
		}
		now = j.due(limit)
	}
	if waits != maxStallWaits {
		t.Errorf("waited %d limits, want %d", waits, maxStallWaits)
	}

	j = start()
	j.verdict(51*ms, limit, true)
	j.heard(60 * ms)
	if j.waits != 0 || j.due(limit) != 110*ms {
		t.Error("a frame does not begin the watch anew")
	}
}

func TestStallLimitGrowsWithHealthyGaps(t *testing.T) {
	var g gapMeter
	at := int64(1e12)
	g.add(33*ms, at)
	if got := stallLimit(50*time.Millisecond, g.longest(at)); got != 825*ms/10 {
		t.Errorf("limit %v", time.Duration(got))
	}
	g.add(190*ms, at+1000*ms)
	if got := stallLimit(50*time.Millisecond, g.longest(at+30_000*ms)); got != 475*ms {
		t.Errorf("limit %v", time.Duration(got))
	}
	if got := g.longest(at + 70_000*ms); got != 0 {
		t.Errorf("a gap of over a minute ago still counts: %v", time.Duration(got))
	}
}

// TestArena fills an arena with frames of any size beside a plain list of them:
// what it still has must be byte for byte what went in, newest frames first to
// stay, and the key frame it names must be the newest one.
func TestArena(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := &arena{}
		type kept struct {
			seed byte
			lens []int
			key  bool
		}
		var all []kept
		lastKey := -1
		for range rapid.IntRange(1, 60).Draw(t, "frames") {
			f := kept{seed: rapid.Byte().Draw(t, "seed"), key: rapid.Bool().Draw(t, "key")}
			a.begin(int64(len(all)), int64(len(all)))
			a.open.key = f.key
			for range rapid.IntRange(1, 120).Draw(t, "packets") {
				n := rapid.IntRange(12, publish.MaxPacket).Draw(t, "size")
				buf := a.space()
				for i := range n {
					buf[i] = f.seed + byte(i) + byte(len(f.lens))
				}
				a.append(n)
				f.lens = append(f.lens, n)
			}
			a.finish()
			if f.key {
				lastKey = len(all)
			}
			all = append(all, f)
		}
		if a.unitHead != uint64(len(all)) || a.unitTail >= a.unitHead {
			t.Fatalf("units %d to %d after %d frames", a.unitTail, a.unitHead, len(all))
		}
		if want := lastKey >= 0 && uint64(lastKey) >= a.unitTail; a.hasKey != want || (want && a.key != uint64(lastKey)) {
			t.Fatalf("key %v %d, want %d", a.hasKey, a.key, lastKey)
		}
		for n := a.unitTail; n < a.unitHead; n++ {
			u, f := a.unit(n), all[n]
			if int(u.count) != len(f.lens) || u.key != f.key || u.capture != int64(n) {
				t.Fatalf("unit %d is %+v, want %+v", n, u, f)
			}
			for p := range u.count {
				got := a.bytes(u.first + uint64(p))
				if len(got) != f.lens[p] || got[0] != f.seed+byte(p) || got[len(got)-1] != f.seed+byte(len(got)-1)+byte(p) {
					t.Fatalf("unit %d packet %d is not what went in", n, p)
				}
			}
		}
	})
}

// TestStamps draws capture times and switches at random: a viewer's RTP times
// only go up, and outside of a catch-up they are the capture clock.
func TestStamps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := &track{trackState: &trackState{base: rapid.Uint32().Draw(t, "base")}, rate: videoRate}
		capture := rapid.Int64Range(1, 1<<45).Draw(t, "start")
		v.last, v.begun = v.base+ticks(capture, videoRate)-1, true
		for range rapid.IntRange(1, 200).Draw(t, "frames") {
			if rapid.IntRange(0, 20).Draw(t, "switch") == 0 {
				n := int64(rapid.IntRange(1, 15).Draw(t, "replayed"))
				capture -= (n - 1) * 33 * ms
				v.catchUp.left = uint32(n)
				v.catchUp.to = v.base + ticks(capture+(n-1)*33*ms, videoRate)
			}
			left := v.catchUp.left
			ts := v.stamp(&unit{capture: capture})
			if int32(ts-v.last) <= 0 {
				t.Fatalf("time went from %d to %d", v.last, ts)
			}
			if exact := v.base + ticks(capture, videoRate); left == 0 && int32(exact-v.last) > 0 && ts != exact {
				t.Fatalf("time %d is not the capture clock's %d", ts, exact)
			}
			v.last = ts
			capture += 33 * ms
		}
	})
}

func TestClockWithoutPublishersFollowsArrivals(t *testing.T) {
	var c captureClock
	now, ts := int64(1e12), uint32(1<<32-5000)
	// The publisher's clock is 0.1 % fast: 60 ms a minute.
	for range 30 * 600 {
		mono := c.at(ts, videoRate, now)
		if off := now - mono; off < 0 || off > 50*ms {
			t.Fatalf("mapped %v from the arrival", time.Duration(off))
		}
		ts += 3003
		now += 100 * ms / 3
	}
	if c.resets != 0 {
		t.Errorf("%d resets", c.resets)
	}
}

func TestTrialNeverGoesBack(t *testing.T) {
	var tr trial
	if tr.hold("t1", 5) || tr.expired(never-1) != "" || tr.due() != never {
		t.Error("no trial can be held or expire")
	}
	tr = trial{id: "t1", phase: armed, deadline: 100}
	if tr.hold("t1", 500) {
		t.Error("held before the switch")
	}
	tr.phase = switched
	if tr.hold("t2", 500) {
		t.Error("held for another trial")
	}
	if !tr.hold("t1", 500) || tr.expired(400) != "" || tr.expired(500) != "lease" {
		t.Errorf("lease: %+v", tr)
	}
}

// TestPacketPathAllocs runs a publisher's frames through to a viewer, in each codec.
func TestPacketPathAllocs(t *testing.T) {
	for name := range codecs {
		c, l, fill := allocWorldOf(t, name)
		frame := func() {
			fill()
			l.ready(c, c.now())
			c.advance(c.now())
		}
		for range 200 { // past the first key frame, and once around the index
			frame()
		}
		viewer := l.stream.tracks[0]
		sent := viewer.index
		if n := testing.AllocsPerRun(500, frame); n != 0 {
			t.Errorf("%s: %v allocations a frame", name, n)
		}
		if viewer.index < sent+2000 || !l.alive() {
			t.Errorf("%s: %d packets came through", name, viewer.index-sent)
		}
	}
}

// A descriptor that is closed and used anew within one turn of the loop must not
// get the old one's event.
func TestStaleEventFindsNoHandler(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.closeAll()
	first, peer := socketpair(t)
	if err := p.add(first, unix.EPOLLIN, drain(first)); err != nil {
		t.Fatal(err)
	}
	unix.Write(peer, []byte{1})
	if n, err := p.wait(); n != 1 || err != nil || p.handler(0) == nil {
		t.Fatalf("%d events, %v", n, err)
	}
	p.close(first)
	again, err := unix.Dup(peer)
	if err != nil || again != first {
		t.Fatalf("descriptor %d instead of %d, %v", again, first, err)
	}
	if err := p.add(again, unix.EPOLLIN, drain(again)); err != nil {
		t.Fatal(err)
	}
	if p.handler(0) != nil {
		t.Error("the new descriptor was given the old one's event")
	}
}

func TestClockMayNotRunAhead(t *testing.T) {
	var c captureClock
	now := int64(1e12)
	if !c.tell(0, now, now) {
		t.Fatal("a true clock was refused")
	}
	if ahead := c.at(5*videoRate, videoRate, now) - now; ahead > int64(maxClockLead) {
		t.Errorf("a frame was captured %v after it came", time.Duration(ahead))
	}
}

// A successor has longer where the stall limit says that the machine is slow.
func TestTimeOfASuccessor(t *testing.T) {
	followed := func(stallMS int64) *stream {
		return &stream{followed: &line{spec: orders.Stream{StallMS: stallMS}}}
	}
	c := &Core{streams: map[string]*stream{"nobody's": {}, "main": followed(50)}}
	if got := c.timeOfSuccessor(); got != successionTime {
		t.Errorf("%v on a fast machine", got)
	}
	c.streams["slow"] = followed(1000)
	if got := c.timeOfSuccessor(); got != 2*time.Second {
		t.Errorf("%v where a second is no stall", got)
	}
}
