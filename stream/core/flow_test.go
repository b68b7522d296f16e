package core

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
)

// dying is a TCP viewer whose process dies with each write that it makes, before it
// has noted what came of it.
type dying struct {
	*pipedPlayer
	t *testing.T
	c *Core
}

// step writes once, forgets the result, and finds it out.
func (d *dying) step() {
	tr := d.tracks[0]
	if !d.kept.empty() {
		d.tried = attempt{number: -1, from: d.kept.from, written: d.written, open: true}
		n, _ := sendStream(d.fd, d.kept.buf[d.kept.from:d.kept.to])
		d.kept.from += int32(rand.IntN(2) * n) // noted as far as it came
		d.comeBack()
		return
	}
	if tr.line == nil {
		tr.begin(d.c.now())
	}
	if tr.line == nil || tr.unit >= tr.line.arena.unitHead {
		return
	}
	u := tr.line.arena.unit(tr.unit)
	if tr.packet == 0 {
		tr.ts = tr.stamp(u)
	}
	d.c.gather(tr, u, d.channels[0])
	d.try(tr, 0)
	n, _ := d.c.batch.send(d.fd)
	if rand.IntN(2) == 0 {
		d.took(d.c, tr, n)
		d.tried.open = true
	}
	d.comeBack()
	if tr.packet == u.count {
		tr.unit, tr.packet, tr.last = tr.unit+1, 0, tr.ts
	}
}

func (d *dying) comeBack() {
	d.t.Helper()
	if err := d.mendFlow(d.c); err != nil {
		d.t.Fatal(err)
	}
	if d.tried.open {
		d.t.Fatal("the attempt is still open")
	}
}

// Whatever a connection has taken when the process died, what follows begins at the
// very byte where that ended.
func TestWritesThatWereNotNoted(t *testing.T) {
	c, l, fill := allocWorld(t)
	v := newPipedPlayer(t, c, false)
	d := &dying{v, t, c}
	s := v.tracks[0].stream
	s.tracks = s.tracks[:1] // only step writes
	unix.SetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1)
	var all []byte
	read := func(most int) {
		if n, err := unix.Read(v.far, v.buf[:most]); err == nil {
			all = append(all, v.buf[:n]...)
		}
	}
	cut := 0
	for round := range 2000 {
		fill()
		l.ready(c, c.now())
		if round%50 == 0 && v.kept.room(maxReply) {
			v.kept.add([]byte("RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"))
		}
		d.step()
		if !v.kept.empty() {
			cut++
		}
		read(1 + rand.IntN(6000))
	}
	for !v.kept.empty() {
		d.step()
		read(len(v.buf))
	}
	c.closeViewer(&v.viewer, handover.EndedAsked, "")
	for before := -1; before < len(all); {
		before = len(all)
		read(len(v.buf))
	}
	packets, _ := unframe(t, all)
	for i, p := range packets {
		if seq := binary.BigEndian.Uint16(p[2:]); seq != uint16(i) {
			t.Fatalf("packet %d is number %d", i, seq)
		}
	}
	if len(packets) < 500 || cut == 0 {
		t.Errorf("%d packets, %d times cut", len(packets), cut)
	}
}

// A connection on which more was written than can be told is not gone on with.
func TestForeignWrites(t *testing.T) {
	for _, more := range []string{"", "x"} {
		c, l, fill := allocWorld(t)
		v := newPipedPlayer(t, c, false)
		fill()
		l.ready(c, c.now())
		fmt.Fprint(fdWriter(v.fd), more)
		if err := v.mendFlow(c); (err == nil) != (more == "") {
			t.Errorf("%d bytes more: %v", len(more), err)
		}
		v.try(v.tracks[0], 0)
		fmt.Fprint(fdWriter(v.fd), more)
		v.tracks[0].at(nil)
		if err := v.mendFlow(c); (err == nil) != (more == "") {
			t.Errorf("%d bytes more, of a unit that is gone: %v", len(more), err)
		}
	}
}

// A viewer that is restored in the middle of a write goes on behind what its
// connection has taken.
func TestRestoredInTheMiddleOfAWrite(t *testing.T) {
	c, l, fill := allocWorld(t)
	v := newPipedPlayer(t, c, false)
	for range 3 {
		fill()
		l.ready(c, c.now())
	}
	fill()
	tr, at := v.tracks[0], v.place
	tr.leave()
	l.ready(c, c.now())
	u := l.arena.unit(tr.unit)
	tr.ts = tr.stamp(u)
	c.gather(tr, u, v.channels[0])
	v.try(tr, 0)
	if n, errno := unix.Write(v.fd, unsafe.Slice(c.batch.iov[0].Base, 10)); n != 10 {
		t.Fatal(errno)
	}
	c.poll.forget(v.fd)
	delete(c.players, v.id)
	if err := c.restorePlayer(at, []int{v.fd}); err != nil {
		t.Fatal(err)
	}
	again := c.players[v.id]
	again.pump(c)
	if again.sent() != 16 {
		t.Errorf("%d packets are sent, not those of four units", again.sent())
	}
	n, err := unix.Read(v.far, v.buf[:])
	if err != nil {
		t.Fatal(err)
	}
	if packets, _ := unframe(t, v.buf[:n]); len(packets) != 16 {
		t.Errorf("%d packets came", len(packets))
	}
}
