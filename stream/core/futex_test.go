package core_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/stream/core"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

var everyWay = []string{orders.ByFutex, orders.ByPidfd, orders.ByEOF, orders.ByStall}

// TestAppProcess is no test: it is the camera app of the tests that kill one, in
// a process of its own. It says so on its output when its memory is filled.
func TestAppProcess(t *testing.T) {
	run, mb := os.Getenv("CORE_TEST_RUN"), os.Getenv("CORE_TEST_MB")
	if run == "" {
		t.Skip("it is started by other tests")
	}
	size, err := strconv.Atoi(mb)
	if err != nil {
		t.Fatal(err)
	}
	memory := make([]byte, size<<20)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	w := &world{t: t, run: run}
	id := os.Getenv("CORE_TEST_SOURCE")
	c := w.camera(id, id[0], 10)
	fmt.Println("published")
	<-c.conn.Done()
	_ = memory[len(memory)-1]
}

// appProcess starts the app of source b-2, which fills so much memory, and returns
// its pidfd.
func (w *world) appProcess(mb int) (app *exec.Cmd, pidfd int) {
	w.t.Helper()
	return w.appProcessOf("b-2", mb)
}

func (w *world) appProcessOf(source string, mb int) (app *exec.Cmd, pidfd int) {
	w.t.Helper()
	app = exec.Command(os.Args[0], "-test.run=^TestAppProcess$", "-test.v")
	app.Env = append(os.Environ(), "CORE_TEST_RUN="+w.run, "CORE_TEST_MB="+strconv.Itoa(mb), "CORE_TEST_SOURCE="+source)
	out, err := app.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := app.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { app.Process.Kill(); app.Wait() })
	if pidfd, err = unix.PidfdOpen(app.Process.Pid, 0); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { unix.Close(pidfd) })
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if said = append(said, lines.Text()); lines.Text() == "published" {
			return app, pidfd
		}
	}
	w.t.Fatalf("the app did not come up: %q", said)
	return nil, -1
}

// killOnTrial lets an app process carry the streams, kills it, and returns how
// the revert came about. Only the given ways of seeing a death are switched on.
func killOnTrial(t *testing.T, mb int, ways ...string) orders.Reverted {
	t.Helper()
	ignore := slices.DeleteFunc(slices.Clone(everyWay), func(way string) bool { return slices.Contains(ways, way) })
	w := newWorld(t, ignore...)
	stall := int64(0)
	if slices.Contains(ways, orders.ByStall) {
		stall = 100
	}
	a, b := src("a-1", 0), src("b-2", stall)
	both := []orders.Source{a, b}
	w.order(orders.Orders{Sources: both, Permanent: "a-1"})
	w.camera("a-1", 'a', 5)
	v := w.viewer()
	v.untilLetter('a', 0)
	app, pidfd := w.appProcess(mb)
	both[1].Pidfd = 1
	w.order(orders.Orders{Sources: both, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)}, pidfd)
	w.awaitSwitch()
	at := v.untilLetter('b', 0)
	app.Process.Kill()
	r := w.awaitRevert()
	v.untilLetter('a', at)
	v.unbrokenButHoles()
	if !r.Switched || r.Source != "a-1" || r.Detail == "" {
		t.Errorf("revert: %+v", r)
	}
	return r
}

// Each way of seeing a death suffices alone.
func TestDeathIsSeenInFourWays(t *testing.T) {
	for way, cause := range map[string]string{
		orders.ByFutex: orders.CauseExit, orders.ByPidfd: orders.CauseExit,
		orders.ByEOF: orders.CauseEOF, orders.ByStall: orders.CauseStall,
	} {
		t.Run(way, func(t *testing.T) {
			if r := killOnTrial(t, 0, way); r.By != way || r.Cause != cause {
				t.Errorf("revert by %q with cause %q, want %q and %q", r.By, r.Cause, way, cause)
			}
		})
	}
}

