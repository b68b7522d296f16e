package core_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

// judged is a world whose viewer watches camera b on trial, of which invariants are
// asked. Each frame is a key frame, so that none needs the one before it.
type judged struct {
	*world
	a, b    *camera
	v       *viewer
	sources []orders.Source
}

func newJudged(t *testing.T, invariants ...orders.Invariant) *judged {
	t.Helper()
	w := newWorld(t)
	a, b := src("a-1", 0), src("b-2", 0)
	b.Streams[0].Invariants = invariants
	j := &judged{world: w, sources: []orders.Source{a, b}}
	w.order(orders.Orders{Sources: j.sources, Permanent: "a-1"})
	j.a, j.b, j.v = w.camera("a-1", 'a', 1), w.camera("b-2", 'b', 1), w.viewer()
	j.v.until("half a second of a", 50, func(picture) bool { return true })
	return j
}

// begin lets viewers watch b.
func (j *judged) begin() *judged {
	j.t.Helper()
	j.order(orders.Orders{Sources: j.sources, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	j.awaitSwitch()
	return j
}

// hold asks for the right to commit until the answer is not to wait.
func (j *judged) hold() orders.Message {
	j.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		m := j.ask(orders.Request{Hold: &orders.Hold{Trial: "t1", LeaseMS: 60_000}})
		if m.Result != orders.ResultWait {
			return m
		}
		if m.Error == "" {
			j.t.Fatal("hold waits, and nobody knows what for")
		}
		j.v.until("more pictures", j.v.count()+5, func(picture) bool { return true })
	}
	j.t.Fatal("hold waits for ever")
	return orders.Message{}
}

func bound(measure, against string, least, most float64) orders.Invariant {
	i := orders.Invariant{Name: "x", Measure: measure, Against: against, WindowMS: 1000, Required: true}
	if least != 0 {
		i.Min = &least
	}
	if most != 0 {
		i.Max = &most
	}
	return i
}

// slowly lets a camera's frames be under way longer and longer, for as long as the
// forwarder can believe it.
func slowly(c *camera) {
	began := publish.Monotonic()
	go func() {
		for late := time.Duration(0); late < 4*time.Second; late = (publish.Monotonic() - began) / 2 {
			c.change(func() { c.behind = late })
			select {
			case <-c.done:
				return
			case <-time.After(frameTime):
			}
		}
	}()
}

// Each measure breaks its invariant, and viewers are back on the version before.
func TestBrokenInvariantReverts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		orders.Invariant
		fault func(*camera)
	}{
		{bound(orders.MeasureFrameRate, orders.AgainstPermanent, 0.6, 0), func(c *camera) { c.change(func() { c.every = 4 }) }},
		{bound(orders.MeasureFrameRate, orders.AgainstNothing, 60, 0), func(c *camera) { c.change(func() { c.every = 4 }) }},
		{bound(orders.MeasureBitrate, orders.AgainstPermanent, 0.5, 2), func(c *camera) { c.change(func() { c.parts = 12 }) }},
		{bound(orders.MeasureGap, orders.AgainstNothing, 0, 700), func(c *camera) { c.pause(true) }},
		{bound(orders.MeasureKeyInterval, orders.AgainstPermanent, 0, 8), func(c *camera) { c.change(func() { c.gop = 1 << 30 }) }},
		{bound(orders.MeasureDrift, orders.AgainstPermanent, -150, 150), slowly},
	} {
		t.Run(test.Measure+" against "+test.Against, func(t *testing.T) {
			t.Parallel()
			j := newJudged(t, test.Invariant).begin()
			test.fault(j.b)
			r := j.awaitRevert()
			if r.Cause != "invariant:main.x" || r.Source != "a-1" || !r.Switched || len(r.Verdicts) != 1 {
				t.Fatalf("revert: %+v", r)
			}
			v := r.Verdicts[0]
			baseline := ""
			if test.Against == orders.AgainstPermanent {
				baseline = "permanent"
			}
			if v.Holds || !v.Judged || !v.Required || v.Baseline != baseline || v.Stream != "main" || v.Invariant != "x" {
				t.Errorf("verdict: %+v", v)
			}
			if !strings.Contains(r.Detail, "stream main: "+test.Measure) {
				t.Errorf("detail: %q", r.Detail)
			}
			t.Log(r.Detail)
			j.v.untilLetter('a', j.v.count())
			j.v.unbrokenButHoles()
		})
	}
}

// A version that keeps its invariants is held, but not before each was judged over
// a whole window.
func TestHoldWaitsForAWholeWindow(t *testing.T) {
	t.Parallel()
	j := newJudged(t,
		bound(orders.MeasureFrameRate, orders.AgainstPermanent, 0.5, 2),
		func() orders.Invariant {
			i := bound(orders.MeasureGap, orders.AgainstPermanent, 0, 1000)
			i.Name = "y"
			return i
		}(),
	).begin()
	first := j.ask(orders.Request{Hold: &orders.Hold{Trial: "t1", LeaseMS: 60_000}})
	if first.Result != orders.ResultWait || len(first.Verdicts) != 2 || first.Verdicts[0].Judged || first.Verdicts[0].Holds || !strings.Contains(first.Error, "was not judged") {
		t.Errorf("first hold: %+v", first)
	}
	held := j.hold()
	if held.Result != orders.ResultHeld || len(held.Verdicts) != 2 {
		t.Fatalf("hold: %+v", held)
	}
	for _, v := range held.Verdicts {
		if !v.Judged || !v.Holds || v.Baseline != "permanent" || v.Base == 0 {
			t.Errorf("verdict: %+v", v)
		}
	}
	if st := j.status(); st.Phase != "held" || len(st.Verdicts) != 2 {
		t.Errorf("status: %+v", st)
	}
	j.ask(orders.Request{Settle: &orders.Settle{Trial: "t1", Source: "b-2"}})
	if st := j.status(); st.Verdicts != nil {
		t.Errorf("verdicts of a settled trial: %+v", st.Verdicts)
	}
	j.v.unbroken()
}

