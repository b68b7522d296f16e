package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"slipstream/testrig/camera"
	"slipstream/testrig/viewer"
)

// StreamConfig says how long the stream's measurements take.
type StreamConfig struct {
	Bin  string // the product's binaries
	Dir  string // where the film is kept
	Peer string // a MediaMTX binary; "" for none
	Log  io.Writer

	Runs    int           // of every server, in turns
	Viewers []int         // how many at once
	Window  time.Duration // of one measurement
	Joins   int           // in one run
	Kills   int           // of the smallest app
	Gaps    int           // kills and hangs beside a control
	Idle    time.Duration // to count false alarms in, and again under load

	Only []string // of [Parts]; none: all of them
}

// Parts are the parts of the stream's measurements, in their order.
var Parts = []string{"loads", "joins", Kills, Gaps, "alarms"}

// Parts that measure a revert.
const (
	Kills = "kills"
	Gaps  = "gaps"
)

// EnoughRuns is how many runs make a measurement that is worth publishing.
const EnoughRuns = 5

// FullStream is a measurement of so many runs.
func FullStream(runs int) StreamConfig {
	return StreamConfig{
		Runs: runs, Viewers: []int{1, 10, 100}, Window: 5 * time.Second, Joins: 8,
		Kills: 20 * runs, Gaps: 5 * runs, Idle: time.Duration(runs) * 24 * time.Second,
	}
}

// QuickStream only shows that everything can be measured.
func QuickStream() StreamConfig {
	return StreamConfig{
		Runs: 1, Viewers: []int{1, 3}, Window: 500 * time.Millisecond, Joins: 1, Kills: 1, Gaps: 1, Idle: time.Second,
	}
}

// settleTime lets a server come to rest after its viewers have joined.
const settleTime = time.Second

type streamBench struct {
	StreamConfig
	bin, rig, peer string
	clip           *camera.Clip
}

// Stream measures what the forwarder and the gateway cost and how soon viewers see
// what, beside MediaMTX, a control or the machine's own floor in the same run.
func Stream(ctx context.Context, config StreamConfig) (figures []Figure, err error) {
	b := &streamBench{StreamConfig: config, bin: config.Bin, rig: filepath.Join(config.Bin, "slipstream-rig"), peer: config.Peer}
	for i, part := range []func(context.Context) ([]Figure, error){b.loads, b.joining, b.deaths, b.gaps, b.alarms} {
		if len(config.Only) > 0 && !slices.Contains(config.Only, Parts[i]) {
			continue
		}
		some, err := part(ctx)
		if err != nil {
			return figures, err
		}
		figures = append(figures, some...)
	}
	return figures, nil
}

func (b *streamBench) logf(format string, args ...any) {
	fmt.Fprintf(b.Log, format+"\n", args...)
}

// servers are those that every load is put on, in turns.
func (b *streamBench) servers() []string {
	if b.peer == "" {
		return []string{ours}
	}
	return []string{ours, peer}
}

// load is one cell of the table.
type load struct {
	kind    string
	viewers int
}

func (l load) String() string { return fmt.Sprintf("%d %s", l.viewers, l.kind) }

// cost is what one run of a load has shown.
type cost struct {
	reading
	perPacket float64 // µs of CPU
	cpu       float64 // % of one processor
	memory    float64 // MB
}

// loads puts every load on every server in turns.
func (b *streamBench) loads(ctx context.Context) (figures []Figure, err error) {
	for _, kind := range []string{viewer.WHEP, viewer.RTSPTCP, viewer.RTSPUDP} {
		for _, n := range b.Viewers {
			l := load{kind, n}
			costs := map[string][]*cost{}
			for run := range b.Runs {
				for _, name := range b.loaded(l) {
					c, err := b.tryLoad(ctx, name, l, run)
					if err != nil {
						return nil, err
					}
					costs[name] = append(costs[name], c)
				}
			}
			figures = append(figures, compare(l, costs)...)
		}
	}
	return figures, nil
}

// loaded are the servers that a load is put on, in this order, and the floor before them.
func (b *streamBench) loaded(l load) []string {
	names := append([]string{floor}, b.servers()...)
	if l.kind == viewer.WHEP {
		names = append(names, oursIngest)
	}
	return names
}

