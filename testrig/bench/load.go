package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
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

	Only string // one of [Parts]; "" for all of them
}

// Parts are the parts of the stream's measurements.
var Parts = []string{"loads", "joins", "kills", "gaps", "alarms"}

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
	if b.clip, err = film(ctx, config.Dir); err != nil {
		return nil, err
	}
	for i, part := range []func(context.Context) ([]Figure, error){b.loads, b.joining, b.deaths, b.gaps, b.alarms} {
		if config.Only != "" && config.Only != Parts[i] {
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

// deaths is [Kill] as a part of the stream's measurements.
func (b *streamBench) deaths(ctx context.Context) ([]Figure, error) {
	b.logf("kills: %d of the smallest app in each way, fewer of larger ones", b.Kills)
	return Kill(ctx, b.bin, b.Kills)
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
	written   float64 // ms: from a frame's stamp until its last packet is written, p50
}

// loads puts every load on every server in turns.
func (b *streamBench) loads(ctx context.Context) (figures []Figure, err error) {
	for _, kind := range []string{viewer.WHEP, viewer.RTSPTCP, viewer.RTSPUDP} {
		for _, n := range b.Viewers {
			l := load{kind, n}
			names := b.servers()
			if kind == viewer.WHEP {
				names = append(names, oursIngest)
			}
			costs := map[string][]cost{}
			for run := range b.Runs {
				for _, name := range names {
					c, err := b.load(ctx, name, l)
					if err != nil {
						err = fmt.Errorf("%s, %s, run %d: %w", name, l, run+1, err)
					}
					if err != nil && name == peer && ctx.Err() == nil {
						b.logf("left out: %v", err) // ours is measured all the same
						continue
					}
					if err != nil {
						return nil, err
					}
					costs[name] = append(costs[name], c)
					b.logf("%-24s %-12s %6.2f µs/packet  %5.1f %% CPU  %4.0f MB  first %.2f/%.2f ms  whole %.2f/%.2f ms, of it %.2f written  %d of %d packets lost",
						name, l, c.perPacket, c.cpu, c.memory, c.FirstP50, c.FirstP99, c.WholeP50, c.WholeP99, c.written, c.Lost, c.Packets)
				}
			}
			figures = append(figures, b.compare(l, costs)...)
		}
	}
	return figures, nil
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
	p, err := b.read(ctx, ReadConfig{Kind: l.kind, URL: s.urls[l.kind], Viewers: l.viewers})
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
	s.pace.take()
	begin := time.Now()
	pause(ctx, b.Window)
	c.written = s.pace.take()
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

// behindWriting is from when the publisher writes a frame's last packet, which takes it
// a while, until viewers have it. It is the difference of two medians.
const behindWriting = "added latency p50, last packet"

// compare makes the figures of one load.
func (b *streamBench) compare(l load, costs map[string][]cost) (figures []Figure) {
	for _, m := range []struct {
		name, unit string
		of         func(cost) float64
	}{
		{"CPU per packet", "µs", func(c cost) float64 { return c.perPacket }},
		{"memory", "MB", func(c cost) float64 { return c.memory }},
		{"added latency p50, first packet", "ms", func(c cost) float64 { return c.FirstP50 }},
		{"added latency p99, first packet", "ms", func(c cost) float64 { return c.FirstP99 }},
		{behindWriting, "ms", func(c cost) float64 { return c.WholeP50 - c.written }},
		{"added latency p50, whole frame", "ms", func(c cost) float64 { return c.WholeP50 }},
		{"added latency p99, whole frame", "ms", func(c cost) float64 { return c.WholeP99 }},
		{"packets lost", "", func(c cost) float64 { return float64(c.Lost) }},
	} {
		var theirs []float64
		for _, c := range costs[peer] {
			theirs = append(theirs, m.of(c))
		}
		for _, name := range []string{ours, oursIngest} {
			var samples []float64
			for _, c := range costs[name] {
				samples = append(samples, m.of(c))
			}
			if len(samples) == 0 {
				continue
			}
			f := Figure{Name: l.String() + ": " + m.name, Value: median(samples), Unit: m.unit, Samples: samples, Target: targetOf(l, m.name)}
			if name == oursIngest {
				f.Name += ", published by RTSP"
			}
			if len(theirs) > 0 {
				f.Reference, f.ReferenceValue, f.ReferenceSamples = peer, median(theirs), theirs
			}
			figures = append(figures, f)
		}
	}
	return figures
}

// targetOf is what design §15 or the research asks of a cell; "" for nothing.
func targetOf(l load, measure string) string {
	switch {
	case l.kind == viewer.WHEP && l.viewers == 100 && measure == "CPU per packet":
		return "≤ 1/4, ≤ 2.7 µs"
	case l.kind != viewer.WHEP && l.viewers == 100 && measure == "CPU per packet":
		return "≤ 1/2.5"
	case l.kind == viewer.WHEP && l.viewers == 100 && measure == "memory":
		return "≤ 1/10, ≤ 45 MB"
	case l.kind == viewer.WHEP && l.viewers == 1 && (measure == "added latency p50, first packet" || measure == behindWriting):
		return "≤ 0.25 ms"
	case l.kind == viewer.WHEP && l.viewers == 100 && (measure == "added latency p50, first packet" || measure == behindWriting):
		return "≤ 3 ms"
	case measure == "packets lost":
		return "0"
	}
	return ""
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
		target := map[bool]string{true: "≤ 60 ms", false: "≤ 20 ms"}[kind == viewer.WHEP]
		if kind == viewer.WHEP {
			figures = append(figures, joined(kind+": session stands → first decodable picture, p50", target, all, after),
				joined(kind+": join → first decodable picture, p50", "", all, whole))
			continue
		}
		figures = append(figures, joined(kind+": join → first decodable picture, p50", target, all, whole))
	}
	return figures, nil
}

func joined(name, target string, all map[string][]reading, of func(reading) []float64) Figure {
	f := Figure{Name: name, Unit: "ms", Target: target}
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
