package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

const (
	futexWait = 0 // operations of futex(2), on shared memory
	futexWake = 1

	// lockWait bounds one wait for a lock. The word is looked at again then, so a
	// wake-up that got lost costs no more than this.
	lockWait = time.Second

	// maxFalseWakes is how often an app may wake the forwarder for nothing before
	// its lock is ignored.
	maxFalseWakes = 1000

	lockSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
)

// lockWatch waits, on a thread of its own, for the death of the thread that
// holds a publisher's lock (see package publish).
//
// Whatever the app does to the file, it can neither crash nor block the core:
// only the waiting thread looks at the word, by reading the file; the mapping is
// touched by the kernel alone, which answers with an error where a program would
// get a signal. A word that changes to what no kernel writes is no help any more.
type lockWatch struct {
	memfd   int
	mapping []byte // read-only
	owner   uint32
	stopped atomic.Bool
	died    atomic.Bool  // valid once ended
	ended   atomic.Bool  // there is nothing to wait for any more
	users   atomic.Int32 // the core and the waiting thread; the last one tidies up
}

// openLock checks a lock and takes the descriptors, also when it refuses them.
// Only memfds have seals, so nothing that could block a reader gets past the
// first check.
func openLock(fds []int) (*lockWatch, error) {
	memfd := fds[0]
	seals, err := unix.FcntlInt(uintptr(memfd), unix.F_GET_SEALS, 0)
	if err != nil || len(fds) > 1 {
		go closeForeign(fds)
		return nil, errForeignLock
	}
	w := &lockWatch{memfd: memfd}
	var st unix.Stat_t
	err = unix.Fstat(memfd, &st)
	switch {
	case err != nil:
	case seals&lockSeals != lockSeals:
		err = errors.New("it is not sealed in size")
	case st.Size != publish.LockSize:
		err = fmt.Errorf("it has %d bytes, not %d", st.Size, publish.LockSize)
	default:
		w.mapping, err = unix.Mmap(memfd, 0, publish.LockSize, unix.PROT_READ, unix.MAP_SHARED)
	}
	word, _ := w.read()
	if w.owner = word & publish.LockOwner; err == nil && w.owner == 0 && word&publish.LockDied == 0 {
		err = errors.New("nobody holds it")
	}
	w.users.Store(1)
	if err != nil {
		w.release()
		return nil, err
	}
	return w, nil
}

// errForeignLock is the end of a source's credit: it is not heard again.
var errForeignLock = errors.New("what came with the stream is not one memfd")

// read returns the lock word without touching the mapping.
func (w *lockWatch) read() (word uint32, ok bool) {
	var b [4]byte
	n, err := unix.Pread(w.memfd, b[:], 0)
	return binary.NativeEndian.Uint32(b[:]), err == nil && n == len(b)
}

// start begins the wait; wake is called once it has ended.
func (w *lockWatch) start(threads *sync.WaitGroup, fifo bool, wake func()) {
	w.users.Add(1)
	threads.Go(func() {
		defer w.release()
		runtime.LockOSThread() // for good: the thread ends with this function
		if fifo {
			_ = setFIFO() // the core thread was given it, so this one is
		}
		w.died.Store(w.await())
		w.ended.Store(true)
		wake()
	})
}

// await returns true when the owner has died, false when there is nothing to
// wait for any more.
func (w *lockWatch) await() bool {
	timeout := unix.NsecToTimespec(int64(lockWait))
	for wakes := 0; wakes < maxFalseWakes && !w.stopped.Load(); {
		word, ok := w.read()
		switch {
		case !ok:
			return false
		case word&publish.LockDied != 0 && word&publish.LockOwner == 0:
			w.wakeAll() // the kernel wakes one; another stream's thread may wait for this word too
			return true
		case word&publish.LockOwner != w.owner:
			return false
		}
		_, _, errno := unix.Syscall6(unix.SYS_FUTEX, w.address(), futexWait, uintptr(word), uintptr(unsafe.Pointer(&timeout)), 0, 0)
		switch errno {
		case 0, unix.EAGAIN: // woken, or the word changed meanwhile
			wakes++
		case unix.ETIMEDOUT, unix.EINTR:
		default:
			return false
		}
	}
	return false
}

// stop ends the wait, if one was started; it does not wait for it. It must be
// called once, and may be for no watch at all.
func (w *lockWatch) stop() {
	if w == nil {
		return
	}
	w.stopped.Store(true)
	w.wakeAll()
	w.release()
}

func (w *lockWatch) wakeAll() {
	const everybody = 1<<31 - 1
	_, _, _ = unix.RawSyscall(unix.SYS_FUTEX, w.address(), futexWake, everybody) // nobody waits: nothing to do
}

func (w *lockWatch) address() uintptr { return uintptr(unsafe.Pointer(&w.mapping[0])) }

func (w *lockWatch) release() {
	if w.users.Add(-1) > 0 {
		return
	}
	if w.mapping != nil {
		_ = unix.Munmap(w.mapping) // it is ours and whole
	}
	unix.Close(w.memfd)
}

// locks is what the core knows of its waiting threads.
type locks struct {
	threads sync.WaitGroup
	fifo    bool // they run with the core's priority
}

// receive takes a publisher's first message, and the lock if a usable one came
// with it.
func (p *publisher) receive(c *Core) (n int, lock *lockWatch, errno unix.Errno) {
	n, fds, errno := receiveRights(p.fd, c.scratch[:])
	if len(fds) == 0 {
		return n, nil, errno
	}
	lock, err := openLock(fds)
	switch {
	case errors.Is(err, errForeignLock):
		return 0, nil, errRights
	case err != nil:
		c.log.Warn("a publisher's lock is of no use", "source", p.source.spec.ID, "reason", err)
	case c.ignores(orders.ByFutex):
		lock.stop()
		lock = nil
	}
	return n, lock, 0
}

// alarms is woken by the waiting threads (and when the core is to stop).
type alarms int

func (a alarms) ready(c *Core, now int64) {
	drain(a).ready(c, now)
	for _, src := range c.sources {
		for _, l := range src.lines {
			if l.lock == nil || !l.lock.ended.Load() {
				continue
			}
			died := l.lock.died.Load()
			c.dropLock(l)
			if died {
				c.lost(orders.SourceLost{
					Source: src.spec.ID, Stream: l.stream.name, Cause: orders.CauseExit, By: orders.ByFutex,
					Detail: "the publishing process died", At: now,
				})
			}
		}
	}
}

func (c *Core) watchLock(l *line, lock *lockWatch) {
	if l.lock = lock; lock != nil {
		c.keeper.keep(lineName(keptLock, l), lock.memfd)
		lock.start(&c.locks.threads, c.locks.fifo, c.poll.wake)
	}
}

func (c *Core) dropLock(l *line) {
	if l.lock != nil {
		c.keeper.drop(lineName(keptLock, l)) // before its descriptor is another one's
		l.lock.stop()
		l.lock = nil
	}
}

// stopLocks ends all waiting threads and waits for them.
func (c *Core) stopLocks() {
	for _, src := range c.sources {
		for _, l := range src.lines {
			l.lock.stop() // what is kept stays: the next forwarder waits for it
			l.lock = nil
		}
	}
	c.locks.threads.Wait()
}
