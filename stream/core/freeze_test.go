package core

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/publish"
)

// TestThaw follows a line through a freeze: nothing is asked of it while it lasts,
// and nothing from before is left afterwards but what viewers may have lost.
func TestThaw(t *testing.T) {
	c, l, fill := allocWorld(t)
	for range 20 {
		fill()
		l.ready(c, c.now())
	}
	var publisher int
	l.fd, publisher = socketpair(t)
	asked := func() bool {
		var buf [16]byte
		n, _ := unix.Read(publisher, buf[:])
		return n == 1 && buf[0] == publish.MsgKeyFrame
	}
	src, now := l.source, c.now()
	file := filepath.Join(t.TempDir(), "cgroup.freeze")
	if err := os.WriteFile(file, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	spec := src.spec
	spec.Frozen = true
	c.orderFreeze(src, spec, fd, now)
	if !src.frozen() || !l.arena.hasKey {
		t.Errorf("frozen %v, key %v", src.frozen(), l.arena.hasKey)
	}
	if l.wishKey(now); asked() {
		t.Error("a frozen source is asked for a key frame")
	}

	head := l.arena.packetHead
	c.thaw(src, now+int64(time.Second))
	if b, err := os.ReadFile(file); string(b) != "0" || err != nil {
		t.Errorf("the freezer says %q, %v", b, err)
	}
	if !asked() {
		t.Error("a source that was thawed is not asked for a key frame")
	}
	if a := l.arena; src.frozen() || a.hasKey || a.unitTail != a.unitHead || a.packetTail == head {
		t.Errorf("frozen %v, key %v, units %d to %d, packets %d to %d", src.frozen(), a.hasKey, a.unitTail, a.unitHead, a.packetTail, head)
	}
	if !l.thawing(now+int64(time.Second)) || l.thawing(now+int64(time.Second+thawPatience)) {
		t.Error("its key frame is not waited for, or for ever")
	}

	// It is frozen once more, and nobody has told us that the first thaw was heard of.
	if err := os.WriteFile(file, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.orderFreeze(src, spec, -1, now)
	c.thaw(src, now)
	if b, _ := os.ReadFile(file); string(b) != "0" || src.frozen() {
		t.Errorf("after the second freeze the freezer says %q, frozen %v", b, src.frozen())
	}
	spec.Frozen = false
	c.orderFreeze(src, spec, -1, now)

	// Or it was frozen by somebody who died before he could say so.
	if err := os.WriteFile(file, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	says := func() string {
		b, _ := os.ReadFile(file)
		return string(b)
	}
	if c.thawSilent(l.lastUnit + int64(thawAgain)); says() != "1" {
		t.Error("a source that sends is thawed")
	}
	if c.thawSilent(l.lastUnit + int64(thawAgain) + 1); says() != "0" {
		t.Error("a source that sends nothing is not thawed")
	}

	spec.Frozen = true
	if c.orderFreeze(src, spec, -1, now); !src.frozen() {
		t.Error("a later freeze is not believed")
	}
}

// What had been captured before the freeze is not shown; a clock that is off for
// longer than that is not believed.
func TestFramesFromBeforeTheFreeze(t *testing.T) {
	l := bareLine(1)
	l.resumed = int64(1000 * time.Second)
	for _, test := range []struct {
		capture, at time.Duration // from the thaw on
		stale       bool
	}{
		{-time.Millisecond, 10 * time.Millisecond, true},
		{0, 10 * time.Millisecond, false},
		{-time.Minute, 499 * time.Millisecond, true},
		{-time.Minute, 500 * time.Millisecond, false},
	} {
		l.clock.set = true
		u := &unit{capture: l.resumed + int64(test.capture)}
		if got := l.stale(u, l.resumed+int64(test.at)); got != test.stale {
			t.Errorf("captured %v and come %v after the thaw: stale %v", test.capture, test.at, got)
		}
		if off := test.capture < 0 && !test.stale; l.clock.set == off {
			t.Errorf("captured %v and come %v after the thaw: clock believed %v", test.capture, test.at, l.clock.set)
		}
	}
}
