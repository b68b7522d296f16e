package live

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"slipstream/stream/orders"
	"slipstream/stream/whep"
)

const (
	source      = "relay"  // that publishes all streams of the relay
	soundSuffix = "-sound" // of a picture's name, and the sound's

	statusEvery = time.Second
	dialEvery   = 50 * time.Millisecond
	// Pauses before a process that has ended is started again.
	minPause, maxPause = 200 * time.Millisecond, 5 * time.Second
	endTime            = 3 * time.Second
)

// relay is the forwarder and the gateway by which browsers watch what legs bring.
type relay struct {
	cfg    Config
	run    string
	http   string // of the gateway
	secret string
	client *whep.Client
	owned  sync.WaitGroup

	mu      sync.Mutex                // guards what follows
	streams map[*line][]orders.Stream // by whose they are
	viewers map[string]int            // of each stream
	changed chan struct{}             // closed when streams are others
}

func newRelay(cfg Config) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("an address for the relay: %w", err)
	}
	defer l.Close()                             // the gateway takes it
	run, err := os.MkdirTemp("", "slip-relay-") // sockets need short paths
	if err != nil {
		return nil, fmt.Errorf("the relay's directory: %w", err)
	}
	r := &relay{
		cfg: cfg, run: run, http: l.Addr().String(), secret: rand.Text(),
		streams: map[*line][]orders.Stream{}, viewers: map[string]int{}, changed: make(chan struct{}),
	}
	r.client = whep.New(r.http, r.secret)
	return r, nil
}

// start runs the relay until ctx ends.
func (r *relay) start(ctx context.Context) {
	args := []string{"--run", r.run, "--http", r.http, "--udp", r.cfg.Media, "--max-viewers", strconv.Itoa(maxViewers)}
	for _, addr := range r.cfg.Advertise {
		args = append(args, "--advertise", addr.String())
	}
	r.owned.Go(func() { r.keep(ctx, "slipstream-forward", nil, "--run", r.run) })
	r.owned.Go(func() { r.keep(ctx, "slipstream-gateway", []string{"SLIPSTREAM_GATEWAY_SECRET=" + r.secret}, args...) })
	r.owned.Go(func() { r.talk(ctx) })
}

// close is for when start's context has ended.
func (r *relay) close() {
	r.owned.Wait()
	if err := os.RemoveAll(r.run); err != nil {
		r.cfg.Log.Warn("the relay's directory is left behind", "cause", err)
	}
}

// keep runs a program, again and again. It dies with the panel: its thread is its parent.
func (r *relay) keep(ctx context.Context, name string, env []string, args ...string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pause := minPause
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, filepath.Join(r.cfg.Bin, name), args...)
		cmd.Env = append(os.Environ(), env...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = endTime
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		begun := time.Now()
		err := cmd.Run()
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > maxPause {
			pause = minPause
		}
		r.cfg.Log.Error("a part of the relay has ended and is started again", "program", name, "cause", err, "in", pause)
		rest(ctx, pause)
		pause = min(2*pause, maxPause)
	}
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// offer asks the gateway for a session. One that is just being started is waited for.
func (r *relay) offer(ctx context.Context, stream string, offer []byte) (answer []byte, session, tag string, err error) {
	for {
		answer, session, tag, err = r.client.WHEP(ctx, stream, offer)
		if !errors.Is(err, syscall.ECONNREFUSED) || ctx.Err() != nil {
			return answer, session, tag, err
		}
		rest(ctx, dialEvery)
	}
}

// declare says which streams are somebody's from now on.
func (r *relay) declare(whose *line, streams []orders.Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(streams) == 0 {
		delete(r.streams, whose)
	} else {
		r.streams[whose] = streams
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// watched is how many watch a stream.
func (r *relay) watched(stream string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.viewers[stream]
}

// all is how many watch, whatever it is.
func (r *relay) all() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, viewers := range r.viewers {
		n += viewers
	}
	return n
}

// orders are what the forwarder is to know, and closed when that is something else.
func (r *relay) orders() (*orders.Orders, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := orders.Source{ID: source, Version: source, UID: os.Geteuid()}
	for _, streams := range r.streams {
		s.Streams = append(s.Streams, streams...)
	}
	if len(s.Streams) == 0 {
		return &orders.Orders{}, r.changed
	}
	return &orders.Orders{Sources: []orders.Source{s}, Permanent: source}, r.changed
}

// talk tells the forwarder what there is, and asks it who watches.
func (r *relay) talk(ctx context.Context) {
	for ctx.Err() == nil {
		if conn, err := orders.Dial(filepath.Join(r.run, "orders.sock")); err == nil {
			r.converse(ctx, conn)
		}
		rest(ctx, dialEvery)
	}
}

func (r *relay) converse(ctx context.Context, conn *orders.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var reading sync.WaitGroup
	defer reading.Wait()
	defer conn.Close()
	defer cancel()
	reading.Go(func() {
		defer cancel()
		for {
			m, err := conn.Receive()
			if err != nil {
				return
			}
			r.heard(m)
		}
	})
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	number := uint64(0)
	ask := func(q orders.Request) error {
		number++
		q.Req = number
		return conn.Send(q)
	}
	for {
		now, changed := r.orders()
		err := ask(orders.Request{Orders: now})
		for again := false; err == nil && !again; {
			select {
			case <-changed:
				again = true
			case <-tick.C:
				err = ask(orders.Request{Status: true})
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			r.cfg.Log.Warn("the relay's forwarder does not read", "cause", err)
			return
		}
	}
}

func (r *relay) heard(m orders.Message) {
	switch {
	case m.Result == orders.ResultError:
		r.cfg.Log.Error("the relay's forwarder refuses its orders", "cause", m.Error)
	case m.Status != nil:
		viewers := map[string]int{}
		for _, s := range m.Status.Streams {
			if !strings.HasSuffix(s.Name, soundSuffix) {
				viewers[s.Name] = s.Viewers
			}
		}
		r.mu.Lock()
		r.viewers = viewers
		r.mu.Unlock()
	}
}
