package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"slipstream/stream/publish"
	"slipstream/testrig/relay"
	"slipstream/testrig/stand"
	"slipstream/testrig/viewer"
)

const (
	sceneRate  = 100 // frames a second
	sceneGOP   = 10
	sceneBytes = 2500 // of a slice
	stallLimit = 200 * time.Millisecond

	// patience bounds each wait of a sequence.
	patience = 20 * time.Second

	// longestGap is what viewers may go without a frame, beyond twice what this
	// process itself was kept from running lately: the stall limit, four times if
	// both versions seem silent, a key frame, and what other processes had to wait.
	longestGap = 3 * time.Second
)

// World is a stand with a permanent version and viewers of every kind.
type World struct {
	*stand.Stand
	seed     uint64
	old      stand.Part
	lateness *lateness
	playing  chan error // how the permanent version's publisher ended
	stop     context.CancelFunc

	whep    *relay.UDP
	rtsp    *relay.RTSP
	viewers []*viewer.Viewer
	begin   time.Duration // since when the viewers watch

	sequences int
	did       []string // in this sequence
	crashes   int      // of the forwarder, in all
	borne     int      // of them, since the viewers watch
}

// skipped is how many indices a forwarder leaves out where it cannot know after a
// crash which of them were used: these are lost, and none is used twice.
const skipped = 64

// NewWorld starts a stand and lets viewers join.
func NewWorld(ctx context.Context, bin string, seed uint64) (_ *World, err error) {
	w := &World{seed: seed, old: stand.NewPart("a-1", "1.0", stallLimit), lateness: newLateness(), playing: make(chan error, 1)}
	if w.Stand, err = stand.Start(ctx, stand.Config{Bin: bin}); err != nil {
		w.lateness.close()
		return nil, err
	}
	ctx, w.stop = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if err := w.Order(ctx, nil, w.old); err != nil {
		w.playing <- nil
		return nil, err
	}
	go func() { w.playing <- scene("1.0", 0).Play(ctx, w.Publish(w.old.Source.ID)) }()
	if w.whep, err = relay.NewUDP(w.UDPAddress(), seed); err != nil {
		return nil, err
	}
	if w.rtsp, err = relay.NewRTSP(w.RTSPAddress(), seed); err != nil {
		return nil, err
	}
	return w, w.Join(ctx)
}

func scene(version string, phase uint64) stand.Scene {
	return stand.Scene{Version: version, Rate: sceneRate, GOP: sceneGOP, Phase: phase, Bytes: sceneBytes}
}

// Join lets viewers of every kind watch from now on, instead of those before.
func (w *World) Join(ctx context.Context) error {
	w.leave()
	for _, dial := range []func() (*viewer.Viewer, error){
		func() (*viewer.Viewer, error) { return viewer.DialWHEP(ctx, w.WHEP(), viewer.Answer(w.whep.Answer)) },
		func() (*viewer.Viewer, error) { return viewer.DialRTSP(ctx, viewer.RTSPTCP, w.RTSP()) },
		func() (*viewer.Viewer, error) {
			return viewer.DialRTSP(ctx, viewer.RTSPUDP, "rtsp://"+w.rtsp.Addr()+"/"+stand.Stream)
		},
	} {
		if err := stand.Retry(ctx, func() error {
			v, err := dial()
			if err == nil {
				w.viewers = append(w.viewers, v)
			}
			return err
		}); err != nil {
			return err
		}
	}
	w.begin, w.borne = publish.Monotonic(), 0
	return w.see(ctx, w.begin)
}

func (w *World) leave() {
	for _, v := range w.viewers {
		v.Close()
	}
	w.viewers = nil
}

// see waits until every viewer has got a frame of the permanent version that began
// after an instant.
func (w *World) see(ctx context.Context, after time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, v := range w.viewers {
		if _, err := v.WaitVersion(ctx, w.old.Source.Version, after); err != nil {
			return fmt.Errorf("%s, alive %t %s: %w", v.Kind, v.Alive(), v.Ended(), err)
		}
	}
	return nil
}

