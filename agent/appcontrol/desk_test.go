package appcontrol

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/control"
)

const patience = time.Minute

// device can be opened by one at a time, like most sensors.
type device struct{ path string }

// open fails while another one has it.
func (d device) open() (*os.File, error) {
	f, err := os.OpenFile(d.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// app is one that has the device when it is told to go.
type app struct {
	*testing.T
	name string
	seat *Seat
	stop context.CancelFunc
	done sync.WaitGroup
	dumb bool // it does not answer a hold

	mu   sync.Mutex
	has  *os.File
	said []string
	news chan struct{}
}

type world struct {
	*testing.T
	desk *Desk
	dir  string
	dev  device
}

func newWorld(t *testing.T) *world {
	dir, err := os.MkdirTemp("", "desk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &world{T: t, desk: New(slog.New(slog.NewTextHandler(t.Output(), nil))), dir: dir, dev: device{filepath.Join(dir, "device")}}
}

func anybody(int) bool { return true }

// start starts an app that listens.
func (w *world) start(name string, dumb bool) *app {
	w.Helper()
	path := filepath.Join(w.dir, name+".sock")
	s, err := w.desk.Seat(name, path)
	if err != nil {
		w.Fatal(err)
	}
	s.Serve(anybody, false)
	a := &app{T: w.T, name: name, seat: s, dumb: dumb, news: make(chan struct{})}
	var ctx context.Context
	ctx, a.stop = context.WithCancel(w.Context())
	a.done.Go(func() {
		err := control.Listen(ctx, path, control.Handler{
			Role:     func(role string) { a.note("role " + role) },
			Keyframe: func(stream string) { a.note("keyframe " + stream) },
			Listen:   func(goes bool) { a.note(fmt.Sprint("listen ", goes)) },
			Capture: func(goes bool) {
				a.turn(ctx, w.dev, goes)
			},
		})
		if !errors.Is(err, context.Canceled) {
			w.Error(err)
		}
	})
	w.Cleanup(a.die)
	return a
}

func (a *app) turn(ctx context.Context, d device, goes bool) {
	a.mu.Lock()
	switch {
	case goes && a.has == nil:
		f, err := d.open()
		if err != nil {
			a.Errorf("%s was told to go while another has the device: %v", a.name, err)
		}
		a.has = f
	case !goes && a.dumb && a.has != nil:
		a.mu.Unlock()
		a.note("capture ignored")
		<-ctx.Done()
		return
	case !goes && a.has != nil:
		a.has.Close()
		a.has = nil
	}
	a.mu.Unlock()
	a.note(fmt.Sprint("capture ", goes))
}

func (a *app) note(word string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said = append(a.said, word)
	close(a.news)
	a.news = make(chan struct{})
}

// die ends the app as its process's death would: the kernel closes what it has, and
// the agent hears of it.
func (a *app) die() {
	a.stop()
	a.done.Wait()
	a.mu.Lock()
	if a.has != nil {
		a.has.Close()
		a.has = nil
	}
	a.mu.Unlock()
	a.seat.Gone()
}

// await waits until an app was told something, from its so manieth word on.
func (a *app) await(word string, from int) int {
	a.Helper()
	limit := time.After(patience)
	for {
		a.mu.Lock()
		i := slices.Index(a.said[min(from, len(a.said)):], word)
		news, said := a.news, slices.Clone(a.said)
		a.mu.Unlock()
		if i >= 0 {
			return from + i + 1
		}
		select {
		case <-news:
		case <-limit:
			a.Fatalf("%s was not told %q but %q", a.name, word, said)
		}
	}
}

func two(role string) []App {
	return []App{{Name: "a-1", Role: "permanent", Streams: []string{"main"}}, {Name: "b-2", Role: role, Streams: []string{"main", "sub"}}}
}

func TestTheDeviceGoesOverAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.desk.Steer(two("trial")[:1], "a-1")
	old := w.start("a-1", false)
	n := old.await("capture true", old.await("role permanent", 0))
	w.desk.Steer(two("trial"), "a-1")
	next := w.start("b-2", false)
	m := next.await("capture false", next.await("role trial", 0))
	w.desk.Steer(two("trial"), "b-2")
	n = old.await("capture false", n)
	m = next.await("keyframe sub", next.await("capture true", m))
	w.desk.Steer(two("trial"), "a-1") // a revert
	next.await("capture false", m)
	old.await("keyframe main", old.await("capture true", n))
}

// Of a flood of wishes an app hears one, and no wish for what it has not.
func TestWishesForKeyFramesAreNotRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.desk.Steer(two("trial"), "a-1")
	old, next := w.start("a-1", false), w.start("b-2", false)
	n := next.await("listen false", next.await("capture false", 0))
	old.await("keyframe main", old.await("capture true", 0)) // it comes with the baton
	begun := time.Now()
	for range 1000 {
		w.desk.Wish("b-2", "main")
		w.desk.Wish("b-2", "other")
		w.desk.Wish("b-2", "sub")
		w.desk.Wish("c-9", "main")
	}
	most := 1 + int(time.Since(begun)/control.WishTime)
	w.desk.Steer(two("standby"), "a-1")
	next.await("role standby", n)
	counts := map[string]int{}
	next.mu.Lock()
	for _, word := range next.said {
		counts[word]++
	}
	next.mu.Unlock()
	if main, sub := counts["keyframe main"], counts["keyframe sub"]; main < 1 || main > most || sub < 1 || sub > most || counts["keyframe other"] > 0 {
		t.Errorf("it was told %v, allowed are %d of each", counts, most)
	}
}

func TestADeathGivesTheDeviceBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.desk.Steer(two("trial"), "b-2")
	old := w.start("a-1", false)
	n := old.await("capture true", 0) // the other one does not listen yet
	next := w.start("b-2", false)
	next.await("listen true", next.await("capture true", 0))
	n = old.await("listen false", old.await("capture false", n))
	next.die()
	old.await("listen true", old.await("capture true", n))
}

