package core_test

import (
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/stream/subscribe"
)

// onTrial is a world whose viewer watches camera b on trial beside camera a.
func onTrial(t *testing.T, deadline time.Duration, stallMS int64) (w *world, a, b *camera, v *viewer, at int) {
	t.Helper()
	w, a, v = steadyWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", stallMS), src("b-2", stallMS)}, Permanent: "a-1"})
	b = w.camera("b-2", 'b', 10)
	w.order(orders.Orders{
		Sources: []orders.Source{src("a-1", stallMS), src("b-2", stallMS)}, Permanent: "a-1",
		Trial: trialOf("t1", "b-2", deadline),
	})
	if s := w.awaitSwitch(); s.Trial != "t1" || s.Source != "b-2" || len(s.Streams) != 1 || s.Streams[0].Viewers != 1 {
		t.Fatalf("switch: %+v", s)
	}
	return w, a, b, v, v.untilLetter('b', 0)
}

func steadyWorld(t *testing.T) (*world, *camera, *viewer) {
	t.Helper()
	w := newWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0)}, Permanent: "a-1"})
	a := w.camera("a-1", 'a', 5)
	v := w.viewer()
	v.untilLetter('a', 0)
	return w, a, v
}

func TestFirstPictureIsTheCachedKeyFrame(t *testing.T) {
	w := newWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0)}, Permanent: "a-1"})
	w.camera("a-1", 'a', 1<<30) // never a second key frame
	first := w.viewer()
	first.until("tenth picture", 9, func(picture) bool { return true })
	late := w.viewer()
	late.until("picture", 0, func(p picture) bool { return p.key })
	late.unbroken()
	first.unbroken()
}

func TestSwitchAndSettle(t *testing.T) {
	w, a, _, v, at := onTrial(t, time.Hour, 0)
	if r := w.ask(orders.Request{Hold: &orders.Hold{Trial: "t1", LeaseMS: 10_000}}); r.Result != orders.ResultHeld {
		t.Fatalf("hold: %+v", r)
	}
	if r := w.ask(orders.Request{Settle: &orders.Settle{Trial: "t1", Source: "b-2"}}); r.Result != orders.ResultSettled {
		t.Fatalf("settle: %+v", r)
	}
	// An agent that missed the answer sends its orders again, and changes nothing.
	at2 := v.count()
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), src("b-2", 0)}, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	a.close() // the old version is stopped only now
	v.until("picture of b after settling", at+30, func(p picture) bool { return p.letter == 'b' })
	if st := w.status(); st.Permanent != "b-2" || st.Phase != "steady" {
		t.Errorf("status: %+v", st)
	}
	w.order(orders.Orders{Sources: []orders.Source{src("b-2", 0)}, Permanent: "b-2"})
	v.until("picture of b after the orders", v.count(), func(p picture) bool { return p.letter == 'b' })
	for _, p := range v.slice(at2, v.count()) {
		if p.letter != 'b' {
			t.Fatalf("viewers were sent back to %c after the commit", p.letter)
		}
	}
	v.unbroken()
}

func TestEndOfStreamReverts(t *testing.T) {
	w, _, b, v, at := onTrial(t, time.Hour, 0)
	v.until("tenth picture of b", at+10, func(p picture) bool { return p.letter == 'b' })
	b.close()
	r := w.awaitRevert()
	if r.Cause != orders.CauseEOF || r.Source != "a-1" || !r.Switched || r.First < r.Detected || r.Done < r.First {
		t.Errorf("revert: %+v", r)
	}
	if n := r.Streams[0].ReplayedFrames; n > 15 {
		t.Errorf("%d frames sent again", n)
	}
	back := v.untilLetter('a', at)
	v.until("more of a", back+20, func(p picture) bool { return p.letter == 'a' })
	v.unbroken()
}

func TestHalfAFrameIsNeverShown(t *testing.T) {
	w, _, b, v, at := onTrial(t, time.Hour, 0)
	b.pause(true)
	n := uint32(publish.Monotonic()/frameTime) + 1
	pkts := frame{'b', n, false}.packets(&b.seq, b.base+n*frameTick, 4)
	for _, p := range pkts[:2] {
		if err := b.conn.WriteRTP(p); err != nil {
			t.Fatal(err)
		}
	}
	b.close()
	w.awaitRevert()
	back := v.untilLetter('a', at)
	v.until("more of a", back+5, func(p picture) bool { return p.letter == 'a' })
	v.unbrokenButHoles()
}

