package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
	"slipstream/testrig/viewer"
)

// killPatience bounds one step of one kill.
const killPatience = 20 * time.Second

// Kill kills the version on trial so many times with SIGKILL, at random moments,
// and measures when the first packet of the old version reaches viewers of WHEP
// and of RTSP. Between the kills it measures how long the machine itself takes
// to wake a process that waits for another's death (pidfd): no revert can be
// faster. bin holds the product's binaries.
func Kill(ctx context.Context, bin string, kills int) ([]Figure, error) {
	k, err := newKillBench(ctx, bin)
	if err != nil {
		return nil, err
	}
	defer k.close()
	for i := range kills {
		if err := k.once(ctx, i); err != nil {
			return nil, fmt.Errorf("kill %d: %w", i+1, err)
		}
	}
	var figures []Figure
	for _, p := range []float64{50, 99} {
		floor := percentile(k.floor, p)
		for _, v := range k.viewers {
			figures = append(figures, Figure{
				Name:  fmt.Sprintf("kill → first packet of the old version, %s, p%.0f", v.Kind, p),
				Value: percentile(k.first[v.Kind], p), Unit: "ms",
				Reference: fmt.Sprintf("kill → pidfd wake-up, p%.0f", p), ReferenceValue: floor,
			})
		}
	}
	lost := 0
	for _, v := range k.viewers {
		r := v.Report(k.begin, publish.Monotonic())
		lost += r.FramesLost + r.SeqBreaks + r.TimestampBreaks
		if !v.Alive() {
			lost++
		}
	}
	return append(figures, Figure{
		Name:  fmt.Sprintf("frames lost, breaks and sessions ended over %d kills", kills),
		Value: float64(lost), Unit: "", Reference: "target", ReferenceValue: 0,
	}), nil
}

type killBench struct {
	bin, dir string
	procs    []*exec.Cmd
	orders   *orders.Conn
	old      orders.Source
	viewers  []*viewer.Viewer
	begin    time.Duration
	first    map[string][]time.Duration
	floor    []time.Duration
}

func newKillBench(ctx context.Context, bin string) (_ *killBench, err error) {
	dir, err := os.MkdirTemp("", "slipkill")
	if err != nil {
		return nil, err
	}
	k := &killBench{bin: bin, dir: dir, first: map[string][]time.Duration{}}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	var ports [3]string
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	run := filepath.Join(dir, "run")
	if _, err := k.start("slipstream-forward", nil, "--run", run); err != nil {
		return nil, err
	}
	if err := retry(ctx, func() (err error) {
		k.orders, err = orders.Dial(filepath.Join(run, "orders.sock"))
		return err
	}); err != nil {
		return nil, err
	}
	if _, err := k.start("slipstream-gateway", nil, "--run", run, "--http", ports[0], "--rtsp", ports[1], "--udp", ports[2]); err != nil {
		return nil, err
	}
	app, err := k.camera("1.0", "a-1")
	if err != nil {
		return nil, err
	}
	k.old = app.source
	if err := k.order(nil, app); err != nil {
		return nil, err
	}
	if err := app.start(k); err != nil {
		return nil, err
	}
	return k, k.watch(ctx, ports)
}

// watch joins one viewer of each kind and waits until they see the old version.
func (k *killBench) watch(ctx context.Context, ports [3]string) error {
	for _, dial := range []func() (*viewer.Viewer, error){
		func() (*viewer.Viewer, error) { return viewer.DialWHEP(ctx, "http://"+ports[0]+"/whep/main") },
		func() (*viewer.Viewer, error) {
			return viewer.DialRTSP(ctx, viewer.RTSPTCP, "rtsp://"+ports[1]+"/main")
		},
	} {
		if err := retry(ctx, func() error {
			v, err := dial()
			if err == nil {
				k.viewers = append(k.viewers, v)
			}
			return err
		}); err != nil {
			return err
		}
	}
	for _, v := range k.viewers {
		if _, err := v.WaitVersion(ctx, "1.0", 0); err != nil {
			return err
		}
	}
	k.begin = publish.Monotonic()
	return nil
}

// app is one run of the sample camera.
type app struct {
	source orders.Source
	root   string
	socket string
	cmd    *exec.Cmd
	pidfd  int
}

