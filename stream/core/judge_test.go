package core

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"slipstream/stream/orders"
)

func bounds(least, most float64) (i orders.Invariant) {
	if !math.IsNaN(least) {
		i.Min = &least
	}
	if !math.IsNaN(most) {
		i.Max = &most
	}
	return i
}

func judgedBy(measure, against string, least, most float64) *invariant {
	i := bounds(least, most)
	i.Measure, i.Against, i.WindowMS = measure, against, 3000
	return newInvariant(i, "main", 0)
}

var none = math.NaN()

// TestTape draws frames of any life, with pauses and key frames, beside a plain list
// of them: each measure of any stretch must be what the list says.
func TestTape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type shown struct {
			at, gap, keyGap, delay int64
			bytes                  uint32
		}
		m := &meter{}
		var all []shown
		now, last, key := int64(1000*time.Second), int64(0), int64(0)
		for range rapid.IntRange(2, 400).Draw(t, "frames") {
			if rapid.IntRange(0, 60).Draw(t, "freeze") == 0 {
				m.pause()
				last, key = 0, 0
			}
			now += rapid.Int64Range(1, 300).Draw(t, "later") * ms
			f := shown{at: now, delay: rapid.Int64Range(-50, 500).Draw(t, "delay") * ms, bytes: rapid.Uint32Range(1, 1<<20).Draw(t, "bytes")}
			u := &unit{bytes: f.bytes, capture: now - f.delay, key: rapid.IntRange(0, 5).Draw(t, "key") == 0}
			if last != 0 {
				f.gap = now - last
			}
			if last = now; u.key {
				if key != 0 {
					f.keyGap = now - key
				}
				key = now
			}
			m.add(u, now)
			all = append(all, f)
		}
		to := now/fineStep + rapid.Int64Range(0, 20).Draw(t, "silence")
		from := to - rapid.Int64Range(1, tapeCells-20).Draw(t, "window")
		got := m.window(from, to, nil)
		want := stretch{over: (to - from) * fineStep}
		for _, f := range all {
			if step := f.at / fineStep; step >= from && step < to {
				if want.bytes += uint64(f.bytes); f.gap > 0 {
					want.frames++
				}
				want.gap, want.keyGap = max(want.gap, f.gap), max(want.keyGap, f.keyGap)
			}
		}
		if last == 0 {
			last = from * fineStep
		}
		if key == 0 {
			key = from * fineStep
		}
		want.gap, want.keyGap = max(want.gap, to*fineStep-last), max(want.keyGap, to*fineStep-key)
		got.drift = 0
		if got != want {
			t.Fatalf("steps %d to %d show %+v, want %+v", from, to, got, want)
		}
	})
}

// A past is told by the frames themselves: what was not running shows nothing.
func TestPastLeavesOutWhatDidNotRun(t *testing.T) {
	m, now := &meter{}, int64(5000*time.Second)
	play := func(frames int) {
		for range frames {
			now += 40 * ms
			m.add(&unit{bytes: 5000, capture: now, key: true}, now)
		}
	}
	play(250)
	now += 100_000 * ms // frozen, or between two runs
	m.pause()
	play(250)
	s, enough := m.past.history(int64(3 * time.Second))
	i := judgedBy(orders.MeasureFrameRate, orders.AgainstNothing, none, none)
	if rate := i.measure(s, picture{}); !enough || math.Abs(rate-25) > 0.01 {
		t.Errorf("%v frames a second", rate)
	}
	if s.gap != 40*ms || s.keyGap != 40*ms {
		t.Errorf("longest gaps %v and %v", time.Duration(s.gap), time.Duration(s.keyGap))
	}
	now += 700_000 * ms
	m.pause()
	play(2)
	if s, enough := m.past.history(int64(3 * time.Second)); enough {
		t.Errorf("what was over ten minutes ago still counts: %+v", s)
	}
}

