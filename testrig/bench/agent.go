package bench

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/control"
	"slipstream/stream/publish"
	"slipstream/testrig/device"
	"slipstream/testrig/stand"
	"slipstream/verify"
	"slipstream/verify/pack"
)

const (
	agentPatience = 30 * time.Second // for one step of one update
	agentSoak     = 200 * time.Millisecond
	beganFile     = "began" // in the directory that versions share: the app's program runs
)

// AgentConfig says how long the agent is measured.
type AgentConfig struct {
	Bin  string
	Runs int           // updates that become permanent, and as many that are reverted
	Idle time.Duration // over which its CPU is counted
}

// agentBench is a device whose agent is measured, with the real forwarder and the
// sample camera as its app.
type agentBench struct {
	AgentConfig
	*device.Device
	dir     string // of the packages
	key     *ecdsa.PrivateKey
	counter int64
}

// Agent measures what the agent costs while nothing happens, and how long its part of
// updates and reverts takes: beside the same work without an agent, on the same disk.
func Agent(ctx context.Context, config AgentConfig) (figures []Figure, err error) {
	b, err := newAgentBench(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for _, part := range []func(context.Context) ([]Figure, error){b.size, b.idle, b.commits, b.reverts, b.replay} {
		some, err := part(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, b.Logs())
		}
		figures = append(figures, some...)
	}
	return figures, nil
}