func (k *killBench) camera(version, id string) (*app, error) {
	clip, err := clips.Of(version)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(k.dir, id)
	config, err := json.Marshal(camera.Config{
		Version: version, Streams: []camera.Stream{{Name: "main", Clip: clip.File, Phase: clip.Phase}},
		Greenlight: camera.Greenlight{By: "never"}, Fault: camera.Fault{Kind: camera.FaultNone},
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
		root: root, socket: filepath.Join(k.dir, "run", "pub", id+".sock"), pidfd: -1,
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

// order sends orders for the old version and, if given, one on trial.
func (k *killBench) order(trial *orders.Trial, apps ...*app) error {
	o := orders.Orders{Permanent: k.old.ID, Trial: trial}
	var fds []int
	for _, a := range apps {
		s := a.source
		if a.pidfd >= 0 {
			fds = append(fds, a.pidfd)
			s.Pidfd = len(fds)
		}
		o.Sources = append(o.Sources, s)
	}
	if err := k.orders.Send(orders.Request{Req: 1, Orders: &o}, fds...); err != nil {
		return err
	}
	_, err := k.await("answer to orders", func(m orders.Message) bool { return m.Req == 1 })
	return err
}

func (k *killBench) await(what string, match func(orders.Message) bool) (orders.Message, error) {
	for {
		m, err := k.orders.Receive()
		switch {
		case err != nil:
			return m, fmt.Errorf("no %s: %w", what, err)
		case m.Result == orders.ResultError:
			return m, errors.New(m.Error)
		case match(m):
			return m, nil
		}
	}
}

// once starts a version on trial, kills it, and notes when viewers see the old
// one again.
func (k *killBench) once(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, killPatience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { k.orders.Close() })
	defer stop()
	b, err := k.camera("2.0", "b-"+strconv.Itoa(i))
	if err != nil {
		return err
	}
	old := &app{source: k.old, pidfd: -1}
	if err := k.order(nil, old, b); err != nil {
		return err
	}
	if err := b.start(k); err != nil {
		return err
	}
	defer unix.Close(b.pidfd)
	trial := &orders.Trial{ID: orders.TrialID("t" + strconv.Itoa(i)), Source: b.source.ID, Deadline: int64(publish.Monotonic() + time.Hour)}
	if err := k.order(trial, old, b); err != nil {
		return err
	}
	if _, err := k.await("switch", func(m orders.Message) bool { return m.Switch != nil }); err != nil {
		return err
	}
	taken := publish.Monotonic()
	for _, v := range k.viewers {
		if _, err := v.WaitVersion(ctx, "2.0", taken-time.Second); err != nil {
			return err
		}
	}
	if err := k.measureFloor(); err != nil {
		return err
	}
	time.Sleep(time.Duration(200+rand.IntN(400)) * time.Millisecond)
	killed := publish.Monotonic()
	b.cmd.Process.Kill()
	for _, v := range k.viewers {
		if _, err := v.WaitVersion(ctx, "1.0", killed); err != nil {
			return err
		}
		if at, ok := v.FirstOf("1.0", killed); ok {
			k.first[v.Kind] = append(k.first[v.Kind], at-killed)
		}
	}
	_ = b.cmd.Wait() // killed
	return k.order(nil, old)
}

// measureFloor kills a process that does nothing and waits for its pidfd.
func (k *killBench) measureFloor() error {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Wait() }() // killed
	pidfd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		cmd.Process.Kill()
		return err
	}
	defer unix.Close(pidfd)
	type wake struct {
		at  time.Duration
		err error
	}
	woken := make(chan wake, 1)
	ready := make(chan struct{})
	go func() {
		close(ready)
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(killPatience/time.Millisecond))
		woken <- wake{publish.Monotonic(), err}
	}()
	<-ready
	time.Sleep(20 * time.Millisecond) // until it really waits
	killed := publish.Monotonic()
	cmd.Process.Kill()
	w := <-woken
	k.floor = append(k.floor, w.at-killed)
	return w.err
}

// start runs one of the product's binaries; its log goes to a file.
func (k *killBench) start(name string, env []string, args ...string) (*exec.Cmd, error) {
	log, err := os.OpenFile(filepath.Join(k.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(k.bin, name), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	k.procs = append(k.procs, cmd)
	return cmd, nil
}

func (k *killBench) close() {
	for _, v := range k.viewers {
		v.Close()
	}
	if k.orders != nil {
		k.orders.Close()
	}
	for _, p := range k.procs {
		if p.ProcessState == nil {
			p.Process.Kill()
			_ = p.Wait() // killed
		}
	}
	os.RemoveAll(k.dir)
}

func retry(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, killPatience)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