func TestExitReverts(t *testing.T) {
	w, _, v := steadyWorld(t)
	app := exec.Command("sleep", "1000")
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	defer app.Process.Kill()
	pidfd, err := unix.PidfdOpen(app.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	b := src("b-2", 0)
	b.Pidfd = 1
	for range 5 { // the same descriptor comes with every (re)connection
		w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), b}, Permanent: "a-1"}, pidfd)
	}
	w.camera("b-2", 'b', 10)
	b.Pidfd = 0 // the earlier one stays in use
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), b}, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	w.awaitSwitch()
	at := v.untilLetter('b', 0)
	app.Process.Kill()
	if r := w.awaitRevert(); r.Cause != orders.CauseExit {
		t.Errorf("revert: %+v", r)
	}
	v.untilLetter('a', at)
	v.unbroken()
}

func TestStallReverts(t *testing.T) {
	w, _, b, v, at := onTrial(t, time.Hour, 250)
	b.pause(true)
	r := w.awaitRevert()
	if r.Cause != orders.CauseStall {
		t.Errorf("revert: %+v", r)
	}
	v.untilLetter('a', at)
	v.unbrokenButHoles()
}

// After a short stall viewers go on from a key frame before the silence, so that
// they see every scene. A machine that stalls itself gets another try.
func TestShortStallSkipsNoScene(t *testing.T) {
	for try := range 5 {
		w, _, b, v, at := onTrial(t, time.Hour, 50)
		b.pause(true)
		w.awaitRevert()
		n := v.untilLetter('a', at)
		silence := v.slice(n, n+1)[0].at - v.slice(n-1, n)[0].at
		if silence < 90*time.Millisecond {
			v.unbroken()
			return
		}
		t.Logf("try %d: the machine made it %v of silence", try+1, silence)
	}
	t.Skip("this machine stalls for longer than the stream")
}

func TestSilenceOfAnEventDrivenStreamIsNoStall(t *testing.T) {
	w, _, b, _, _ := onTrial(t, 1500*time.Millisecond, 0)
	b.pause(true)
	if r := w.awaitRevert(); r.Cause != orders.CauseDeadline {
		t.Errorf("revert: %+v", r)
	}
}

func TestDeadlineRevertsWithoutTheAgent(t *testing.T) {
	w, _, _, v, at := onTrial(t, 400*time.Millisecond, 0)
	w.agent.Close()
	back := v.untilLetter('a', at)
	v.until("more of a", back+10, func(p picture) bool { return p.letter == 'a' })
	v.unbroken()
	w.connect() // the agent comes back and orders the trial that it still believes in
	w.order2(t, orders.Orders{
		Sources: []orders.Source{src("a-1", 0), src("b-2", 0)}, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour),
	})
	if st := w.status(); st.Phase != "steady" {
		t.Errorf("an ended trial was armed again: %+v", st)
	}
}

// order2 sends orders that name an ended trial: how it ended must come back.
func (w *world) order2(t *testing.T, o orders.Orders) {
	t.Helper()
	w.order(o)
	if r := w.ask(orders.Request{Hold: &orders.Hold{Trial: "t1", LeaseMS: 1000}}); r.Result != orders.ResultReverted || r.Revert.Cause != orders.CauseDeadline {
		t.Errorf("hold of an ended trial: %+v", r)
	}
}

func TestLeaseThatRunsOutReverts(t *testing.T) {
	w, _, _, v, at := onTrial(t, time.Hour, 0)
	if r := w.ask(orders.Request{Hold: &orders.Hold{Trial: "t1", LeaseMS: 100}}); r.Result != orders.ResultHeld {
		t.Fatalf("hold: %+v", r)
	}
	if r := w.awaitRevert(); r.Cause != orders.CauseLease {
		t.Errorf("revert: %+v", r)
	}
	back := v.untilLetter('a', at)
	// The commit point may have been passed all the same: settle always wins.
	if r := w.ask(orders.Request{Settle: &orders.Settle{Trial: "t1", Source: "b-2"}}); r.Result != orders.ResultSettled {
		t.Fatalf("settle: %+v", r)
	}
	v.untilLetter('b', back)
	if st := w.status(); st.Permanent != "b-2" {
		t.Errorf("status: %+v", st)
	}
	v.unbroken()
}

