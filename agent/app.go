package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"slipstream/agent/appcontrol"
	"slipstream/agent/supervise"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/verify"
)

const (
	socketWait = 5 * time.Second // for the forwarder to open a source's publish socket
	keptLogs   = 4               // log files kept of a slot's runs
	// mostStop bounds what an app may extend its stop timeout to, in stop timeouts.
	mostStop    = 5
	ingestGrace = time.Second
)

// started is the runner's own news of an [AppStarted].
type started struct {
	AppStarted
	launched
}

// launched is what runs of an app.
type launched struct {
	app    *supervise.Process
	ingest *supervise.Process // nil if it publishes by itself
	group  *supervise.Group   // nil without cgroups
	seat   *appcontrol.Seat   // nil if it could not be made
}

// startApp starts a slot's app in the background. Whatever goes wrong is an
// [AppExited].
func (a *Agent) startApp(ctx context.Context, e StartApp) {
	r := a.plan(e.Source, e.Slot)
	ctx, r.cancel = context.WithCancel(ctx)
	from := ""
	if e.Role != RolePermanent {
		from = a.state.Permanent.Slot
	}
	a.inherit(e)
	a.wg.Go(func() {
		at, l, err := a.launch(ctx, e, r, from)
		if err != nil {
			a.log.Error("app not started", "source", e.Source, "reason", err)
			vacate(l.seat)
			a.endGroup(l.group)
			a.post(AppExited{Source: e.Source, Detail: "not started: " + err.Error(), Unborn: true, Damaged: damaged(err)})
			return
		}
		attend(l.seat, l.app, false)
		a.post(started{AppStarted{Source: e.Source, PID: l.app.PID(), At: at}, l})
		a.follow(r, l)
	})
}

// launch verifies the slot and starts what is in it. Whatever may take long comes before
// the check is over, so that nothing lies between that and the start. The time is taken
// before the program runs, so that its deadline never comes late.
func (a *Agent) launch(ctx context.Context, e StartApp, r *run, from string) (at int64, l launched, err error) {
	if r.refused != nil {
		return 0, l, r.refused
	}
	preparing, cancel := context.WithTimeout(ctx, prepareLimit)
	defer cancel()
	verified := func() error { return a.verifySlot(preparing, e.home(), r.version) }
	begun, verify := time.Now(), verified
	quick := imageOf(r.manifest).Size <= quickImage
	if quick {
		verified = aside(verify)
		defer func() {
			cancel()
			_ = verified() // for its end; what it says was heard
		}()
	}
	if err := a.prepare(preparing, e, r, from); err != nil {
		return 0, l, err
	}
	socket := a.publishSocket(e.Source)
	if err := waitFor(ctx, socket, socketWait); err != nil {
		return 0, l, err
	}
	l.group = a.makeGroup(e.Source)
	a.limit(e.Source, l.group, r.manifest.App.Limits)
	env := a.appEnv(e, r.manifest, socket)
	if l.seat = a.seat(e.Source); l.seat != nil {
		env = append(env, "SLIPSTREAM_CONTROL="+a.controlSocket(e.Source))
	}
	if r.manifest.App.PublishRTSP {
		var url string
		if l.ingest, url, err = a.startIngest(e.Source, e.Slot, r.manifest, socket, l.group); err != nil {
			return 0, l, err
		}
		env = append(env, "SLIPSTREAM_PUBLISH_RTSP="+url)
	}
	if quick && time.Since(begun) > verifiedFor {
		verified = again(verified, verify)
	}
	at, l.app, err = a.startVerified(ctx, e, r.manifest, env, l.group, verified, quick)
	if err != nil && l.ingest != nil {
		l.ingest.Stop(ingestGrace)
	}
	return at, l, err
}

// quickImage is what is verified while everything else gets ready to run it. What takes
// longer is verified before the process is begun, so that the state that is handed over
// is not old.
const quickImage = 32 << 20

// verifiedFor is how long it may have taken to get ready to run an image that was verified
// meanwhile. Much may happen while a start waits for the forwarder, so after that the image
// is verified once more.
const verifiedFor = 250 * time.Millisecond

// again does something once more in the background if it has gone well, and returns what
// waits for its end.
func again(first func() error, do func() error) (wait func() error) {
	return aside(func() error {
		if err := first(); err != nil {
			return err
		}
		return do()
	})
}

// aside does something in the background, and returns what waits for its end.
func aside(do func() error) (wait func() error) {
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = do()
	}()
	return func() error {
		<-done
		return err
	}
}

// startVerified starts the program once its slot is known to hold what was signed.
func (a *Agent) startVerified(ctx context.Context, e StartApp, m verify.Manifest, env []string, g *supervise.Group, verified func() error, quick bool) (at int64, p *supervise.Process, err error) {
	var unfit error
	check := func() error {
		unfit = verified()
		at = int64(publish.Monotonic())
		return cmp.Or(unfit, stillWanted(ctx))
	}
	if !quick {
		if err := check(); err != nil {
			return at, nil, err
		}
		check = nil
	}
	if p, err = a.startProcess(ctx, e, m, env, g, check); unfit != nil {
		err = unfit // and nothing is said of a process
	}
	return at, p, err
}