func newAgentBench(ctx context.Context, config AgentConfig) (b *agentBench, err error) {
	b = &agentBench{AgentConfig: config}
	if b.dir, err = os.MkdirTemp("", "slipbench"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.key, err = pack.GenerateKey(); err != nil {
		return nil, err
	}
	public, err := pack.PublicPEM(&b.key.PublicKey)
	if err != nil {
		return nil, err
	}
	trust := filepath.Join(b.dir, "trust.pem")
	if err := os.WriteFile(trust, public, 0o644); err != nil {
		return nil, err
	}
	if b.Device, err = device.Start(ctx, device.Config{Name: "bench", Bin: config.Bin, Trust: trust}); err != nil {
		return nil, err
	}
	path, _, err := b.pack(ctx)
	if err != nil {
		return nil, err
	}
	if r := control.Install(ctx, b.Client, control.StageRequest{Path: path}, false); r.Exit != control.ExitDone {
		return nil, fmt.Errorf("install the first version: %s", r.Message)
	}
	_, _, err = b.commit(ctx)
	return b, err
}

func (b *agentBench) close() (err error) {
	if b.Device != nil {
		err = b.Device.Close()
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// pack makes the next version of a camera that says when its program runs, and waits
// for its marker from outside.
func (b *agentBench) pack(ctx context.Context) (path, version string, err error) {
	b.counter++
	version = fmt.Sprintf("1.%d.0", b.counter)
	root := filepath.Join(b.dir, version)
	if _, err := stand.PrepareCamera(root, stand.AppConfig{Version: "1.0"}); err != nil {
		return "", "", err
	}
	program, err := os.ReadFile(filepath.Join(b.Bin, "slipstream-camera"))
	if err != nil {
		return "", "", err
	}
	start := "#!/bin/sh\n# " + version + "\n: >\"$SLIPSTREAM_SHARED/" + beganFile + "\"\nexec \"$SLIPSTREAM_ROOT/camera\"\n"
	err = errors.Join(os.WriteFile(filepath.Join(root, "camera"), program, 0o755), os.WriteFile(filepath.Join(root, "start"), []byte(start), 0o755))
	if err != nil {
		return "", "", err
	}
	path, err = pack.BuildFile(ctx, b.dir, pack.Options{Dir: root, Key: b.key, Manifest: verify.Manifest{
		Product: device.Product, Hardware: []string{device.Hardware}, Version: version, ReleaseCounter: b.counter,
		App: &verify.App{
			Exec: []string{"start"}, Greenlight: verify.GreenlightApp, Overlap: verify.OverlapFull,
			Streams:    []verify.Stream{{Name: stand.Stream, Codec: "h264", Width: 320, Height: 180, StallMS: device.StallMS}},
			DeadlineMS: agentPatience.Milliseconds(), StartTimeoutMS: agentPatience.Milliseconds(), SoakMS: agentSoak.Milliseconds(), StopTimeoutMS: 1000,
		},
	}})
	return path, version, err
}

// update stages a new version and activates it, and returns the trial when its soak is
// over, and how long it took until its program ran.
func (b *agentBench) update(ctx context.Context) (trial control.Trial, began time.Duration, err error) {
	path, _, err := b.pack(ctx)
	if err != nil {
		return trial, 0, err
	}
	if r := b.Client.Stage(ctx, control.StageRequest{Path: path}); r.Exit != control.ExitDone {
		return trial, 0, fmt.Errorf("stage: %s", r.Message)
	}
	shared := filepath.Join(b.Config.State, "shared")
	if err := os.Remove(filepath.Join(shared, beganFile)); err != nil {
		return trial, 0, err
	}
	began, err = until(ctx, shared, unix.IN_CREATE, func() error {
		if r := b.Client.Activate(ctx, control.ActivateRequest{}); r.Exit != control.ExitDone {
			return fmt.Errorf("activate: %s", r.Message)
		}
		return nil
	})
	if err != nil {
		return trial, 0, err
	}
	trial, err = b.soaked(ctx)
	return trial, began, err
}

// soaked waits until nothing but the marker is missing.
func (b *agentBench) soaked(ctx context.Context) (control.Trial, error) {
	s, err := b.WaitStatus(ctx, "the trial", func(s control.Status) bool { return s.Trial != nil && !s.Trial.TookOver.IsZero() })
	if err != nil {
		return control.Trial{}, err
	}
	pause := time.NewTimer(agentSoak + 100*time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
		return *s.Trial, nil
	case <-ctx.Done():
		return control.Trial{}, ctx.Err()
	}
}

// commit greenlights the trial under way, and returns how long it took until the record
// named its version, and until the agent said so.
func (b *agentBench) commit(ctx context.Context) (recorded, permanent time.Duration, err error) {
	trial, err := b.soaked(ctx)
	if err != nil {
		return 0, 0, err
	}
	asked := make(chan error, 1)
	var begun time.Duration
	recorded, err = until(ctx, b.Config.State, unix.IN_MOVED_TO, func() error {
		begun = publish.Monotonic()
		go func() {
			_, err := b.WaitStatus(ctx, "the commit", func(s control.Status) bool { return s.Permanent == trial.Version })
			permanent = publish.Monotonic() - begun
			asked <- err
		}()
		return os.WriteFile(trial.Marker, nil, 0o644)
	})
	if err := errors.Join(err, <-asked); err != nil {
		return 0, 0, err
	}
	_, err = b.WaitStatus(ctx, "the end of the version before", func(s control.Status) bool {
		running := 0
		for _, slot := range s.Slots {
			if slot.PID > 0 {
				running++
			}
		}
		return s.Trial == nil && running == 1
	})
	return recorded, permanent, err
}

// until says how long it takes from do to the first change of a directory or file.
func until(ctx context.Context, path string, mask uint32, do func() error) (time.Duration, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, path, mask); err != nil {
		return 0, fmt.Errorf("watch %s: %w", path, err)
	}
	seen := make(chan wake, 1)
	go func() { seen <- changed(fd) }()
	begun := publish.Monotonic()
	err = do()
	w := <-seen // it gives up by itself
	if err := errors.Join(err, w.err, ctx.Err()); err != nil {
		return 0, fmt.Errorf("wait for a change of %s: %w", path, err)
	}
	return w.at - begun, nil
}

// changed waits for the first event.
func changed(fd int) wake {
	var n int
	err := error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(agentPatience/time.Millisecond))
	}
	if err == nil && n == 0 {
		err = fmt.Errorf("nothing happened within %v", agentPatience)
	}
	return wake{publish.Monotonic(), err}
}