func TestDeathWhileHeldReverts(t *testing.T) {
	w, _, b, v, at := onTrial(t, time.Hour, 0)
	w.ask(orders.Request{Hold: &orders.Hold{Trial: "t1", LeaseMS: 60_000}})
	b.close()
	if r := w.awaitRevert(); r.Cause != orders.CauseEOF {
		t.Errorf("revert: %+v", r)
	}
	if r := w.ask(orders.Request{Hold: &orders.Hold{Trial: "t1", LeaseMS: 1000}}); r.Result != orders.ResultReverted {
		t.Errorf("hold after the revert: %+v", r)
	}
	v.untilLetter('a', at)
	v.unbroken()
}

func TestAgentMayRevertATrial(t *testing.T) {
	w, _, _, v, at := onTrial(t, time.Hour, 0)
	r := w.ask(orders.Request{Revert: &orders.Revert{Trial: "t1", Reason: "operator"}})
	if r.Result != orders.ResultReverted || r.Revert.Cause != "operator" || r.Revert.Source != "a-1" {
		t.Errorf("revert: %+v", r)
	}
	back := v.untilLetter('a', at)
	v.until("more of a", back+10, func(p picture) bool { return p.letter == 'a' })
	v.unbroken()
}

func TestOrdersAreLevelTriggered(t *testing.T) {
	w, _, _, v, at := onTrial(t, time.Hour, 0)
	same := orders.Orders{
		Sources: []orders.Source{src("a-1", 0), src("b-2", 0)}, Permanent: "a-1",
		Trial: &orders.Trial{ID: "t1", Source: "b-2", Deadline: int64(publish.Monotonic() + time.Hour)},
	}
	w.connect()
	for range 3 {
		w.order(same)
	}
	if st := w.status(); st.Phase != "switched" || st.Trial != "t1" {
		t.Errorf("status: %+v", st)
	}
	v.until("more of b", at+10, func(p picture) bool { return p.letter == 'b' })
	// Orders without the trial end it.
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0)}, Permanent: "a-1"})
	v.untilLetter('a', at)
	v.unbroken()
}

func TestOrdersAfterTheCommitSettle(t *testing.T) {
	w, _, _, v, at := onTrial(t, time.Hour, 0)
	w.order(orders.Orders{Sources: []orders.Source{src("b-2", 0)}, Permanent: "b-2"})
	v.until("more of b", at+20, func(p picture) bool { return p.letter == 'b' })
	for _, p := range v.slice(at, v.count()) {
		if p.letter != 'b' {
			t.Fatalf("viewers were sent back to %c", p.letter)
		}
	}
	v.unbroken()
}

// A source without a key frame must not be followed, however long it sends.
func TestNoSwitchWithoutAKeyFrame(t *testing.T) {
	w, _, v := steadyWorld(t)
	both := []orders.Source{src("a-1", 0), src("b-2", 0)}
	w.order(orders.Orders{Sources: both, Permanent: "a-1"})
	b := w.camera("b-2", 'b', 1<<30)
	// Its only key frame is older than the trial.
	for w.frames("b-2") < 3 {
	}
	w.order(orders.Orders{Sources: both, Permanent: "a-1", Trial: trialOf("t1", "b-2", 500*time.Millisecond)})
	if r := w.awaitRevert(); r.Cause != orders.CauseDeadline || r.Switched {
		t.Errorf("revert: %+v", r)
	}
	select {
	case <-b.conn.KeyFrames():
	default:
		t.Error("no key frame was asked for")
	}
	for _, p := range v.slice(0, v.count()) {
		if p.letter != 'a' {
			t.Fatal("viewers saw the version on trial")
		}
	}
	v.unbroken()
}

func (w *world) frames(source orders.SourceID) (n uint64) {
	for _, s := range w.status().Streams {
		for _, l := range s.Lines {
			if l.Source == source {
				n += l.Frames
			}
		}
	}
	return n
}

