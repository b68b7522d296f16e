package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
)

// cameraMB is about the memory that the sample camera needs by itself.
const cameraMB = 10

// app is one run of the sample camera.
type app struct {
	source orders.Source
	root   string
	socket string
	cmd    *exec.Cmd
	pidfd  int
	grow   int // megabytes that it fills
}

// camera prepares a version of the sample camera that fills so much memory.
func (k *killBench) camera(version, id string, megabytes int) (*app, error) {
	clip, err := clips.Of(version)
	if err != nil {
		return nil, err
	}
	fault := camera.Fault{Kind: camera.FaultNone}
	if megabytes > cameraMB {
		fault = camera.Fault{Kind: camera.FaultGrow, Megabytes: megabytes - cameraMB}
	}
	root := filepath.Join(k.dir, id)
	config, err := json.Marshal(camera.Config{
		Version: version, Streams: []camera.Stream{{Name: "main", Clip: clip.File, Phase: clip.Phase}},
		Greenlight: camera.Greenlight{By: "never"}, Fault: fault,
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(root, 0o755),
		os.WriteFile(filepath.Join(root, camera.ConfigName), config, 0o644),
		os.WriteFile(filepath.Join(root, clip.File), clip.Data(), 0o644)); err != nil {
		return nil, err
	}
	return &app{
		root: root, socket: filepath.Join(k.dir, "run", "pub", id+".sock"), pidfd: -1, grow: fault.Megabytes,
		source: orders.Source{
			ID: orders.SourceID(id), Version: version, UID: -1,
			Streams: []orders.Stream{{Name: "main", Codec: "h264", StallMS: 1000}},
		},
	}, nil
}

func (a *app) start(k *killBench) error {
	env := []string{"SLIPSTREAM_ROOT=" + a.root, "SLIPSTREAM_PUBLISH=" + a.socket}
	cmd, err := k.start("slipstream-camera", env)
	if err != nil {
		return err
	}
	a.cmd = cmd
	a.pidfd, err = unix.PidfdOpen(cmd.Process.Pid, 0)
	return err
}

// grown says whether the app's memory is filled.
func (a *app) grown() error {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", a.cmd.Process.Pid))
	if err != nil {
		return err
	}
	var size, resident int
	if _, err := fmt.Sscan(string(raw), &size, &resident); err != nil {
		return err
	}
	if mb := resident * os.Getpagesize() >> 20; mb < a.grow {
		return fmt.Errorf("the app has %d MB of %d", mb, a.grow)
	}
	return nil
}

// wake is when a wait for an app's death was over.
type wake struct {
	at  time.Duration
	err error
}

// death waits for the app's end by its pidfd.
func (a *app) death() <-chan wake {
	woken := make(chan wake, 1)
	go func() {
		err := error(unix.EINTR)
		for errors.Is(err, unix.EINTR) { // the end of another child interrupts it
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(a.pidfd), Events: unix.POLLIN}}, int(killPatience/time.Millisecond))
		}
		woken <- wake{publish.Monotonic(), err}
	}()
	return woken
}