// One that is only wanted is reported once, and reverts nothing.
func TestWantedInvariantIsReported(t *testing.T) {
	t.Parallel()
	i := bound(orders.MeasureFrameRate, orders.AgainstPermanent, 0.6, 0)
	i.Required = false
	j := newJudged(t, i).begin()
	j.b.change(func() { j.b.every = 4 })
	m := j.await("breaking", func(m orders.Message) bool { return m.Breaking != nil || m.Revert != nil })
	if m.Breaking == nil || m.Breaking.Holds || m.Breaking.Required || m.Breaking.Compared > 0.6 {
		t.Fatalf("message: %+v", m)
	}
	at := j.v.count()
	j.v.until("a second more of b", at+25, func(p picture) bool { return p.letter == 'b' })
	if held := j.hold(); held.Result != orders.ResultHeld || len(held.Verdicts) != 1 || held.Verdicts[0].Holds {
		t.Errorf("hold: %+v", held)
	}
	for len(j.events) > 0 {
		if m := <-j.events; m.Breaking != nil {
			t.Errorf("reported again: %+v", m.Breaking)
		}
	}
}

// What both versions show in the same seconds is the machine's fault.
func TestAMachineThatStallsBreaksNoInvariant(t *testing.T) {
	t.Parallel()
	gap := bound(orders.MeasureGap, orders.AgainstNothing, 0, 500)
	rate := bound(orders.MeasureFrameRate, orders.AgainstPermanent, 0.5, 2)
	rate.Name = "y"
	j := newJudged(t, gap, rate).begin()
	j.a.pause(true)
	j.b.pause(true)
	<-time.After(800 * time.Millisecond) // the stall
	j.a.pause(false)
	j.b.pause(false)
	if held := j.hold(); held.Result != orders.ResultHeld || !held.Verdicts[0].Holds || !held.Verdicts[1].Holds {
		t.Errorf("hold: %+v", held)
	}
}

// A trial that ends before its window is over says that nothing was judged.
func TestDeadlineBeforeTheWindowIsOver(t *testing.T) {
	t.Parallel()
	i := bound(orders.MeasureFrameRate, orders.AgainstPermanent, 0.5, 0)
	i.WindowMS = 60_000
	j := newJudged(t, i)
	j.order(orders.Orders{Sources: j.sources, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Second)})
	j.awaitSwitch()
	if m := j.ask(orders.Request{Hold: &orders.Hold{Trial: "t1", LeaseMS: 60_000}}); m.Result != orders.ResultWait {
		t.Errorf("hold: %+v", m)
	}
	if r := j.awaitRevert(); r.Cause != orders.CauseDeadline || len(r.Verdicts) != 1 || r.Verdicts[0].Judged || r.Verdicts[0].Holds {
		t.Errorf("revert: %+v", r)
	}
}

func TestNonsenseInvariantsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	least, most, below := 2.0, 1.0, -1.0
	good := bound(orders.MeasureGap, orders.AgainstNothing, 0, 500)
	change := func(do func(*orders.Invariant)) []orders.Invariant {
		i := good
		do(&i)
		return []orders.Invariant{i}
	}
	for name, bad := range map[string][]orders.Invariant{
		"unknown measure":  change(func(i *orders.Invariant) { i.Measure = "beauty" }),
		"unknown against":  change(func(i *orders.Invariant) { i.Against = "everything" }),
		"min above max":    change(func(i *orders.Invariant) { i.Min, i.Max = &least, &most }),
		"no bound":         change(func(i *orders.Invariant) { i.Max = nil }),
		"impossible bound": change(func(i *orders.Invariant) { i.Max = &below }),
		"short window":     change(func(i *orders.Invariant) { i.WindowMS = 999 }),
		"long window":      change(func(i *orders.Invariant) { i.WindowMS = 60_001 }),
		"endless window":   change(func(i *orders.Invariant) { i.WindowMS = 1 << 62 }),
		"no name":          change(func(i *orders.Invariant) { i.Name = "" }),
		"bad name":         change(func(i *orders.Invariant) { i.Name = "a:b" }),
		"same name":        {good, good},
		"too many": func() (all []orders.Invariant) {
			for n := range 17 {
				all = append(all, change(func(i *orders.Invariant) { i.Name = fmt.Sprint("n", n) })...)
			}
			return all
		}(),
	} {
		s := src("b-2", 0)
		s.Streams[0].Invariants = bad
		m := w.ask(orders.Request{Orders: &orders.Orders{Sources: []orders.Source{src("a-1", 0), s}, Permanent: "a-1"}})
		if m.Result != orders.ResultError || !strings.Contains(m.Error, "main") {
			t.Errorf("%s: %+v", name, m)
		}
	}
	s := src("b-2", 0)
	s.Streams[0].Invariants = []orders.Invariant{good}
	w.order(orders.Orders{Sources: []orders.Source{s}})
}
