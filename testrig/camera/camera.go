package camera

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/stream/publish"
)

// Env is what the agent tells an app through its environment.
type Env struct {
	Root         string // SLIPSTREAM_ROOT
	Publish      string // SLIPSTREAM_PUBLISH
	RTSP         string // SLIPSTREAM_PUBLISH_RTSP, for a version that publishes there
	Control      string // SLIPSTREAM_CONTROL
	Greenlight   string // SLIPSTREAM_GREENLIGHT, "" outside of a trial
	NotifySocket string // NOTIFY_SOCKET
}

// Environ reads the process's environment.
func Environ() Env {
	root := os.Getenv("SLIPSTREAM_ROOT")
	if root == "" {
		root = "."
	}
	return Env{
		Root:         root,
		Publish:      os.Getenv("SLIPSTREAM_PUBLISH"),
		RTSP:         os.Getenv("SLIPSTREAM_PUBLISH_RTSP"),
		Control:      os.Getenv("SLIPSTREAM_CONTROL"),
		Greenlight:   os.Getenv("SLIPSTREAM_GREENLIGHT"),
		NotifySocket: os.Getenv("NOTIFY_SOCKET"),
	}
}

// Camera is one run of the application.
type Camera struct {
	env    Env
	config Config
	lines  []*line
	notify notifier
	sensor *sensor // nil: it needs none
	stdout io.Writer
	log    *slog.Logger

	silent atomic.Bool // the fault "stop-sending"
	hoard  [][]byte    // the fault "grow"

	words sync.Mutex // one change at a time is told of, and guards what follows
	part  string     // that the agent has told it to play

	given State // by the version before
	state State // counted by the first line alone

	mu       sync.Mutex // guards what follows
	watchdog time.Duration
	lastPat  time.Duration // CLOCK_MONOTONIC of the last WATCHDOG=1
}

// New reads configuration and clips from the slot's root. stdout takes the one
// line that tells of a fault.
func New(env Env, stdout io.Writer, log *slog.Logger) (*Camera, error) {
	if env.Publish == "" {
		return nil, errNoStream
	}
	config, err := LoadConfig(env.Root)
	if err != nil {
		return nil, err
	}
	c := &Camera{env: env, config: config, stdout: stdout, log: log, watchdog: watchdogPeriod()}
	if c.given, err = inheritState(); err != nil {
		return nil, err
	}
	c.state = c.given
	first := FrameAt(publish.Monotonic())
	for i, s := range config.Streams {
		m, err := s.media(env.Root, first)
		if err != nil {
			return nil, fmt.Errorf("stream %q: %w", s.Name, err)
		}
		c.lines = append(c.lines, &line{
			camera: c, name: s.Name, media: m, counts: i == 0, sent: make(chan struct{}), wishes: make(chan struct{}, 1),
		})
	}
	if c.notify, err = dialNotify(env.NotifySocket); err != nil || config.Sensor == "" {
		return c, err
	}
	c.sensor, err = openSensor(config.Sensor, c.notify, log)
	return c, err
}

// sees says whether there is something to be shown.
func (c *Camera) sees() bool {
	return !c.silent.Load() && (c.sensor == nil || c.sensor.sees())
}

// media reads a stream's clip, or makes its tone.
func (s Stream) media(root string, first uint64) (media, error) {
	if s.Sound != "" {
		return newTone(s.Sound)
	}
	data, err := readFile(filepath.Join(root, s.Clip), maxClip)
	if err != nil {
		return nil, err
	}
	clip, err := ReadClip(data, s.Phase)
	if err != nil {
		return nil, err
	}
	return &film{clip: clip, first: first}, nil
}

// Run publishes until ctx ends.
func (c *Camera) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.listen(ctx) })
	for _, l := range c.lines {
		wg.Go(func() { l.run(ctx) })
	}
	if c.sensor != nil {
		wg.Go(func() { c.sensor.run(ctx) })
	}
	for _, l := range c.lines {
		if c.sensor != nil {
			break // which is another version's until this one is ready
		}
		select {
		case <-l.sent:
		case <-ctx.Done():
			return c.stop(ctx)
		}
	}
	if c.config.Fault.Kind != FaultNeverReady {
		c.say(func() string { return "READY=1\n" })
	}
	wg.Go(func() { c.selfTest(ctx) })
	wg.Go(func() { c.fault(ctx) })
	<-ctx.Done()
	return c.stop(ctx)
}

func (c *Camera) stop(ctx context.Context) error {
	c.tell("STOPPING=1")
	return ctx.Err()
}

func (c *Camera) tell(state string) {
	if err := c.notify.send(state); err != nil {
		c.log.Warn("notify", "state", state, "err", err)
	}
}

// selfTest ends with the greenlight marker, if the configuration lets it pass.
func (c *Camera) selfTest(ctx context.Context) {
	if c.config.Greenlight.By != "app" || c.env.Greenlight == "" {
		return
	}
	sleep(ctx, time.Duration(c.config.Greenlight.AfterMS)*time.Millisecond)
	if ctx.Err() != nil {
		return
	}
	f, err := os.OpenFile(c.env.Greenlight, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		c.log.Error("self-test passed, but the marker could not be made", "err", err)
		return
	}
	f.Close()
	c.log.Info("self-test passed", "marker", c.env.Greenlight)
}

func (c *Camera) fault(ctx context.Context) {
	switch c.config.Fault.Kind {
	case FaultNone, FaultNeverReady:
		return
	}
	sleep(ctx, time.Duration(c.config.Fault.AfterMS)*time.Millisecond)
	if ctx.Err() == nil {
		c.misbehave()
	}
}

// frameOut ties the watchdog to frames: a camera that is alive and sends
// nothing must not look healthy.
func (c *Camera) frameOut(l *line) {
	l.begun()
	now := publish.Monotonic()
	c.mu.Lock()
	due := c.watchdog > 0 && now-c.lastPat >= c.watchdog
	if due {
		c.lastPat = now
	}
	c.mu.Unlock()
	if due {
		c.tell("WATCHDOG=1")
	}
}