// stillWanted says that a start was called off meanwhile, if it was.
func stillWanted(ctx context.Context) error {
	if ctx.Err() != nil {
		return errors.New("called off")
	}
	return nil
}

// prepare makes what a run is to find: its directories, and for a trial copies of the
// permanent version's data and state.
func (a *Agent) prepare(ctx context.Context, e StartApp, r *run, from string) (err error) {
	a.expectStored(e.Source, e.Slot, e.data(), r.manifest)
	own := func(dir string) error { return a.users.own(e.Slot, dir) }
	if e.Role != RolePermanent {
		err = errors.Join(a.data.snapshot(ctx, from, e.data(), dataLimit(r.manifest), own), a.states.snapshot(from, e.data()))
	} else {
		err = a.data.prepare(e.Slot, own)
	}
	if err == nil && e.Trial != "" {
		err = a.markersOf(e.Slot, r.manifest.App.Greenlight).prepare(e.Trial)
	}
	if err == nil {
		err = a.makeTmp(e.Slot)
	}
	return err
}

func (a *Agent) startProcess(ctx context.Context, e StartApp, m verify.Manifest, env []string, g *supervise.Group, check func() error) (*supervise.Process, error) {
	if err := stillWanted(ctx); err != nil {
		return nil, err
	}
	exec := m.App.Exec
	path := exec[0]
	if !filepath.IsAbs(path) {
		path = filepath.Join(a.set.Root(e.home()), path)
	}
	a.pruneLogs(e.Slot)
	listen, err := a.sockets.take(m.App.Listen)
	if err != nil {
		return nil, err
	}
	told, err := a.handOver(e, m)
	if err != nil {
		return nil, err
	}
	defer a.handedOver(e.Source)
	return a.sup.Start(supervise.Spec{
		Name: string(e.Source), Path: path, Args: exec[1:], Env: append(env, told...),
		Dir:          a.data.of(e.data()), // what an app writes beside itself must not be written into its slot
		NotifySocket: filepath.Join(a.cfg.Run, "notify", string(e.Source)+".sock"), FDStore: true, Group: g,
		Confine: a.confinement(e, m.App), Listen: listen, Check: check,
	})
}

// publishSocket is where the app of a source publishes.
func (a *Agent) publishSocket(source orders.SourceID) string {
	return filepath.Join(a.cfg.Run, "pub", string(source)+".sock")
}

// appEnv is the app's whole environment: the contract, and the little of the
// agent's own that any program may expect.
func (a *Agent) appEnv(e StartApp, m verify.Manifest, socket string) []string {
	env := []string{
		"SLIPSTREAM_ROOT=" + a.set.Root(e.home()),
		"SLIPSTREAM_DATA=" + a.data.of(e.data()),
		"SLIPSTREAM_SHARED=" + a.shared(),
		"SLIPSTREAM_SLOT=" + e.Slot,
		"SLIPSTREAM_VERSION=" + m.Version,
		"SLIPSTREAM_ROLE=" + e.Role,
		"SLIPSTREAM_PUBLISH=" + socket,
		"TMPDIR=" + a.tmp(e.Slot),
	}
	if e.Trial != "" {
		env = append(env, "SLIPSTREAM_TRIAL="+string(e.Trial), "SLIPSTREAM_GREENLIGHT="+a.markers.path(e.Trial))
	}
	if ms := m.App.WatchdogMS; ms > 0 {
		env = append(env, "WATCHDOG_USEC="+strconv.FormatInt(ms*1000, 10))
	}
	for _, name := range []string{"PATH", "LANG", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return append(env, "HOME="+a.data.of(e.data())) // the agent's own is not for it
}

// startIngest starts the slot's own RTSP server on a port of its own. It lives
// and dies with the app.
func (a *Agent) startIngest(source orders.SourceID, slot string, m verify.Manifest, socket string, g *supervise.Group) (*supervise.Process, string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", fmt.Errorf("listen for the app's RTSP: %w", err)
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return nil, "", fmt.Errorf("listen for the app's RTSP: %w", err)
	}
	defer file.Close()
	secret := rand.Text()
	args := []string{"--publish", socket}
	for _, s := range m.App.Streams {
		arg := s.Name
		if s.Audio != "" {
			arg += ",audio=" + s.Audio
		}
		args = append(args, "--stream", arg)
	}
	if g != nil {
		args = append(args, "--cgroup", g.Path())
	}
	path, err := a.binary("ingest")
	if err != nil {
		return nil, "", err
	}
	p, err := a.sup.Start(supervise.Spec{
		Name: ingestName(source), Path: path, Args: args,
		Env: []string{"SLIPSTREAM_INGEST_SECRET=" + secret}, Dir: "/", Listen: []supervise.Named{{Name: "rtsp", File: file}}, Group: g,
		Confine: a.ingestConfinement(slot, path),
	})
	return p, fmt.Sprintf("rtsp://%s/%s", listener.Addr(), secret), err
}

func ingestName(source orders.SourceID) string { return "ingest-" + string(source) }