// Drift is what the shortest delays do, whatever comes late by chance.
func TestDrift(t *testing.T) {
	m, now := &meter{}, int64(1000*time.Second)
	for n := range int64(300) {
		now += 10 * ms
		delay := n * ms / 2 // 50 ms a second
		if n%7 != 0 {
			delay += 30 * ms
		}
		m.add(&unit{bytes: 1, capture: now - delay}, now)
	}
	to := now / fineStep
	if drift := m.window(to-20, to, nil).drift; drift < 80*ms || drift > 105*ms {
		t.Errorf("a drift of %v over two seconds", time.Duration(drift))
	}
	if drift := m.window(to-1, to, nil).drift; drift != 0 {
		t.Errorf("a drift of %v within one step", time.Duration(drift))
	}
}

// TestInvariantIsJudged reads as the rule: in thirds, two in a row, and put off
// while it could be the machine's fault.
func TestInvariantIsJudged(t *testing.T) {
	bad, good := orders.Verdict{}, orders.Verdict{Holds: true}
	start := func() *invariant { return judgedBy(orders.MeasureGap, orders.AgainstNothing, none, 100) }

	i := start()
	if i.due(30) || !i.due(31) {
		t.Error("first judged before its window is over, or later than that")
	}
	if i.judge(bad, 31, false) || i.due(40) || !i.due(41) {
		t.Error("one judgement breaks it, or the next is not a third later")
	}
	if i.judge(good, 41, false) || i.judge(bad, 51, false) {
		t.Error("two judgements break it that are not in a row")
	}
	if !i.judge(bad, 61, false) || i.judge(bad, 71, false) {
		t.Error("two in a row do not break it, or break it twice")
	}

	i = start()
	for n := range int64(maxPutOff) {
		if i.judge(bad, 31+10*n, true) || i.verdict.Judged {
			t.Error("judged for what the machine did")
		}
	}
	if i.judge(bad, 71, true) || !i.verdict.Judged {
		t.Error("put off for ever")
	}

	i = start()
	for n := range int64(maxPutOff) {
		if !i.late(31+n) || i.due(31+n) || !i.due(32+n) {
			t.Error("a forwarder that woke late judges at once, or not a step later")
		}
	}
	if i.late(40) {
		t.Error("a forwarder that always wakes late never judges")
	}
}

func TestComparisons(t *testing.T) {
	second := func(frames uint64, gap, drift int64) stretch {
		return stretch{frames: frames, bytes: frames * 1000, over: int64(time.Second), gap: gap, keyGap: 2 * gap, drift: drift}
	}
	own, base := second(20, 80*ms, 30*ms), baseline{basePermanent, second(25, 40*ms, -10*ms), picture{100}}
	for _, test := range []struct {
		measure, against  string
		value, compared   float64
		least, most       float64
		base              baseline
		holds, comparable bool
	}{
		{orders.MeasureFrameRate, orders.AgainstPermanent, 20, 0.8, 0.8, 1, base, true, true},
		{orders.MeasureFrameRate, orders.AgainstPermanent, 20, 0.8, 0.81, none, base, false, true},
		{orders.MeasureFrameRate, orders.AgainstNothing, 20, 20, none, 19.9, base, false, false},
		{orders.MeasureBitrate, orders.AgainstPermanent, 160_000, 0.8, none, 0.8, base, true, true},
		{orders.MeasureGap, orders.AgainstPermanent, 80, 2, none, 1.9, base, false, true},
		{orders.MeasureKeyInterval, orders.AgainstNothing, 160, 160, none, 160, base, true, false},
		{orders.MeasurePictureSize, orders.AgainstPermanent, 90, 0.9, 1, none, base, false, true},
		{orders.MeasureDrift, orders.AgainstPermanent, 30, 40, none, 39, base, false, true},
		{orders.MeasureDrift, orders.AgainstPermanent, 30, 40, -10, 40, base, true, true},

		// Nothing was ever seen of the permanent version, or nothing to divide by.
		{orders.MeasureFrameRate, orders.AgainstPermanent, 20, 0, 0.9, 1.1, baseline{}, true, false},
		{orders.MeasureDrift, orders.AgainstPermanent, 30, 0, none, 1, baseline{}, true, false},
		{orders.MeasurePictureSize, orders.AgainstPermanent, 90, 0, 1, none, baseline{kind: basePermanent, shown: own}, true, false},
	} {
		i := judgedBy(test.measure, test.against, test.least, test.most)
		v := i.compare(own, picture{90}, test.base)
		if v.Value != test.value || v.Compared != test.compared || v.Holds != test.holds || (v.Baseline != "") != test.comparable {
			t.Errorf("%s against %s: %+v, want %v, %v, %v", test.measure, test.against, v, test.value, test.compared, test.holds)
		}
	}
	// Two versions that both show nothing are alike.
	i := judgedBy(orders.MeasureFrameRate, orders.AgainstPermanent, 0.9, 1.1)
	if v := i.compare(stretch{over: 1}, picture{}, baseline{kind: basePermanent, shown: stretch{over: 1}}); !v.Holds || v.Compared != 1 {
		t.Errorf("silence beside silence: %+v", v)
	}
}