// Of one that never answers the device is taken when it dies, and no answer of the
// other baton stands for that of this one.
func TestOneThatDoesNotAnswerIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.desk.Steer(two("trial"), "a-1")
	old := w.start("a-1", true)
	n := old.await("capture true", 0)
	w.desk.Steer(two("trial"), "a-1")
	next := w.start("b-2", false)
	m := next.await("capture false", 0)
	w.desk.Steer(two("trial"), "b-2")
	old.await("capture ignored", n)
	begun := time.Now()
	old.die()
	next.await("capture true", m)
	t.Logf("after the death: %v", time.Since(begun))
}

func TestASilentOneIsPassedAfterTheHoldTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.dev.path = "/dev/null" // the silent one keeps it; nobody else minds
	w.desk.Steer(two("trial"), "a-1")
	seat, err := w.desk.Seat("a-1", filepath.Join(w.dir, "a-1.sock"))
	if err != nil {
		t.Fatal(err)
	}
	seat.Serve(anybody, false)
	defer seat.Gone()
	silent, err := dial(filepath.Join(w.dir, "a-1.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	buf := make([]byte, control.MaxWord)
	for range 4 { // version, role, capture, listen
		if _, err := silent.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	next := w.start("b-2", false)
	m := next.await("capture false", 0)
	begun := time.Now()
	w.desk.Steer(two("trial"), "b-2")
	next.await("capture true", m)
	if waited := time.Since(begun); waited < control.HoldTime {
		t.Errorf("it was told to go after %v, before the hold time of %v was over", waited, control.HoldTime)
	}
}

func TestStrangersAreTurnedAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.desk.Steer(two("trial"), "a-1")
	path := filepath.Join(w.dir, "a-1.sock")
	seat, err := w.desk.Seat("a-1", path)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan int, 10)
	seat.Serve(func(pid int) bool { asked <- pid; return false }, false)
	defer seat.Gone()
	conn, err := dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 10)); n != 0 && err == nil {
		t.Error("a stranger was told something")
	}
	select {
	case pid := <-asked:
		if pid != os.Getpid() {
			t.Errorf("asked about process %d", pid)
		}
	case <-time.After(patience):
		t.Error("nobody asked who it is")
	}
}

// Nonsense, floods and connections without end hurt nobody but their own app.
func TestNonsenseIsNotFatal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.desk.Steer(two("trial"), "a-1")
	path := filepath.Join(w.dir, "a-1.sock")
	old := w.start("a-1", false)
	n := old.await("capture true", 0)
	conn, err := dial(path) // takes the place of the one before, which comes again
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"capture go", "capture", "x y z", "\x00\xff", string(make([]byte, 4000)), "listen hold"} {
		if _, err := conn.Write([]byte(word)); err != nil {
			break
		}
	}
	conn.Close()
	old.await("listen true", old.await("capture true", n))
	next := w.start("b-2", false)
	m := next.await("capture false", 0)
	w.desk.Steer(two("trial"), "b-2")
	next.await("capture true", m)
}

// However apps die and change places, the device is never opened by two.
func TestNeverTwoAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.desk.Steer(two("trial"), "a-1")
	old := w.start("a-1", false)
	from := old.await("capture true", 0)
	for i := range 60 {
		name := fmt.Sprintf("b-%d", i)
		both := []App{{Name: "a-1", Role: "permanent"}, {Name: name, Role: "trial"}}
		w.desk.Steer(both, "a-1")
		next := w.start(name, false)
		switch i % 3 {
		case 0:
			w.desk.Steer(both, name)
			next.await("capture true", 0)
		case 1:
			w.desk.Steer(both, name) // and at once back
			w.desk.Steer(both, "a-1")
		case 2:
			w.desk.Steer(both, name)
		}
		next.die()
		w.desk.Steer(both[:1], "a-1")
		if i%3 == 0 {
			from = old.await("capture true", from)
		}
	}
}

// A desk that has just begun does not know who was told to go before: it has the other
// one hold first.
func TestANewAgentLetsNobodyGoBesideAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.desk.Steer(two("trial"), "b-2")
	old, next := w.start("a-1", false), w.start("b-2", false)
	m := next.await("capture true", 0)
	n := old.await("role permanent", 0)

	old.seat.Close()
	next.seat.Close()
	w.desk = New(slog.New(slog.NewTextHandler(t.Output(), nil)))
	w.adopt(old)
	w.adopt(next)
	w.desk.Steer(two("trial"), "a-1") // it was reverted meanwhile
	next.await("capture false", m)
	old.await("capture true", n)
}

func (w *world) adopt(a *app) {
	w.Helper()
	s, err := w.desk.Seat(a.name, filepath.Join(w.dir, a.name+".sock"))
	if err != nil {
		w.Fatal(err)
	}
	s.Serve(anybody, true)
	a.seat = s
}

func dial(path string) (*net.UnixConn, error) {
	return net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
}