// follow passes on what an app says, until its end or the agent's.
func (a *Agent) follow(r *run, l launched) {
	p, ingest := l.app, l.ingest
	source, heard := r.source, p.Notifications()
	var ingestDone <-chan struct{}
	var said words
	if ingest != nil {
		ingestDone = ingest.Done()
	}
	for {
		select {
		case n, ok := <-heard:
			if !ok {
				heard = nil
				continue
			}
			said = said.add(n)
			a.passOn(source, n)
		case <-ingestDone:
			a.log.Error("ingest ended, and so does its app", "source", source, "exit", ingest.Exit(), "log", lastLine(ingest))
			ingestDone = nil
			r.told.Store(true)
			p.Kill()
		case <-p.Done():
			vacate(l.seat)
			p.Kill() // and waits for what it left behind
			if ingest != nil {
				ingest.Stop(ingestGrace)
			}
			if !said.ready {
				a.sup.DropStored(string(r.source)) // it may be what it was given that it ended of
			}
			a.post(a.exited(r, l, said))
			return
		case <-a.stopped:
			if l.seat != nil {
				l.seat.Close()
			}
			return
		}
	}
}

// words are what an app has said that explains its end.
type words struct {
	ready, stopping bool
	errno           int
}

func (w words) add(n supervise.Notification) words {
	return words{w.ready || n.Ready, w.stopping || n.Stopping, cmp.Or(n.Errno, w.errno)}
}

// facts are lines of evidence.
func (w words) facts() (lines []string) {
	if w.stopping {
		lines = append(lines, "it had said that it was stopping (STOPPING=1)")
	}
	if w.errno > 0 {
		lines = append(lines, fmt.Sprintf("it had said ERRNO=%d: %v", w.errno, syscall.Errno(w.errno)))
	}
	return lines
}

// exited removes the group of a run that has ended, and says what is known of its end.
func (a *Agent) exited(r *run, l launched, said words) AppExited {
	facts := said.facts()
	var limits *verify.Limits
	if r.manifest.App != nil {
		limits = r.manifest.App.Limits
	}
	lines, oom := used(l.group, limits)
	a.endGroup(l.group)
	facts = append(facts, lines...)
	e := AppExited{
		Source: r.source, Detail: l.app.Exit().String(), Unasked: !r.told.Load(), OOM: oom,
		Evidence: append(redact(l.app.LogTail(maxEvidence-len(facts))), facts...),
	}
	if oom {
		e.Detail += ", for want of memory"
	}
	return e
}

func (a *Agent) passOn(source orders.SourceID, n supervise.Notification) {
	if n.Status != "" {
		a.setAppStatus(source, redact([]string{n.Status})[0])
	}
	if n.Ready {
		a.post(AppReady{source})
	}
	if n.Watchdog {
		a.post(AppAlive{source})
	}
	if n.Hung {
		a.post(AppHung{source})
	}
	if n.Period > 0 {
		a.post(AppPeriod{source, n.Period})
	}
	if n.Extend > 0 {
		a.post(AppExtends{source, n.Extend})
	}
}

// stopApp ends a run in the background; its follower reports the end.
func (a *Agent) stopApp(e StopApp) {
	r := a.runs[e.Source]
	if r == nil {
		a.wg.Go(func() { a.post(AppExited{Source: e.Source, Detail: "it no longer ran"}) })
		return
	}
	r.stop = &e
	r.cancel()
	if r.process != nil {
		a.endProcess(r)
	}
}

// endProcess does in the background what was asked for by r.stop.
func (a *Agent) endProcess(r *run) {
	p, stop := r.process, *r.stop
	a.thaw(r.source)
	a.wg.Go(func() {
		leave := time.NewTimer(stop.Leave)
		defer leave.Stop()
		select {
		case <-p.Done():
			return // by itself; the follower cleans up
		case <-leave.C:
		}
		r.told.Store(true)
		p.StopWithin(stop.Grace, mostStop*stop.Grace)
	})
}

// appStarted takes over a process that has just been started. If it was called
// off meanwhile, it is stopped now.
func (a *Agent) appStarted(s started) {
	r := a.runs[s.Source]
	if r == nil {
		a.wg.Go(func() { s.app.Stop(0) })
		return
	}
	r.process, r.group = s.app, s.group
	if r.stop != nil {
		a.endProcess(r)
	}
}

// pruneLogs removes the log files of a slot's older runs.
func (a *Agent) pruneLogs(slot string) {
	files, _ := filepath.Glob(filepath.Join(a.cfg.Run, "log", "*"+slot+"-*.log*"))
	slices.SortFunc(files, func(x, y string) int { return modTime(x).Compare(modTime(y)) })
	for _, f := range files[:max(0, len(files)-keptLogs)] {
		os.Remove(f)
	}
}

func modTime(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// waitFor waits for a path to exist.
func waitFor(ctx context.Context, path string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		if _, err := os.Lstat(path); err == nil {
			return nil
		}
		if !Wait(ctx, 2*time.Millisecond) {
			return errors.New("the forwarder has not opened its publish socket")
		}
	}
}