// Sequence tries one sequence of faults and judges what became of the viewers.
func (w *World) Sequence(ctx context.Context, number uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	w.sequences++
	w.did = nil
	begin := publish.Monotonic()
	w.lateness.reset()
	s := &sequence{World: w, Rand: rand.New(rand.NewPCG(w.seed, number)), id: strconv.FormatUint(number, 10) + "-" + strconv.Itoa(w.sequences)}
	err := s.run(ctx)
	if err == nil {
		err = w.judge(ctx, begin)
	}
	if err != nil {
		return fmt.Errorf("seed %d, sequence %d (%s): %w\n%s", w.seed, number, strings.Join(w.did, ", "), err, w.Logs())
	}
	return nil
}

// judge says what is wrong after a sequence.
func (w *World) judge(ctx context.Context, begin time.Duration) error {
	select {
	case err := <-w.playing:
		w.playing <- nil
		return fmt.Errorf("the permanent version was disconnected: %w", err)
	default:
	}
	status, err := w.Status(ctx)
	if err == nil && status.Phase != "steady" {
		err = fmt.Errorf("the forwarder is %s", status.Phase)
	}
	if err == nil {
		err = w.see(ctx, publish.Monotonic())
	}
	if err != nil {
		return err
	}
	end := publish.Monotonic()
	var problems []error
	allowed := longestGap + 2*w.lateness.worst()
	for _, v := range w.viewers {
		r := v.Version(w.old.Source.Version, w.begin, end)
		if r.Backward > 0 || r.Broken > w.borne || r.Faults > w.borne || !v.Alive() {
			problems = append(problems, fmt.Errorf("%s: alive %t %s, %+v", v.Kind, v.Alive(), v.Ended(), r))
		}
		if gap := v.Report(begin, end).LongestGapMS; gap > viewer.Milliseconds(allowed) {
			problems = append(problems, fmt.Errorf("%s: %.0f ms without a frame, %v allowed", v.Kind, gap, allowed))
		}
	}
	for name, said := range map[string]relay.Testimony{viewer.WHEP: w.whep.Witness.Say(), viewer.RTSPUDP: w.rtsp.Witness.Say()} {
		if said.Reused > 0 || said.Missing > skipped*w.crashes*len(w.viewers) {
			problems = append(problems, fmt.Errorf("%s: what the forwarder sent: %+v; it has crashed %d times", name, said, w.crashes))
		}
	}
	return errors.Join(problems...)
}

// Say is what the witnesses saw, and how often the forwarder has crashed.
func (w *World) Say() (whep, rtsp relay.Testimony, crashes int) {
	return w.whep.Witness.Say(), w.rtsp.Witness.Say(), w.crashes
}

// Close ends everything.
func (w *World) Close() error {
	w.leave()
	w.stop()
	played := <-w.playing
	if errors.Is(played, context.Canceled) {
		played = nil // it was told to
	}
	if w.whep != nil {
		w.whep.Close()
	}
	if w.rtsp != nil {
		w.rtsp.Close()
	}
	w.lateness.close()
	return errors.Join(played, w.Stand.Close())
}

// lateness is how long this process was kept from running: a share of every gap that
// its viewers see is its own.
type lateness struct {
	mu   sync.Mutex       // guards max
	max  [2]time.Duration // in this sequence and in the one before
	quit chan struct{}
	done chan struct{}
}

const latenessTick = 5 * time.Millisecond

func newLateness() *lateness {
	l := &lateness{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		tick := time.NewTicker(latenessTick)
		defer tick.Stop()
		for last := publish.Monotonic(); ; {
			select {
			case <-l.quit:
				return
			case <-tick.C:
			}
			now := publish.Monotonic()
			l.mu.Lock()
			l.max[0] = max(l.max[0], now-last-latenessTick)
			l.mu.Unlock()
			last = now
		}
	}()
	return l
}

func (l *lateness) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.max = [2]time.Duration{0, l.max[0]}
}

func (l *lateness) worst() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.max[0], l.max[1])
}

func (l *lateness) close() { close(l.quit); <-l.done }