// With a long GOP the revert asks for a key frame first, and takes the longer
// past when none comes.
func TestLongPastIsTheLastResort(t *testing.T) {
	w := newWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0)}, Permanent: "a-1"})
	w.camera("a-1", 'a', 1<<30)
	v := w.viewer()
	v.until("40 pictures", 40, func(picture) bool { return true })
	both := []orders.Source{src("a-1", 0), src("b-2", 0)}
	w.order(orders.Orders{Sources: both, Permanent: "a-1"})
	b := w.camera("b-2", 'b', 10)
	w.order(orders.Orders{Sources: both, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	w.awaitSwitch()
	at := v.untilLetter('b', 0)
	b.close()
	r := w.awaitRevert()
	if r.Streams[0].ReplayedFrames <= 15 {
		t.Errorf("%d frames replayed", r.Streams[0].ReplayedFrames)
	}
	if waited := time.Duration(r.First - r.Detected); waited < 20*time.Millisecond {
		t.Errorf("the longer past was sent after %v, without waiting for a key frame", waited)
	}
	v.untilLetter('a', at)
	v.unbroken()
}

func TestAppMayComeBackAsANewSource(t *testing.T) {
	w, a, v := steadyWorld(t)
	a.close()
	w.await("lost source", func(m orders.Message) bool { return m.Lost != nil && m.Lost.Cause == orders.CauseEOF })
	w.order(orders.Orders{Sources: []orders.Source{src("a-9", 0)}, Permanent: "a-9"})
	w.camera("a-9", 'c', 10)
	v.untilLetter('c', 0)
	v.unbrokenButHoles()
}

// A gateway goes on with the numbers it had when the forwarder was restarted.
func TestResumeKeepsNumbering(t *testing.T) {
	w, _, _ := steadyWorld(t)
	conn, err := subscribe.Dial(filepath.Join(w.run, "viewers.sock"), "main", &subscribe.Resume{Seq: 65530, TimeBase: 77})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 20<<10)
	for want := uint16(65530); want != 20; want++ {
		if _, err := conn.Read(buf); err != nil {
			t.Fatal(err)
		}
		if seq := binary.BigEndian.Uint16(buf[2:]); seq != want {
			t.Fatalf("sequence %d instead of %d", seq, want)
		}
	}
	if conn.TimeBase() != 77 {
		t.Errorf("time base %d", conn.TimeBase())
	}
}

// A thousand switches neither lose nor repeat a number, and a viewer's clock
// stays the capture clock: it does not drift by a tick.
func TestManySwitchesDoNotDrift(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand switches")
	}
	w := newWorld(t)
	both := []orders.Source{src("a-1", 0), src("b-2", 0)}
	w.order(orders.Orders{Sources: both, Permanent: "a-1"})
	w.camera("a-1", 'a', 3)
	w.camera("b-2", 'b', 3)
	v := w.viewer()
	v.until("pictures that nobody had to wait for", 20, func(picture) bool { return true })
	for i := range 500 {
		id := fmt.Sprintf("t%d", i)
		w.order(orders.Orders{Sources: both, Permanent: "a-1", Trial: trialOf(id, "b-2", time.Hour)})
		w.awaitSwitch()
		w.ask(orders.Request{Revert: &orders.Revert{Trial: orders.TrialID(id), Reason: "operator"}})
	}
	n := v.count()
	v.until("pictures after the last revert", n+20, func(picture) bool { return true })
	v.unbroken()
	all := v.slice(0, v.count())
	first, last := all[15], all[len(all)-1]
	drift := int32(last.ts-first.ts) - int32(last.number-first.number)*frameTick
	if drift < -90 || drift > 90 {
		t.Errorf("%d ticks of drift over %d frames", drift, last.number-first.number)
	}
}

// One viewer that stops reading delays no other, and finds a key frame when it
// reads again.
func TestSlowViewerDelaysNobody(t *testing.T) {
	w, _, _ := steadyWorld(t)
	stopped, err := subscribe.Dial(filepath.Join(w.run, "viewers.sock"), "main", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stopped.Close()
	var others []*viewer
	for range 50 {
		others = append(others, w.viewer())
	}
	for _, v := range others {
		v.until("150 pictures", 150, func(picture) bool { return true })
		v.unbroken()
	}
	// It holds a socket full of packets, and not one more after it was closed.
	deadline := time.Now().Add(patience)
	for viewers := 52; viewers > 51; viewers = w.status().Streams[0].Viewers {
		if time.Now().After(deadline) {
			t.Fatal("a viewer that takes nothing was not closed")
		}
	}
}

// Whoever joins while no source sends waits, and is not shown the past.
func TestNobodyIsShownADeadSource(t *testing.T) {
	w, a, _ := steadyWorld(t)
	a.close()
	w.await("lost source", func(m orders.Message) bool { return m.Lost != nil })
	late := w.viewer()
	w.order(orders.Orders{Sources: []orders.Source{src("a-9", 0)}, Permanent: "a-9"})
	w.camera("a-9", 'c', 10)
	late.untilLetter('c', 0)
	if first := late.slice(0, 1)[0]; first.letter != 'c' {
		t.Errorf("the first picture is of %c", first.letter)
	}
}
