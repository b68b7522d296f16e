package bench

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/testrig/stand"
)

// busyLoops is how many processes compute as fast as they can.
const busyLoops = 4

// alarms counts how often a healthy version on trial is taken for a stalled one, on
// an idle machine and under load, over b.Idle each; an hour is extrapolated.
func (b *streamBench) alarms(ctx context.Context) (figures []Figure, err error) {
	for _, loops := range []int{0, busyLoops} {
		stop, err := keepBusy(loops)
		if err != nil {
			return nil, err
		}
		count, watched, err := b.countAlarms(ctx)
		stop()
		if err != nil {
			return nil, fmt.Errorf("false alarms: %w", err)
		}
		name, targets := "on an idle machine", []Target{atMost(0)}
		if loops > 0 {
			name, targets = fmt.Sprintf("under %d busy loops", loops), nil
		}
		figures = append(figures, Figure{
			Name: fmt.Sprintf("false stall alarms an hour %s, limit %d ms (extrapolated: %d in %v)",
				name, shortStall.Milliseconds(), count, watched.Round(time.Second)),
			Value: float64(count) * float64(time.Hour) / float64(watched), Targets: targets,
		})
		b.logf("false stall alarms %s: %d in %v", name, count, watched.Round(time.Second))
	}
	return figures, nil
}

func keepBusy(loops int) (stop func(), err error) {
	var procs []*exec.Cmd
	stop = func() {
		for _, p := range procs {
			p.Process.Kill()
			_ = p.Wait() // killed
		}
	}
	for range loops {
		p := exec.Command("sh", "-c", "while :; do :; done")
		p.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
		if err := p.Start(); err != nil {
			stop()
			return nil, err
		}
		procs = append(procs, p)
	}
	return stop, nil
}

// countAlarms keeps a healthy version on trial, again after each alarm. Only the
// time on trial counts.
func (b *streamBench) countAlarms(ctx context.Context) (count int, watched time.Duration, err error) {
	s, err := stand.Start(ctx, stand.Config{Bin: b.bin})
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	old, err := steady(ctx, s, shortStall)
	if err != nil {
		return 0, 0, err
	}
	defer old.End()
	for round := 0; watched < b.Idle; round++ {
		reverted, on, err := b.trial(ctx, s, old, "b-"+strconv.Itoa(round), b.Idle-watched)
		if err != nil {
			return count, watched, err
		}
		watched += on
		if reverted {
			count++
		}
	}
	return count, watched, nil
}

// trial watches one trial until it is reverted or time is up.
func (b *streamBench) trial(ctx context.Context, s *stand.Stand, old *stand.App, id string, limit time.Duration) (reverted bool, on time.Duration, err error) {
	app, trial, err := carry(ctx, s, old, nil, stand.AppConfig{ID: id, Version: "2.0", Stall: shortStall})
	if err != nil {
		return false, 0, err
	}
	defer app.End()
	begin := publish.Monotonic()
	for on < limit && !reverted && ctx.Err() == nil {
		pause(ctx, min(limit-on, 100*time.Millisecond))
		on = publish.Monotonic() - begin
		st, err := s.Status(ctx)
		if err != nil {
			return false, on, err
		}
		reverted = st.Trial != trial
	}
	if reverted {
		r, err := s.Reverted(ctx, trial)
		if err != nil || r.Cause != orders.CauseStall {
			return false, on, fmt.Errorf("trial %s ended by %q: %w", trial, r.Cause, err)
		}
	}
	return reverted, on, s.Order(ctx, nil, old.Part)
}
