package core

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// never is a time that does not come.
const never = math.MaxInt64

// handler is whatever owns a descriptor; ready is called on the core thread.
type handler interface{ ready(c *Core, now int64) }

// poller is an epoll set with one timer. Its methods are for the core thread,
// except wake.
type poller struct {
	epoll, timer, event int
	armed               int64 // when the timer fires
	resting             []resting
	handlers            []bound // by descriptor
	bindings            int32
	events              [64]unix.EpollEvent

	start time.Time // a moment …
	base  int64     // … and CLOCK_MONOTONIC then, to read the clock without a syscall
}

// bound is a descriptor's handler. Its number comes with every event, because a
// descriptor that is closed and used anew within one turn of the loop must not
// be given the event of the one before it.
type bound struct {
	handler handler
	number  int32
}

func newPoller() (*poller, error) {
	p := &poller{armed: never, start: time.Now()}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return nil, fmt.Errorf("clock: %w", err)
	}
	p.base = ts.Nano()
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("timer: %w", err)
	}
	if p.event, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	for _, fd := range []int{p.timer, p.event} {
		if err := p.add(fd, unix.EPOLLIN, drain(fd)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// drain takes the eight bytes of a timer or event descriptor; what is due is
// found by looking at the clock.
type drain int

func (d drain) ready(*Core, int64) {
	var b [8]byte
	_, _ = unix.Read(int(d), b[:]) // empty already: nothing to do
}

// now is CLOCK_MONOTONIC in nanoseconds.
func (p *poller) now() int64 { return p.base + int64(time.Since(p.start)) }

func (p *poller) add(fd int, events uint32, h handler) error {
	for len(p.handlers) <= fd {
		p.handlers = append(p.handlers, bound{})
	}
	p.bindings++
	ev := unix.EpollEvent{Events: events, Fd: int32(fd), Pad: p.bindings}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("watch descriptor: %w", err)
	}
	p.handlers[fd] = bound{h, p.bindings}
	return nil
}

// rebind gives a descriptor that is watched to another handler.
func (p *poller) rebind(fd int, h handler) { p.handlers[fd].handler = h }

// handler returns who takes the i-th event of the last wait, nil if its
// descriptor was closed since.
func (p *poller) handler(i int) handler {
	ev := &p.events[i]
	if b := p.handlers[ev.Fd]; b.number == ev.Pad {
		return b.handler
	}
	return nil
}

// again makes wait return for a descriptor as if it had just been added with
// these events.
func (p *poller) again(fd int, events uint32) {
	ev := unix.EpollEvent{Events: events, Fd: int32(fd), Pad: p.handlers[fd].number}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, fd, &ev); err != nil {
		panic("forwarder: a watched descriptor is not watched: " + err.Error())
	}
}

// close forgets and closes a descriptor; events of it that were fetched already
// find no handler. It is taken from the set by name: closing does that only for
// the last descriptor of a file, and the agent keeps its own of a passed pidfd.
func (p *poller) close(fd int) {
	p.forget(fd)
	unix.Close(fd)
}

// closeAside is close for a publisher's socket: messages that are still unread in
// it may hold descriptors whose closing blocks (see rightsRoom).
func (p *poller) closeAside(fd int) {
	p.forget(fd)
	go unix.Close(fd)
}

func (p *poller) forget(fd int) {
	p.handlers[fd] = bound{}
	_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil) // it was in the set
}

// arm makes wait return at the time due at the latest. An earlier alarm that is
// set already is left: waking once too often is cheaper than a syscall a frame.
func (p *poller) arm(due, now int64) {
	if due == never || (p.armed > now && p.armed <= due) {
		return
	}
	p.armed = max(due, now+1)
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(p.armed)}
	if err := unix.TimerfdSettime(p.timer, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		panic("forwarder: a valid time was refused: " + err.Error())
	}
}

// resting is a listener that could not accept.
type resting struct {
	fd    int
	bound bound
}

// rest takes a listener out of the set for a while when accept failed for want of
// descriptors or memory: it would be ready again and again for nothing.
func (p *poller) rest(listener int, err error) {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
		return
	}
	b := p.handlers[listener]
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, listener, &unix.EpollEvent{Fd: int32(listener), Pad: b.number}); err == nil {
		p.resting = append(p.resting, resting{listener, b})
	}
}

// rested lets the listeners try again.
func (p *poller) rested() {
	for _, r := range p.resting {
		if p.handlers[r.fd].number == r.bound.number { // else closed meanwhile
			_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, r.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(r.fd), Pad: r.bound.number})
		}
	}
	p.resting = p.resting[:0]
}

// wait returns how many descriptors are ready.
func (p *poller) wait() (int, error) {
	n, err := unix.EpollWait(p.epoll, p.events[:], -1)
	if err == unix.EINTR {
		return 0, nil
	}
	return n, err
}

// wakeOn makes wait return when ctx ends.
func (p *poller) wakeOn(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, p.wake)
}

// wake makes wait return, from any thread.
func (p *poller) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(p.event, one[:]) // full: it wakes already
}

// mute leaves a descriptor open and hears no more of it.
func (p *poller) mute(fd int) {
	_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil) // muted already
}

func (p *poller) closeAll() {
	for fd, b := range p.handlers {
		if b.handler != nil {
			p.close(fd)
		}
	}
	unix.Close(p.epoll)
}
