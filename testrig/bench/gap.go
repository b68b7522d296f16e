package bench

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/stand"
	"slipstream/testrig/viewer"
)

const (
	// gapBefore and gapAfter are how much of the time around a fault is looked at.
	gapBefore = 300 * time.Millisecond
	gapAfter  = time.Second

	// shortStall is the stall limit that design §9 has as default.
	shortStall = 50 * time.Millisecond

	// gapSlack is what design §15 adds to a gap's bound.
	gapSlack = 2 * time.Millisecond
)

// gapBench is a stand whose version on trial is killed or stopped, beside one that
// nobody touches.
type gapBench struct {
	touched, control         *stand.Stand
	old, other               *stand.App
	viewers, controls        []*viewer.Viewer
	begin                    time.Duration
	gap, spare, excess, jump []float64 // ms, of all viewers
	falseAlarms              int
}

// gaps measures how long viewers see nothing new when the version on trial dies or
// hangs, and how far the picture goes back.
func (b *streamBench) gaps(ctx context.Context) (figures []Figure, err error) {
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		more   time.Duration // that the gap may be longer than the control's, p99
	}{
		{"app killed", syscall.SIGKILL, time.Second/camera.FrameRate + gapSlack},
		{fmt.Sprintf("app hangs, stall limit %d ms or 2.5 × the longest healthy gap", shortStall.Milliseconds()), syscall.SIGSTOP,
			shortStall + gapSlack},
	} {
		g, err := newGapBench(ctx, b.bin)
		if err != nil {
			return nil, err
		}
		for i := range b.Gaps {
			if err = g.once(ctx, i, c.signal); err != nil {
				err = fmt.Errorf("%s, %d: %w\n%s", c.name, i, err, g.touched.Logs())
				break
			}
		}
		if err == nil {
			figures = append(figures, g.figures(c.name, c.more)...)
		}
		g.close()
		if err != nil {
			return nil, err
		}
		b.logf("%s: %d times, gap %v ms at most, control %v ms", c.name, b.Gaps, highest(g.gap), highest(g.spare))
	}
	return figures, nil
}

func newGapBench(ctx context.Context, bin string) (_ *gapBench, err error) {
	g := &gapBench{}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	for _, side := range []struct {
		stand   **stand.Stand
		app     **stand.App
		viewers *[]*viewer.Viewer
	}{{&g.touched, &g.old, &g.viewers}, {&g.control, &g.other, &g.controls}} {
		if *side.stand, err = stand.Start(ctx, stand.Config{Bin: bin}); err != nil {
			return nil, err
		}
		if *side.app, err = steady(ctx, *side.stand, shortStall); err != nil {
			return nil, err
		}
		if *side.viewers, err = watch(ctx, *side.stand); err != nil {
			return nil, err
		}
	}
	g.begin = publish.Monotonic()
	return g, nil
}

// once lets a version on trial fail. A trial that the machine's own stall has ended
// before is a false alarm, and is tried again.
func (g *gapBench) once(ctx context.Context, i int, signal syscall.Signal) error {
	for {
		failed, err := g.fail(ctx, "b-"+strconv.Itoa(i)+"-"+strconv.Itoa(g.falseAlarms), signal)
		if failed || err != nil {
			return err
		}
		g.falseAlarms++
	}
}

func (g *gapBench) fail(ctx context.Context, id string, signal syscall.Signal) (failed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, killPatience)
	defer cancel()
	b, trial, err := carry(ctx, g.touched, g.old, nil, stand.AppConfig{ID: id, Version: "2.0", Stall: shortStall})
	if err != nil {
		return false, err
	}
	defer b.End()
	pause(ctx, gapBefore)
	atRandom(ctx)
	s, err := g.touched.Status(ctx)
	if err != nil || s.Trial != trial {
		return false, err
	}
	at := publish.Monotonic()
	b.Signal(signal)
	r, err := g.touched.Reverted(ctx, trial)
	if err != nil {
		return false, err
	}
	pause(ctx, gapAfter)
	end := publish.Monotonic()
	if time.Duration(r.Detected) > at { // and not an alarm that was on its way
		for i, v := range g.viewers {
			rep, spare := v.Report(at-gapBefore, end), g.controls[i].Report(at-gapBefore, end)
			g.gap, g.spare = append(g.gap, rep.LongestGapMS), append(g.spare, spare.LongestGapMS)
			g.excess = append(g.excess, rep.LongestGapMS-spare.LongestGapMS)
			g.jump = append(g.jump, rep.ContentJumpMS)
		}
		failed = true
	}
	return failed, g.touched.Order(ctx, nil, g.old.Part)
}

func (g *gapBench) figures(name string, more time.Duration) (figures []Figure) {
	for _, p := range []float64{50, 99} {
		f := Figure{
			Name: fmt.Sprintf("%s: viewers' longest gap, p%.0f", name, p), Value: rank(g.gap, p), Unit: "ms",
			Reference: "an untouched stream at the same time", ReferenceValue: rank(g.spare, p),
			Samples: g.gap, ReferenceSamples: g.spare,
		}
		excess := Figure{
			Name: fmt.Sprintf("%s: longer than the untouched stream's, p%.0f", name, p), Value: rank(g.excess, p), Unit: "ms", Samples: g.excess,
		}
		if p == 99 {
			f.Targets = []Target{beyond(viewer.Milliseconds(more))}
		}
		figures = append(figures, f, excess)
	}
	return append(figures,
		Figure{Name: name + ": content jump, p50", Value: rank(g.jump, 50), Unit: "ms", Targets: []Target{atMost(150)}, Samples: g.jump},
		Figure{Name: name + ": content jump, longest", Value: highest(g.jump), Unit: "ms", Targets: []Target{atMost(500)}},
		Figure{Name: name + ": frames lost, breaks and sessions ended", Value: float64(lossesOf(g.viewers, g.begin)), Targets: []Target{atMost(0)}},
		Figure{Name: name + ": trials ended by a false alarm before", Value: float64(g.falseAlarms)})
}

func (g *gapBench) close() {
	for _, v := range append(g.viewers, g.controls...) {
		v.Close()
	}
	for _, a := range []*stand.App{g.old, g.other} {
		if a != nil {
			a.End()
		}
	}
	for _, s := range []*stand.Stand{g.touched, g.control} {
		if s != nil {
			s.Close()
		}
	}
}
