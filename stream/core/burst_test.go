package core

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"slipstream/stream/handover"
)

// showPicture puts an access unit into a line, of packets that carry so many bytes each,
// and shows it to the line's viewers.
func showPicture(t testing.TB, c *Core, l *line, sizes ...int) {
	t.Helper()
	ts := l.ts + 3000
	for i, size := range sizes {
		pkt := append(l.arena.space()[:0], 0x80, 96, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4)
		if i == len(sizes)-1 {
			pkt[1] |= rtpMarker
		}
		binary.BigEndian.PutUint16(pkt[2:], l.seq)
		binary.BigEndian.PutUint32(pkt[4:], ts)
		pkt = append(pkt, 0x65, byte(i), byte(l.frames))
		for len(pkt) < rtpHeader+size {
			pkt = append(pkt, byte(len(pkt)))
		}
		if refusal := l.packet(c, pkt); refusal != "" {
			t.Fatal(refusal)
		}
	}
}

// shows checks that a viewer's next datagrams are the packets of the line's last
// unit, in order, under indices that count up.
func (v *pipedPeer) shows(t *testing.T, l *line, last uint64) {
	t.Helper()
	u := l.arena.unit(l.arena.unitHead - 1)
	for n := range u.count {
		want := l.arena.bytes(u.first + uint64(n))
		sealed := v.next()
		if sealed == nil {
			t.Fatalf("packet %d of %d is missing", n, u.count)
		}
		plain, err := v.in.DecryptRTP(nil, sealed, nil)
		if err != nil {
			t.Fatalf("packet %d: %v", n, err)
		}
		seq := uint16(last - uint64(u.count-n))
		if !bytes.Equal(plain[rtpHeader:], want[rtpHeader:]) || binary.BigEndian.Uint16(plain[2:]) != seq || plain[1]>>7 == 1 != (n == u.count-1) {
			t.Fatalf("packet %d of %d bytes is %d bytes: %x, not number %d", n, len(want), len(plain), plain[:15], seq)
		}
	}
	if b := v.next(); b != nil {
		t.Fatalf("%d bytes too many", len(b))
	}
}

// Access units of every shape come as the packets that they are, whether the kernel
// cuts them out of larger messages or not, to both kinds of viewers over UDP.
func TestBurstsOfEveryShape(t *testing.T) {
	many := func(n, size int, last ...int) []int { return append(slices.Repeat([]int{size}, n), last...) }
	shapes := [][]int{
		{500}, {1, 1}, {3, 1188, 700}, {30, 8, 120, 1188, 1188, 1188, 5}, {1188, 30, 1188, 30},
		many(9, 1188), many(63, 1188, 1000), many(64, 500, 3), many(65, 30), many(130, 60, 7), {700, 700, 701, 700},
	}
	for _, gso := range []bool{true, false} {
		c, l, _ := allocWorld(t)
		c.config.NoGSO = !gso
		v, p := newUDPPeer(t, c, handover.AES128), newPipedPlayer(t, c, true)
		if v.segments != gso || p.segments != gso {
			t.Fatalf("messages are cut: %t and %t", v.segments, p.segments)
		}
		for _, shape := range shapes {
			showPicture(t, c, l, shape...)
			v.shows(t, l, v.index)
			u := l.arena.unit(l.arena.unitHead - 1)
			for n := range u.count {
				got, err := unix.Read(p.udp[0], p.buf[:])
				want := l.arena.bytes(u.first + uint64(n))
				if err != nil || !bytes.Equal(p.buf[rtpHeader:got], want[rtpHeader:]) || binary.BigEndian.Uint16(p.buf[2:]) != uint16(p.tracks[0].index-uint64(u.count-n)) {
					t.Fatalf("%v: packet %d of %d bytes: %d bytes, %v", shape, n, len(want), got, err)
				}
			}
		}
		newPipedPlayer(t, c, false) // who gets no datagrams
		if got, want := c.oneByOne(), map[bool]int{true: 0, false: 2}[gso]; got != want {
			t.Errorf("%d viewers get packets one by one, not %d", got, want)
		}
		if v.segments != gso || p.segments != gso {
			t.Error("a way that takes larger messages is not used")
		}
		if v.packets != p.tracks[0].packets || v.octets != p.tracks[0].octets || v.octets != l.octets-v.packets*rtpHeader {
			t.Errorf("%d packets of %d bytes are counted, and %d of %d", v.packets, v.octets, p.tracks[0].packets, p.tracks[0].octets)
		}
	}
}

