package core

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// runOnce lets a core run until the core thread has looked at its own policy,
// and returns that, the log, and the thread's policy afterwards.
func runOnce(t *testing.T, before func()) (during, after uint32, log string) {
	t.Helper()
	var out bytes.Buffer
	c, err := New(Config{Run: t.TempDir(), Priority: true}, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	type policies struct{ during, after uint32 }
	done := make(chan policies)
	c.poll.rebind(c.poll.timer, probe(func() { during = policy(); stop() }))
	c.poll.arm(c.now()+ms, c.now())
	go func() {
		runtime.LockOSThread() // for good: the thread is not fit for anybody else
		before()
		if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		done <- policies{during, policy()}
	}()
	select {
	case p := <-done:
		return p.during, p.after, out.String()
	case <-time.After(time.Minute):
		t.Fatal("the core did not stop")
		return 0, 0, ""
	}
}

type probe func()

func (p probe) ready(*Core, int64) { p() }

// policy is the calling thread's, with the flags that go with it.
func policy() uint32 {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		panic(err)
	}
	return attr.Policy | uint32(attr.Flags)<<16
}

const fifoReset = unix.SCHED_FIFO | unix.SCHED_FLAG_RESET_ON_FORK<<16

func TestCoreThreadAsksForPriority(t *testing.T) {
	during, after, log := runOnce(t, func() {})
	switch {
	case after != unix.SCHED_NORMAL:
		t.Errorf("the thread's policy is %#x after the core has ended", after)
	case during == fifoReset && log == "":
	case during == unix.SCHED_NORMAL && strings.Count(log, "no FIFO priority") == 1:
		t.Logf("refused here: %s", log)
	default:
		t.Errorf("policy %#x, log %q", during, log)
	}
}

func TestRefusedPriorityIsSaidOnce(t *testing.T) {
	during, after, log := runOnce(t, func() {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Error(err)
		}
	})
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_RTPRIO, &limit); err != nil || limit.Cur > 0 {
		t.Skipf("RLIMIT_RTPRIO %d allows it to everybody here: %v", limit.Cur, err)
	}
	if during != unix.SCHED_NORMAL || after != unix.SCHED_NORMAL || strings.Count(log, "no FIFO priority") != 1 {
		t.Errorf("policies %#x and %#x, log %q", during, after, log)
	}
}

func TestBreather(t *testing.T) {
	b := breather{fifo: true}
	now := 1000 * ms
	turn := func(asleep, work int64) bool {
		due := b.due(now, now+asleep)
		now += asleep + work
		return due
	}
	for range 1000 {
		if turn(ms, 40*ms) {
			t.Fatal("a thread that rests by itself was made to rest")
		}
	}
	b = breather{fifo: true}
	turns := 1
	for !turn(ms/100, 10*ms) {
		if turns++; turns > 100 {
			t.Fatal("a thread that never rests was left to work")
		}
	}
	if turns < 5 || turns > 7 {
		t.Errorf("made to rest after %d turns of 10 ms", turns)
	}
	b = breather{}
	for range 100 {
		if turn(0, 10*ms) {
			t.Fatal("a thread without priority was made to rest")
		}
	}
}

// A listener that cannot accept does not wake the core again and again.
func TestListenerRests(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.closeAll()
	path := t.TempDir() + "/s"
	listener, err := seqpacketListen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.add(listener, unix.EPOLLIN, subscriptionListener(listener)); err != nil {
		t.Fatal(err)
	}
	peer, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(peer)
	if err := unix.Connect(peer, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	isReady := func() bool {
		p.armed = never
		p.arm(p.now()+ms, p.now())
		for {
			n, err := p.wait()
			if err != nil {
				t.Fatal(err)
			}
			for _, ev := range p.events[:n] {
				switch int(ev.Fd) {
				case listener:
					return true
				case p.timer:
					drain(p.timer).ready(nil, 0)
					return false
				}
			}
		}
	}
	p.rest(listener, unix.EAGAIN)
	if !isReady() {
		t.Error("a listener rests that has nobody to accept")
	}
	p.rest(listener, unix.EMFILE)
	if isReady() {
		t.Error("a listener that cannot accept does not rest")
	}
	p.rested()
	if !isReady() {
		t.Error("a rested listener stays away")
	}
	if len(p.resting) > 0 {
		t.Error("a rested listener is still counted")
	}
}
