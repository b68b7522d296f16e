package core

import (
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
)

// Many viewers are tended in small groups, and each within a second.
func TestViewersAreTendedInGroups(t *testing.T) {
	t.Parallel()
	const viewers, most = 100, 50
	c, _, _ := allocWorld(t)
	for i := range viewers {
		v := newPipedPeer(t, c, handover.AES128)
		delete(c.peers, v.peer.id)
		v.peer.id = strconv.Itoa(i)
		c.peers[v.peer.id] = v.peer
		v.track.begun = true
	}
	tended := func() (n int) {
		for _, p := range c.peers {
			n += int(min(p.reports, 1))
		}
		return n
	}
	begin := tended()
	now := c.now()
	for end := now + int64(time.Second); now < end; now = c.nextTend {
		before := tended()
		if c.tendSome(now); tended()-before > most {
			t.Errorf("%d viewers in one go", tended()-before)
		}
	}
	if n := tended(); begin != 0 || n != viewers {
		t.Errorf("after a second %d viewers had their turn, at first %d", n, begin)
	}
}

// A player who sends without end has a bounded part of it read before others have
// their turn, and the rest after it.
func TestBusyPlayerHasItsTurn(t *testing.T) {
	t.Parallel()
	c, _, _ := allocWorld(t)
	near, far := loopbackTCP(t)
	v := newPlayerOn(t, c, near, far, false)
	flood := make([]byte, 60<<10)
	for i := 0; i < len(flood); i += 4 {
		copy(flood[i:], []byte{'$', 9, 0, 0}) // empty frames of a channel that is not there
	}
	sent, err := unix.Write(far, flood)
	if err != nil {
		t.Fatal(err)
	}
	left := func() int {
		n, err := unix.IoctlGetInt(near, unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for deadline := time.Now().Add(time.Minute); left() < sent && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	for turns := 1; left() > 0; turns++ {
		before := left()
		v.ready(c, c.now())
		if took := before - left(); took > requestBatch*maxInflow || took <= 0 {
			t.Fatalf("turn %d took %d bytes", turns, took)
		}
	}
	if v.fd < 0 {
		t.Error("the player was closed")
	}
}