// Packets are put together as the kernel will cut them: all of one size, and the last
// one no longer.
func TestBurstsAreCutWhereTheyWerePut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := &burst{}
		b.reset(rapid.Bool().Draw(t, "segments"))
		for range rapid.IntRange(1, burstPackets).Draw(t, "packets") {
			if b.room() {
				b.add(append(b.space(), make([]byte, rapid.SampledFrom([]int{1, 2, 3, 1000}).Draw(t, "size"))...), 0)
			}
		}
		from := rapid.IntRange(0, b.n-1).Draw(t, "from")
		b.address(from)
		next := b.ends[from]
		for i := range b.m {
			first, end := int(b.first[i]), int(b.first[i+1])
			if b.iov[i].Base != &b.bytes[next] || b.ends[first] != next || int32(b.iov[i].Len) != b.ends[end]-next {
				t.Fatalf("message %d is %d bytes", i, b.iov[i].Len)
			}
			next = b.ends[end]
			if (end > first+1) != (b.calls[i].msg.Control != nil) || end > first+1 && !b.segments {
				t.Fatalf("message %d of %d packets", i, end-first)
			}
			for n := first; n < end; n++ {
				if size := int32(b.cuts[i].size); end > first+1 && (b.size(n) > size || b.size(n) < size && n != end-1) {
					t.Fatalf("message %d is cut each %d bytes, and packet %d has %d", i, size, n, b.size(n))
				}
			}
			if i > 0 && b.segments && b.size(first) <= b.size(int(b.first[i-1])) && b.size(first-1) == b.size(int(b.first[i-1])) {
				t.Fatalf("packet %d is in a message of its own for nothing", first)
			}
		}
		if int(b.first[b.m]) != b.n || next != b.ends[b.n] {
			t.Fatalf("the messages end at packet %d of %d", b.first[b.m], b.n)
		}
	})
}

// Linux 5.10 cuts 64 packets out of a message, and later ones no fewer.
func TestLongestMessage(t *testing.T) {
	b := &burst{}
	b.reset(true)
	for b.room() {
		b.add(append(b.space(), 1), 0)
	}
	if b.address(0); b.m != 1 || b.n != 64 {
		t.Errorf("%d messages of %d packets", b.m, b.n)
	}
}

// narrowLoopback makes a connected pair where datagrams of more than mtu bytes do not
// go through whole.
func narrowLoopback(t *testing.T, mtu uint32) (near, far int) {
	t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with its place
		failed <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			lo, err := unix.NewIfreq("lo")
			if err != nil {
				return err
			}
			lo.SetUint32(mtu)
			if err := unix.IoctlIfreq(fd, unix.SIOCSIFMTU, lo); err != nil {
				return err
			}
			lo.SetUint16(unix.IFF_UP)
			if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
				return err
			}
			near, far = loopbackUDP(t)
			return nil
		}()
	}()
	if err := <-failed; err != nil {
		t.Fatalf("a namespace with a narrow network: %v", err)
	}
	return near, far
}