// judgedCore is a core that only exists: the trial's line and the permanent one,
// which have shown frames at a given rate for twenty seconds.
func judgedCore(now int64, i *invariant) (c *Core, own, permanent *line) {
	c = &Core{
		standing: standing{permanent: "a-1", trial: trial{id: "t1", source: "b-2", phase: switched}}, version: "1",
		sources:   map[orders.SourceID]*source{},
		streams:   map[string]*stream{},
		judgement: &judging{trial: "t1", invariants: []*invariant{i}},
	}
	s := &stream{name: "main"}
	c.streams["main"] = s
	add := func(id orders.SourceID, number uint64, every int64) *line {
		l := bareLine(number)
		l.source = &source{spec: orders.Source{ID: id, Version: "1"}, freeze: freeze{fd: -1}, lines: map[string]*line{"main": l}}
		l.stream, l.fd = s, 0
		c.sources[id] = l.source
		for at := now - int64(20*time.Second); at <= now; at += every {
			l.meter.add(&unit{bytes: 1000, capture: at}, at)
		}
		return l
	}
	return c, add("b-2", 2, 50*ms), add("a-1", 1, 40*ms)
}

// What is compared with: the permanent source's same seconds, or its past.
func TestBaselines(t *testing.T) {
	now := int64(2000 * time.Second)
	at := now / fineStep
	verdict := func(change func(c *Core, own, permanent *line)) orders.Verdict {
		i := judgedBy(orders.MeasureFrameRate, orders.AgainstPermanent, 0.9, none)
		c, own, permanent := judgedCore(now, i)
		change(c, own, permanent)
		v, _ := c.verdict(i, at)
		return v
	}
	for what, test := range map[string]struct {
		change func(c *Core, own, permanent *line)
		want   string
	}{
		"both run":           {func(*Core, *line, *line) {}, "permanent"},
		"permanent dead":     {func(_ *Core, _, p *line) { p.fd = -1 }, "history"},
		"permanent frozen":   {func(_ *Core, _, p *line) { p.source.spec.Frozen = true }, "history"},
		"permanent new":      {func(_ *Core, _, p *line) { p.meter.since = now - int64(time.Second) }, "history"},
		"permanent unheard":  {func(_ *Core, _, p *line) { p.meter = meter{} }, ""},
		"stopped and gone":   {func(c *Core, _, p *line) { c.keepPast(p); c.sources["a-1"].lines = nil }, "history"},
		"a new run, no line": {func(c *Core, _, p *line) { c.keepPast(p); delete(c.sources, "a-1"); c.permanent = "a-3" }, "history"},
		"another version":    {func(c *Core, _, p *line) { c.keepPast(p); delete(c.sources, "a-1"); c.version = "2" }, ""},
		"never seen":         {func(c *Core, _, p *line) { delete(c.sources, "a-1") }, ""},
		"silent of late":     {func(_ *Core, _, p *line) { p.meter.fine = tape{} }, "history"},
	} {
		v := verdict(test.change)
		if v.Baseline != test.want || test.want != "" && (math.Abs(v.Base-25) > 0.5 || v.Holds) || test.want == "" && !v.Holds {
			t.Errorf("%s: %+v, want %q", what, v, test.want)
		}
	}

	// A new run goes on with what the last one has shown.
	c, _, permanent := judgedCore(now, judgedBy(orders.MeasureGap, orders.AgainstNothing, none, 1))
	c.keepPast(permanent)
	again := bareLine(3)
	again.source, again.stream = permanent.source, permanent.stream
	if again.takeUpPast(); again.meter.past != permanent.meter.past {
		t.Error("the past is lost")
	}
}

