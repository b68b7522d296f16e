package bench

import (
	"context"
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
	"slipstream/testrig/viewer"
)

// killPatience bounds one step of one kill.
const killPatience = 20 * time.Second

// Kill kills the version on trial with SIGKILL, at random moments, and measures
// when the first packet of the old version reaches viewers of WHEP and of RTSP:
// for apps of several sizes, whose memory the kernel has to tear down, with and
// without the lock by which the forwarder learns of a death early. Beside it
// stands the time that the machine takes to wake a process that waits for the
// same app's death by its pidfd. A small app is killed so many times, larger ones
// less often. bin holds the product's binaries.
func Kill(ctx context.Context, bin string, kills int) ([]Figure, error) {
	var figures []Figure
	for _, ignore := range []string{"", orders.ByFutex} {
		some, err := killRound(ctx, bin, kills, ignore)
		if err != nil {
			return nil, err
		}
		figures = append(figures, some...)
	}
	return figures, nil
}

// killSizes are the apps that are killed.
var killSizes = []struct{ megabytes, share int }{
	{cameraMB, 1}, {100, 2}, {500, 4},
}

// killRound kills apps of every size beside one forwarder, which ignores one way
// of seeing a death if that is named.
func killRound(ctx context.Context, bin string, kills int, ignore string) ([]Figure, error) {
	k, err := newKillBench(ctx, bin, ignore)
	if err != nil {
		return nil, err
	}
	defer k.close()
	how := "with futex"
	if ignore != "" {
		how = "without " + ignore
	}
	var figures []Figure
	total := 0
	for _, size := range killSizes {
		k.first, k.seen, k.floor, k.early = map[string][]time.Duration{}, nil, nil, 0
		count := max(1, kills/size.share)
		for range count {
			total++
			if err := k.once(ctx, total, size.megabytes); err != nil {
				return nil, fmt.Errorf("kill %d, app of %d MB, %s: %w", total, size.megabytes, how, err)
			}
		}
		figures = append(figures, k.figures(fmt.Sprintf("app of %d MB, %s", size.megabytes, how))...)
	}
	return append(figures, k.losses(fmt.Sprintf("over %d kills, %s", total, how))), nil
}

// figures are those of the kills since first was last emptied.
func (k *killBench) figures(what string) (figures []Figure) {
	add := func(name string, samples []time.Duration) {
		for _, p := range []float64{50, 99} {
			figures = append(figures, Figure{
				Name: fmt.Sprintf("%s, %s, p%.0f", what, name, p), Value: percentile(samples, p), Unit: "ms",
				Reference: fmt.Sprintf("kill → pidfd wake-up, p%.0f", p), ReferenceValue: percentile(k.floor, p),
			})
		}
	}
	add("kill → seen by the forwarder", k.seen)
	for _, v := range k.viewers {
		add("kill → first packet of the old version, "+v.Kind, k.first[v.Kind])
	}
	return append(figures, Figure{
		Name: what + ", seen by the futex first", Value: float64(k.early),
		Reference: "kills", ReferenceValue: float64(len(k.floor)),
	})
}

// losses is what viewers lost since the beginning.
func (k *killBench) losses(over string) Figure {
	lost := 0
	for _, v := range k.viewers {
		r := v.Report(k.begin, publish.Monotonic())
		lost += r.FramesLost + r.SeqBreaks + r.TimestampBreaks
		if !v.Alive() {
			lost++
		}
	}
	return Figure{
		Name:  "frames lost, breaks and sessions ended " + over,
		Value: float64(lost), Unit: "", Reference: "target", ReferenceValue: 0,
	}
}

type killBench struct {
	bin, dir string
	procs    []*exec.Cmd
	orders   *orders.Conn
	old      orders.Source
	viewers  []*viewer.Viewer
	begin    time.Duration
	first    map[string][]time.Duration
	seen     []time.Duration
	floor    []time.Duration
	early    int // deaths that the futex told first
}

func newKillBench(ctx context.Context, bin, ignore string) (_ *killBench, err error) {
	dir, err := os.MkdirTemp("", "slipkill")
	if err != nil {
		return nil, err
	}
	k := &killBench{bin: bin, dir: dir}
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
	if _, err := k.start("slipstream-forward", nil, "--run", run, "--ignore", ignore); err != nil {
		return nil, err
	}
	if err := retry(ctx, func() (err error) {
		k.orders, err = orders.Dial(filepath.Join(run, "orders.sock"))
		return err
	}); err != nil {
		return nil, err
	}
	if _, err := k.start("slipstream-gateway", nil, "--run", run, "--public", "--http", ports[0], "--rtsp", ports[1], "--udp", ports[2]); err != nil {
		return nil, err
	}
	app, err := k.camera("1.0", "a-1", cameraMB)
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
func (k *killBench) once(ctx context.Context, i, megabytes int) error {
	ctx, cancel := context.WithTimeout(ctx, killPatience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { k.orders.Close() })
	defer stop()
	b, err := k.camera("2.0", "b-"+strconv.Itoa(i), megabytes)
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.root)
	old := &app{source: k.old, pidfd: -1}
	if err := k.carry(ctx, i, old, b); err != nil {
		return err
	}
	defer unix.Close(b.pidfd)
	woken := b.death()
	time.Sleep(time.Duration(200+rand.IntN(400)) * time.Millisecond) // also until death really waits
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
	w := <-woken
	if w.err != nil {
		return w.err
	}
	k.floor = append(k.floor, w.at-killed)
	m, err := k.await("revert", func(m orders.Message) bool { return m.Revert != nil })
	if err != nil {
		return err
	}
	k.seen = append(k.seen, time.Duration(m.Revert.Detected)-killed)
	if m.Revert.By == orders.ByFutex {
		k.early++
	}
	_ = b.cmd.Wait() // killed
	return k.order(nil, old)
}

// carry brings b on trial, until viewers see it and its memory is filled.
func (k *killBench) carry(ctx context.Context, i int, old, b *app) error {
	if err := k.order(nil, old, b); err != nil {
		return err
	}
	if err := b.start(k); err != nil {
		return err
	}
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
	return retry(ctx, b.grown)
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
