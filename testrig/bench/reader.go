package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/stand"
	"slipstream/testrig/viewer"
)

const (
	readPatience = 60 * time.Second // for all readers to have a picture
	dialsAtOnce  = 8
	dialPause    = 100 * time.Millisecond
)

// ReadConfig is what a reader process does.
type ReadConfig struct {
	Kind, URL string
	Viewers   int
	// Joins, if not 0, joins and leaves so often instead, one viewer at a time.
	Joins int
}

// reading is what a reader process tells.
type reading struct {
	Packets  int       `json:"packets"`
	Lost     int       `json:"lost"`
	Units    int       `json:"units"`
	FirstP50 float64   `json:"first_p50"`
	FirstP99 float64   `json:"first_p99"`
	WholeP50 float64   `json:"whole_p50"`
	WholeP99 float64   `json:"whole_p99"`
	JoinMS   []float64 `json:"join_ms,omitempty"`    // from the dial to the first whole key frame
	SessMS   []float64 `json:"session_ms,omitempty"` // from the dial until the session stood
}

// Read is the command "slipstream-rig read": viewers in a process of their own, the
// same for every server. It says "ready" when all have a picture, measures from one
// line of input to the next, and answers with what it measured.
func Read(ctx context.Context, config ReadConfig, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	if config.Joins > 0 {
		r, err := joins(ctx, config)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(r)
	}
	meters, leave, err := joinAll(ctx, config)
	if err != nil {
		return err
	}
	defer leave()
	fmt.Fprintln(out, "ready")
	lines.Scan()
	for _, m := range meters {
		m.Take()
	}
	fmt.Fprintln(out, "begun")
	lines.Scan()
	var r reading
	var first, whole []time.Duration
	for _, m := range meters {
		got := m.Take()
		r.Packets += got.Packets
		r.Lost += got.Lost
		first, whole = append(first, got.First...), append(whole, got.Whole...)
	}
	r.Units = len(whole)
	if len(whole) > 0 {
		r.FirstP50, r.FirstP99 = percentile(first, 50), percentile(first, 99)
		r.WholeP50, r.WholeP99 = percentile(whole, 50), percentile(whole, 99)
	}
	return json.NewEncoder(out).Encode(r)
}

func dial(ctx context.Context, config ReadConfig) (*viewer.Viewer, *viewer.Meter, error) {
	m := &viewer.Meter{}
	sink := viewer.Sink(m.Packet)
	var v *viewer.Viewer
	var err error
	switch config.Kind {
	case viewer.RTP:
		v, err = viewer.DialRTP(ctx, config.URL, sink)
	case viewer.WHEP:
		v, err = viewer.DialWHEP(ctx, config.URL, sink)
	default:
		v, err = viewer.DialRTSP(ctx, config.Kind, config.URL, sink)
	}
	return v, m, err
}

// joinAll joins all viewers, a few at a time, and waits for their pictures.
func joinAll(ctx context.Context, config ReadConfig) (meters []*viewer.Meter, leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	var mu sync.Mutex
	var viewers []*viewer.Viewer
	var errs []error
	var wait sync.WaitGroup
	turns := make(chan struct{}, dialsAtOnce)
	for range config.Viewers {
		turns <- struct{}{}
		wait.Go(func() {
			defer func() { <-turns }()
			v, m, err := dial(ctx, config)
			for err != nil && ctx.Err() == nil {
				pause(ctx, dialPause)
				v, m, err = dial(ctx, config)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			viewers, meters = append(viewers, v), append(meters, m)
		})
	}
	wait.Wait()
	leave = func() {
		for _, v := range viewers {
			wait.Go(v.Close)
		}
		wait.Wait()
	}
	for _, m := range meters {
		if err := awaitKey(ctx, m); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		leave()
		return nil, nil, err
	}
	return meters, leave, nil
}

func awaitKey(ctx context.Context, m *viewer.Meter) error {
	return stand.Retry(ctx, func() error {
		if m.KeyAt() == 0 {
			return errors.New("no key frame came")
		}
		return nil
	})
}

// joins joins and leaves, one viewer after the other, each at a random moment of the
// film's group of pictures: a viewer that came right behind the one before would
// always find a key frame just gone by.
func joins(ctx context.Context, config ReadConfig) (r reading, err error) {
	for range config.Joins {
		pause(ctx, rand.N(filmGOP*time.Second/camera.FrameRate))
		begin := publish.Monotonic()
		v, m, err := dial(ctx, config)
		if err != nil {
			return r, err
		}
		stood := publish.Monotonic()
		err = awaitKey(ctx, m)
		v.Close()
		if err != nil {
			return r, err
		}
		r.JoinMS = append(r.JoinMS, viewer.Milliseconds(m.KeyAt()-begin))
		r.SessMS = append(r.SessMS, viewer.Milliseconds(stood-begin))
	}
	return r, nil
}

// readerProcess is a running "slipstream-rig read".
type readerProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err strings.Builder
}

func (b *streamBench) read(ctx context.Context, config ReadConfig) (*readerProcess, error) {
	p := &readerProcess{cmd: exec.CommandContext(ctx, b.rig, "read", "--kind", config.Kind, "--url", config.URL,
		"--viewers", strconv.Itoa(config.Viewers), "--joins", strconv.Itoa(config.Joins))}
	p.cmd.Stderr = &p.err
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// hear waits for a line of the reader.
func (p *readerProcess) hear(want string) error {
	line, err := p.out.ReadString('\n')
	if err == nil && strings.TrimSpace(line) != want {
		err = fmt.Errorf("the reader says %q, not %q", line, want)
	}
	return err
}

func (p *readerProcess) say() error {
	_, err := io.WriteString(p.in, "\n")
	return err
}

// result waits for what was measured and for the reader's end.
func (p *readerProcess) result() (r reading, err error) {
	err = json.NewDecoder(p.out).Decode(&r)
	return r, errors.Join(err, p.end())
}

func (p *readerProcess) end() error {
	p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("reader: %w: %s", err, p.err.String())
	}
	return nil
}