// The futex speaks up before the kernel has torn a large process down. The
// machine may sleep for longer than that, so a few tries are given.
func TestFutexComesFirstWithALargeApp(t *testing.T) {
	for try := range 5 {
		r := killOnTrial(t, 200, everyWay...)
		if r.By == orders.ByFutex {
			return
		}
		t.Logf("try %d: %s was first", try+1, r.By)
	}
	t.Error("the futex never came first")
}

// lockFile is a lock as an app would make it, and its word.
func lockFile(t *testing.T, size int64, seals int) (fd int, word *uint32) {
	t.Helper()
	fd, err := unix.MemfdCreate("lock", unix.MFD_ALLOW_SEALING)
	if err == nil {
		err = unix.Ftruncate(fd, size)
	}
	if err == nil && seals != 0 {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		t.Fatal(err)
	}
	page, err := unix.Mmap(fd, 0, publish.LockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(page); unix.Close(fd) })
	return fd, (*uint32)(unsafe.Pointer(&page[0]))
}

const sized = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW

// helloWith publishes stream main of b-2 with any descriptors.
func (w *world) helloWith(t *testing.T, fds ...int) *net.UnixConn {
	t.Helper()
	conn := w.raw(t, "pub/b-2.sock")
	hello := append([]byte("Smain\n"), sdpOf(spsBaseline, ppsBaseline)...)
	if _, _, err := conn.WriteMsgUnix(hello, unix.UnixRights(fds...), nil); err != nil {
		t.Fatal(err)
	}
	expect(t, conn, publish.MsgAccepted, "hello")
	return conn
}

func futexWake(word *uint32) {
	unix.Syscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1, 1<<30)
}

// watchedLocks counts the locks that the core watches.
func watchedLocks(t *testing.T) (n int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "memfd:lock") && strings.Contains(line, "r--s") {
			n++
		}
	}
	return n
}

// awaitNoLocks waits until the core has let go of every lock.
func awaitNoLocks(t *testing.T, what string) {
	t.Helper()
	for deadline := time.Now().Add(patience); watchedLocks(t) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%s: the lock is still watched", what)
		}
	}
}

// A lock that is not as it should be is no help and does no harm.
func TestUselessLocks(t *testing.T) {
	w, _, v := steadyWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), src("b-2", 0)}, Permanent: "a-1"})
	unsealed, word := lockFile(t, publish.LockSize, 0)
	*word = 1 | publish.LockWaiters
	short, word := lockFile(t, 4096/2, sized)
	*word = 1 | publish.LockWaiters
	long, word := lockFile(t, 1<<20, sized)
	*word = 1 | publish.LockWaiters
	idle, _ := lockFile(t, publish.LockSize, sized)
	for _, c := range []struct {
		name string
		fds  []int
	}{
		{"not sealed", []int{unsealed}},
		{"too short", []int{short}},
		{"too long", []int{long}},
		{"held by nobody", []int{idle}},
	} {
		conn := w.helloWith(t, c.fds...)
		if n := watchedLocks(t); n > 0 {
			t.Errorf("%s: %d locks are watched", c.name, n)
		}
		conn.Close()
		lost := w.await("lost", func(m orders.Message) bool { return m.Lost != nil }).Lost
		if lost.By != orders.ByEOF {
			t.Errorf("%s: %+v", c.name, lost)
		}
	}
	v.until("more of a", v.count()+5, func(picture) bool { return true })
	v.unbroken()
}

