package stand

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
)

// CameraMB is about the memory that the sample camera needs by itself.
const CameraMB = 10

// App is a run of the sample camera as a process.
type App struct {
	Part
	*Process
	root string
	grow int // megabytes that it fills
	once sync.Once
}

// AppConfig says what an app shows and how large it is.
type AppConfig struct {
	ID      string
	Version string // one of package clips
	Stall   time.Duration
	// Megabytes is about the memory of the process; less than CameraMB is that.
	Megabytes int
}

// Prepare makes the files of an app, which its source's orders come before.
func (s *Stand) Prepare(config AppConfig) (*App, error) {
	root := filepath.Join(s.Dir, config.ID)
	grow, err := PrepareCamera(root, config)
	if err != nil {
		return nil, fmt.Errorf("prepare app %s: %w", config.ID, err)
	}
	return &App{Part: NewPart(config.ID, config.Version, config.Stall), root: root, grow: grow}, nil
}

// PrepareCamera makes the sample camera's files in root, and returns how many
// megabytes it will fill.
func PrepareCamera(root string, config AppConfig) (grow int, err error) {
	clip, err := clips.Of(config.Version)
	if err != nil {
		return 0, err
	}
	fault := camera.Fault{Kind: camera.FaultNone}
	if config.Megabytes > CameraMB {
		fault = camera.Fault{Kind: camera.FaultGrow, Megabytes: config.Megabytes - CameraMB}
	}
	body, err := json.Marshal(camera.Config{
		Version: config.Version, Streams: []camera.Stream{{Name: Stream, Clip: clip.File, Phase: clip.Phase}},
		Greenlight: camera.Greenlight{By: "never"}, Fault: fault,
	})
	if err != nil {
		return 0, err
	}
	return fault.Megabytes, errors.Join(os.MkdirAll(root, 0o755),
		os.WriteFile(filepath.Join(root, camera.ConfigName), body, 0o644),
		os.WriteFile(filepath.Join(root, clip.File), clip.Data(), 0o644))
}

// Launch starts the app's process.
func (s *Stand) Launch(a *App) (err error) {
	env := []string{"SLIPSTREAM_ROOT=" + a.root, "SLIPSTREAM_PUBLISH=" + s.Publish(a.Source.ID)}
	if a.Process, err = s.run("slipstream-camera", env); err != nil {
		return err
	}
	a.Pidfd, err = unix.PidfdOpen(a.PID, 0)
	return err
}

// Grown waits until the app has filled its memory.
func (a *App) Grown(ctx context.Context) error { return Grown(ctx, a.PID, a.grow) }

// Grown waits until a process has so much memory.
func Grown(ctx context.Context, pid, megabytes int) error {
	return Retry(ctx, func() error {
		mb, err := ResidentMB(pid)
		if err == nil && mb < megabytes {
			err = fmt.Errorf("process %d has %d MB of %d", pid, mb, megabytes)
		}
		return err
	})
}

// End kills the app, if it lives, and removes its files. It may be called again.
func (a *App) End() {
	a.once.Do(func() {
		if a.Process != nil {
			a.Kill()
			unix.Close(a.Pidfd)
		}
		os.RemoveAll(a.root)
	})
}

// ResidentMB is how much memory a process has in MB.
func ResidentMB(pid int) (int, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var size, resident int
	if _, err := fmt.Sscan(string(raw), &size, &resident); err != nil {
		return 0, err
	}
	return resident * os.Getpagesize() >> 20, nil
}