// The machine is to blame for what the permanent source shows as well, and the
// forwarder for gaps that ended while it was late itself.
func TestWhoIsToBlame(t *testing.T) {
	now := int64(2000 * time.Second)
	at := now / fineStep
	i := judgedBy(orders.MeasureGap, orders.AgainstNothing, none, 200)
	c, own, permanent := judgedCore(now, i)
	stalled := func(l *line) {
		l.meter.last -= 500 * ms
		l.meter.add(&unit{bytes: 1000, capture: now}, now-fineStep)
	}
	stalled(own)
	if v, machine := c.verdict(i, at); v.Holds || machine {
		t.Errorf("its own gap: %+v, machine's fault %v", v, machine)
	}
	stalled(permanent)
	if v, machine := c.verdict(i, at); v.Holds || !machine {
		t.Errorf("a gap of both: %+v, machine's fault %v", v, machine)
	}
	c.judgement.late.mark(at-1, at)
	if v, _ := c.verdict(i, at); !v.Holds {
		t.Errorf("a gap that the forwarder made: %+v", v)
	}
	own.source.lines = nil
	if v, _ := c.verdict(i, at); v.Holds || v.Value != 3000 {
		t.Errorf("a line that never came: %+v", v)
	}
}

func TestSentences(t *testing.T) {
	for _, test := range []struct {
		v    orders.Verdict
		want string
	}{
		{
			orders.Verdict{Value: 11.84, Base: 30.1, Compared: 0.3933, Baseline: basePermanent},
			"stream main: frame-rate 11.8/s over 3s is 0.393 times the permanent version's 30.1/s; it must be at least 0.9 times",
		},
		{
			orders.Verdict{Value: 11.84, Base: 30.1, Compared: 0.3933, Baseline: baseHistory},
			"stream main: frame-rate 11.8/s over 3s is 0.393 times the permanent version's 30.1/s of its last ten minutes; it must be at least 0.9 times",
		},
	} {
		i := judgedBy(orders.MeasureFrameRate, orders.AgainstPermanent, 0.9, none)
		test.v.Against = i.Against
		if i.verdict = test.v; i.sentence() != test.want {
			t.Errorf("%s", i.sentence())
		}
	}
	i := judgedBy(orders.MeasureGap, orders.AgainstNothing, 1, 100)
	i.verdict = orders.Verdict{Against: i.Against, Value: 1234.5, Compared: 1234.5}
	if got, want := i.sentence(), "stream main: gap 1234 ms over 3s; it must be at most 100 ms"; got != want {
		t.Errorf("%s", got)
	}
	i = judgedBy(orders.MeasureDrift, orders.AgainstPermanent, none, 40)
	i.verdict = orders.Verdict{Against: i.Against, Value: 60, Base: -1, Compared: 61, Baseline: basePermanent}
	if got, want := i.sentence(), "stream main: drift 60 ms over 3s is 61 ms away from the permanent version's -1 ms; it must be at most 40 ms"; got != want {
		t.Errorf("%s", got)
	}
}

// What is measured costs no allocation.
func TestMeterAllocs(t *testing.T) {
	m, now := &meter{}, int64(time.Second)
	u := &unit{bytes: 1000, key: true}
	if n := testing.AllocsPerRun(1000, func() {
		now += 33 * ms
		u.capture = now
		m.add(u, now)
		m.window(now/fineStep-30, now/fineStep, nil)
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}