// Descriptors that nobody has asked for end the sender's credit, and closing
// them blocks nobody.
func TestForeignDescriptors(t *testing.T) {
	hello := append([]byte("Smain\n"), sdpOf(spsBaseline, ppsBaseline)...)
	for name, attack := range map[string]func(*net.UnixConn, int){
		"with the first message": func(conn *net.UnixConn, fd int) {
			conn.WriteMsgUnix(hello, unix.UnixRights(fd), nil)
		},
		"as many as go with one message": func(conn *net.UnixConn, fd int) {
			one := int(os.Stderr.Fd())
			conn.WriteMsgUnix(hello, unix.UnixRights(append(slices.Repeat([]int{one}, 252), fd)...), nil)
		},
		"behind the first message": func(conn *net.UnixConn, fd int) {
			conn.Write(hello)
			conn.WriteMsgUnix([]byte{publish.MsgClock}, unix.UnixRights(fd), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, v := steadyWorld(t)
			w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), src("b-2", 0)}, Permanent: "a-1"})
			fd := core.Lingering(t)
			conn := w.raw(t, "pub/b-2.sock")
			attack(conn, fd)
			go unix.Close(fd) // the last one but the forwarder's
			conn.SetReadDeadline(time.Now().Add(patience))
			for buf := make([]byte, 4096); ; {
				if n, err := conn.Read(buf); err != nil || n == 0 {
					break
				}
			}
			v.until("more of a", v.count()+20, func(picture) bool { return true })
			v.unbroken()
		})
	}
}

// An app that plays with its lock ends nobody's trial but its own.
func TestHostileLocks(t *testing.T) {
	w, _, v := steadyWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), src("b-2", 0)}, Permanent: "a-1"})
	for _, c := range []struct {
		name string
		play func(fd int, word *uint32)
	}{
		{"another owner", func(_ int, word *uint32) { *word = 2 | publish.LockWaiters; futexWake(word) }},
		{"given back", func(_ int, word *uint32) { *word = 0; futexWake(word) }},
		{"an owner who died and lives", func(_ int, word *uint32) { *word = 2 | publish.LockDied; futexWake(word) }},
		{"woken without end", func(_ int, word *uint32) {
			for deadline := time.Now().Add(patience); watchedLocks(t) > 0 && time.Now().Before(deadline); {
				futexWake(word)
			}
		}},
		{"a hole in the file", func(fd int, word *uint32) {
			unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, publish.LockSize)
			futexWake(word)
		}},
	} {
		fd, word := lockFile(t, publish.LockSize, sized)
		*word = 1 | publish.LockWaiters
		conn := w.helloWith(t, fd)
		if n := watchedLocks(t); n != 1 {
			t.Fatalf("%s: %d locks are watched", c.name, n)
		}
		c.play(fd, word)
		awaitNoLocks(t, c.name)
		conn.Close()
		lost := w.await("lost", func(m orders.Message) bool { return m.Lost != nil }).Lost
		if lost.By != orders.ByEOF {
			t.Errorf("%s: %+v", c.name, lost)
		}
	}
	v.until("more of a", v.count()+5, func(picture) bool { return true })
	v.unbroken()
}

// An app that declares itself dead is taken at its word; the core lets go of a
// lock with the publisher, the source, and its own end.
func TestLockIsLetGo(t *testing.T) {
	w, _, _ := steadyWorld(t)
	both := orders.Orders{Sources: []orders.Source{src("a-1", 0), src("b-2", 0)}, Permanent: "a-1"}
	w.order(both)
	fd, word := lockFile(t, publish.LockSize, sized)
	*word = 1 | publish.LockWaiters
	conn := w.helloWith(t, fd)
	*word = publish.LockDied | publish.LockWaiters
	futexWake(word)
	lost := w.await("lost", func(m orders.Message) bool { return m.Lost != nil }).Lost
	if lost.Cause != orders.CauseExit || lost.By != orders.ByFutex || lost.Stream != "main" {
		t.Errorf("%+v", lost)
	}
	awaitNoLocks(t, "declared dead")
	conn.Close()
	w.await("lost", func(m orders.Message) bool { return m.Lost != nil && m.Lost.By == orders.ByEOF })

	*word = 1 | publish.LockWaiters
	w.helloWith(t, fd).Close()
	awaitNoLocks(t, "publisher gone")
	w.await("lost", func(m orders.Message) bool { return m.Lost != nil })

	w.helloWith(t, fd)
	w.order(orders.Orders{Sources: both.Sources[:1], Permanent: "a-1"})
	awaitNoLocks(t, "source gone")

	w.order(both)
	w.helloWith(t, fd)
	w.stop()
	awaitNoLocks(t, "core stopped")
}