// tryLoad is load for the table. A peer that fails is left out: nil.
func (b *streamBench) tryLoad(ctx context.Context, name string, l load, run int) (*cost, error) {
	c, err := b.load(ctx, name, l)
	if err != nil {
		err = fmt.Errorf("%s, %s, run %d: %w", name, l, run+1, err)
	}
	if err != nil && name == peer && ctx.Err() == nil {
		b.logf("left out: %v", err) // ours is measured all the same
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b.logf("%-24s %-12s %6.2f µs/packet  %5.1f %% CPU  %4.0f MB  first %.2f/%.2f ms  whole %.2f/%.2f ms  %d of %d packets lost",
		name, l, c.perPacket, c.cpu, c.memory, c.FirstP50, c.FirstP99, c.WholeP50, c.WholeP99, c.Lost, c.Packets)
	return &c, nil
}

// load puts one load on one server and takes it off again.
func (b *streamBench) load(ctx context.Context, name string, l load) (c cost, err error) {
	s, err := b.serve(ctx, name)
	if err != nil {
		return c, err
	}
	defer s.stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // and with it a reader that is left
	kind := l.kind
	if name == floor {
		kind = viewer.RTP
	}
	p, err := b.read(ctx, ReadConfig{Kind: kind, URL: s.urls[kind], Viewers: l.viewers})
	if err != nil {
		return c, err
	}
	if err := p.hear("ready"); err != nil {
		return c, errors.Join(err, p.end())
	}
	pause(ctx, settleTime)
	if err := errors.Join(p.say(), p.hear("begun")); err != nil {
		return c, err
	}
	before, err := cpuTime(s.pids)
	if err != nil {
		return c, err
	}
	begin := time.Now()
	pause(ctx, b.Window)
	after, err := cpuTime(s.pids)
	if err != nil {
		return c, err
	}
	wall := time.Since(begin)
	if c.memory, err = residentMB(s.pids); err != nil {
		return c, err
	}
	if err := p.say(); err != nil {
		return c, err
	}
	if c.reading, err = p.result(); err != nil {
		return c, err
	}
	if c.Packets == 0 || c.Units == 0 {
		return c, errors.New("no packet came")
	}
	c.perPacket = float64((after - before).Microseconds()) / float64(c.Packets)
	c.cpu = 100 * float64(after-before) / float64(wall)
	return c, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// joining measures how soon a viewer that joins at any moment has a picture.
func (b *streamBench) joining(ctx context.Context) (figures []Figure, err error) {
	for _, kind := range []string{viewer.WHEP, viewer.RTSPTCP, viewer.RTSPUDP} {
		all := map[string][]reading{}
		for run := range b.Runs {
			for _, name := range b.servers() {
				r, err := b.join(ctx, name, kind)
				if err != nil {
					return nil, fmt.Errorf("join %s by %s, run %d: %w", name, kind, run+1, err)
				}
				all[name] = append(all[name], r)
				b.logf("%-24s %-12s join → first picture %.0f ms, of it %.0f ms until the session stood", name, kind, median(r.JoinMS), median(r.SessMS))
			}
		}
		whole := func(r reading) []float64 { return r.JoinMS }
		after := func(r reading) (rest []float64) {
			for i, ms := range r.JoinMS {
				rest = append(rest, max(0, ms-r.SessMS[i]))
			}
			return rest
		}
		if kind == viewer.WHEP {
			figures = append(figures, joined(kind+": session stands → first decodable picture, p50", all, after, atMost(60)),
				joined(kind+": join → first decodable picture, p50", all, whole))
			continue
		}
		figures = append(figures, joined(kind+": join → first decodable picture, p50", all, whole, atMost(20)))
	}
	return figures, nil
}

func joined(name string, all map[string][]reading, of func(reading) []float64, targets ...Target) Figure {
	f := Figure{Name: name, Unit: "ms", Targets: targets}
	for _, r := range all[ours] {
		f.Samples = append(f.Samples, of(r)...)
	}
	f.Value = median(f.Samples)
	if len(all[peer]) > 0 {
		f.Reference = peer
		for _, r := range all[peer] {
			f.ReferenceSamples = append(f.ReferenceSamples, of(r)...)
		}
		f.ReferenceValue = median(f.ReferenceSamples)
	}
	return f
}

func (b *streamBench) join(ctx context.Context, name, kind string) (reading, error) {
	s, err := b.serve(ctx, name)
	if err != nil {
		return reading{}, err
	}
	defer s.stop()
	// The first viewer of all waits until the server has the stream.
	first, err := b.read(ctx, ReadConfig{Kind: kind, URL: s.urls[kind], Viewers: 1})
	if err != nil {
		return reading{}, err
	}
	err = first.hear("ready")
	_, _ = first.in.Write([]byte("\n\n")) // nothing is measured
	if err != nil {
		return reading{}, errors.Join(err, first.end())
	}
	_, _ = first.out.ReadString('\n')
	if _, err := first.result(); err != nil {
		return reading{}, err
	}
	p, err := b.read(ctx, ReadConfig{Kind: kind, URL: s.urls[kind], Joins: b.Joins})
	if err != nil {
		return reading{}, err
	}
	return p.result()
}