// A viewer whose way refuses larger messages gets all packets all the same, from the
// first one on; the others go on as they did. Two refusals: the packets are larger
// than the way is wide, and the device cannot sum up what it would have to cut.
func TestWayThatRefusesLargerMessages(t *testing.T) {
	c, l, _ := allocWorld(t)
	near, far := narrowLoopback(t, 1000)
	narrow := newPeerOn(t, c, near, far, handover.AES128)
	near, far = loopbackUDP(t)
	if err := unix.SetsockoptInt(near, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
		t.Fatal(err)
	}
	sumless, wide := newPipedPlayerPath(t, c, near, far), newPipedPlayer(t, c, true)
	showPicture(t, c, l, 30, 500, 500, 500)
	narrow.shows(t, l, narrow.index)
	if !narrow.segments || sumless.segments || !wide.segments {
		t.Fatalf("messages are cut: %t, %t and %t", narrow.segments, sumless.segments, wide.segments)
	}
	for range 2 {
		showPicture(t, c, l, 30, 1188, 1188, 1188, 60)
		narrow.shows(t, l, narrow.index)
	}
	if narrow.segments || !wide.segments {
		t.Errorf("messages are cut: %t and %t", narrow.segments, wide.segments)
	}
	got := 0
	for n, err := unix.Read(far, sumless.buf[:]); err == nil; n, err = unix.Read(far, sumless.buf[:]) {
		if n > 1200 {
			t.Errorf("a datagram of %d bytes", n)
		}
		got++
	}
	if got != 14 || sumless.sent() != 14 {
		t.Errorf("%d packets came of %d", got, sumless.sent())
	}
}

// newPipedPlayerPath is a player whose packets go by a socket of the caller's.
func newPipedPlayerPath(t *testing.T, c *Core, near, far int) *pipedPlayer {
	t.Helper()
	v := newPipedPlayer(t, c, true)
	way := &v.paths[0].rtp
	way.fd, v.udp[0] = near, far
	return v
}

// A viewer who is gone refuses packets, which are lost, and delays nobody; once there
// is somebody again, packets come.
func TestViewerThatRefusesPackets(t *testing.T) {
	c, l, _ := allocWorld(t)
	near, far := loopbackUDP(t)
	name := sockaddrOf(t, far)
	away, err := unix.Dup(near)
	if err != nil {
		t.Fatal(err)
	}
	v := newPeerOn(t, c, near, far, handover.AES128)
	unix.Close(far)
	for range 5 {
		showPicture(t, c, l, 30, 1188, 30, 1188, 1188, 7, 1188)
	}
	if v.blockedAt != 0 || v.packets != 35 || !v.segments {
		t.Fatalf("%d packets are counted; blocked since %d, messages are cut: %t", v.packets, v.blockedAt, v.segments)
	}
	back, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		err = unix.Dup2(back, far)
	}
	if err == nil {
		err = unix.Bind(far, name)
	}
	if err == nil {
		err = unix.Connect(far, sockaddrOf(t, away))
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(back)
	unix.Close(away)
	showPicture(t, c, l, 30, 1188, 1188, 7)
	v.shows(t, l, v.index)
}

// A socket that takes some messages of a burst is given the others when it has room,
// each once.
func TestBurstThatIsTakenInParts(t *testing.T) {
	c, l, _ := allocWorld(t)
	v := newPipedPeer(t, c, handover.AES128)
	showPicture(t, c, l, slices.Repeat([]int{1188}, 150)...)
	if v.blockedAt == 0 || v.packet == 0 || v.packet == burstPackets {
		t.Fatalf("%d packets were taken", v.packet)
	}
	u := l.arena.unit(l.arena.unitHead - 1)
	var all []uint16
	for n := 0; n < 1000 && len(all) < int(u.count); n++ {
		if b := v.next(); b != nil {
			if _, err := v.in.DecryptRTP(nil, b, nil); err != nil {
				t.Fatal(err)
			}
			all = append(all, binary.BigEndian.Uint16(b[2:]))
			continue
		}
		v.ready(c, c.now())
	}
	for i, seq := range all {
		if seq != all[0]+uint16(i) {
			t.Fatalf("packet %d is number %d behind %d", i, seq, all[0])
		}
	}
	if len(all) != int(u.count) || v.blockedAt != 0 || v.onWay.open {
		t.Errorf("%d packets came of %d", len(all), u.count)
	}
	if v.packets != 150 || v.octets != 150*1188 {
		t.Errorf("%d packets of %d bytes are counted", v.packets, v.octets)
	}
	// What went in parts can be asked for.
	v.resend(c, v.track, all[100])
	if b := v.next(); b == nil || binary.BigEndian.Uint16(b[2:]) != all[100] {
		t.Error("a packet is not found")
	}
}