// Two streams of one process carry the same lock; the kernel wakes one waiter.
func TestTwoStreamsWithOneLock(t *testing.T) {
	w := newWorld(t)
	two := src("b-2", 0)
	two.Streams = append(two.Streams, orders.Stream{Name: "sub", Codec: "h264"})
	w.order(orders.Orders{Sources: []orders.Source{two}, Permanent: "b-2"})
	fd, word := lockFile(t, publish.LockSize, sized)
	*word = 1 | publish.LockWaiters
	w.helloWith(t, fd)
	sub := w.raw(t, "pub/b-2.sock")
	sub.WriteMsgUnix(append([]byte("Ssub\n"), sdpOf(spsBaseline, ppsBaseline)...), unix.UnixRights(fd), nil)
	expect(t, sub, publish.MsgAccepted, "second stream")
	*word = publish.LockDied | publish.LockWaiters
	unix.Syscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1, 1) // as the kernel does
	seen := map[string]bool{}
	for len(seen) < 2 {
		lost := w.await("lost stream", func(m orders.Message) bool { return m.Lost != nil }).Lost
		if lost.By != orders.ByFutex || seen[lost.Stream] {
			t.Fatalf("%+v", lost)
		}
		seen[lost.Stream] = true
	}
}

// A connection that says which stream it is only after its source has gone must
// not bring that back.
func TestLateHelloOfADroppedSource(t *testing.T) {
	w, _, v := steadyWorld(t)
	b := src("b-2", 0)
	b.Streams[0].Name = "other" // so that the stream goes with the source
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), b}, Permanent: "a-1"})
	conn := w.raw(t, "pub/b-2.sock")
	w.helloRefused(t) // the connection before it has been accepted too
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0)}, Permanent: "a-1"})
	fd, word := lockFile(t, publish.LockSize, sized)
	*word = 1 | publish.LockWaiters
	conn.WriteMsgUnix(append([]byte("Sother\n"), sdpOf(spsBaseline, ppsBaseline)...), unix.UnixRights(fd), nil)
	conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 100)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes in answer, %v", n, err)
	}
	v.until("more of a", v.count()+5, func(picture) bool { return true })
	v.unbroken()
	if n := watchedLocks(t); n > 0 {
		t.Errorf("%d locks are watched", n)
	}
}

// helloRefused publishes a stream that b-2 does not declare.
func (w *world) helloRefused(t *testing.T) {
	t.Helper()
	_, err := publish.Dial(filepath.Join(w.run, "pub", "b-2.sock"), "main", sdpOf(spsBaseline, ppsBaseline))
	if err == nil {
		t.Fatal("a stream that is not declared was taken")
	}
}

// Silent connections are bounded, and do not keep a publisher out once they go.
func TestSilentPublishersAreBounded(t *testing.T) {
	w, _, v := steadyWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), src("b-2", 0)}, Permanent: "a-1"})
	var silent []*net.UnixConn
	for range 16 {
		silent = append(silent, w.raw(t, "pub/b-2.sock"))
	}
	path := filepath.Join(w.run, "pub", "b-2.sock")
	if got := expect(t, w.raw(t, "pub/b-2.sock"), publish.MsgError, "seventeenth connection"); !strings.Contains(got, "too many connections") {
		t.Errorf("seventeenth connection: %s", got)
	}
	for _, conn := range silent {
		conn.Close()
	}
	for deadline := time.Now().Add(patience); ; {
		conn, err := publish.Dial(path, "main", sdpOf(spsBaseline, ppsBaseline))
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	v.until("more of a", v.count()+5, func(picture) bool { return true })
	v.unbroken()
}
