package core

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
)

// pipedPlayer is an RTSP viewer of allocWorld's stream, whose other end the test
// reads by itself.
type pipedPlayer struct {
	*player
	far int    // of the connection
	udp [4]int // over UDP: of the two sockets, far and near
	buf [1 << 20]byte
}

// descriptor takes a connection's descriptor out of the runtime's hands.
func descriptor(t testing.TB, conn interface{ File() (*os.File, error) }) int {
	t.Helper()
	f, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func loopbackTCP(t testing.TB) (near, far int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	near, far = descriptor(t, a.(*net.TCPConn)), descriptor(t, b.(*net.TCPConn))
	t.Cleanup(func() { unix.Close(far) })
	return near, far
}

func loopbackUDP(t testing.TB) (near, far int) {
	t.Helper()
	a, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := net.DialUDP("udp4", nil, a.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	near, far = descriptor(t, b), descriptor(t, a)
	if err := unix.Connect(far, sockaddrOf(t, near)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(far) })
	return near, far
}

func sockaddrOf(t testing.TB, fd int) unix.Sockaddr {
	t.Helper()
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return sa
}

func newPipedPlayer(t testing.TB, c *Core, udp bool) *pipedPlayer {
	t.Helper()
	near, far := loopbackTCP(t)
	return newPlayerOn(t, c, near, far, udp)
}

func newPlayerOn(t testing.TB, c *Core, near, far int, udp bool) *pipedPlayer {
	t.Helper()
	c.streams["main"].sdp = []byte("v=0")
	c.streams["main"].followed = c.sources["a-1"].lines["main"]
	v := &pipedPlayer{far: far}
	fds := []int{near}
	if udp {
		for i := range 2 {
			near, far := loopbackUDP(t)
			v.udp[i] = far
			fds = append(fds, near)
		}
	}
	err := c.servePlayer(&handover.Player{
		ID: fmt.Sprintf("p%d", len(c.players)), Session: "s", UDP: udp, TimeoutMS: 60_000, Reply: []byte("RTSP/1.0 200 OK\r\n\r\n"),
		Tracks: []handover.Track{{Stream: "main", SSRC: 7, PayloadType: 96, Channel: 2}},
	}, fds, c.now())
	if err != nil {
		t.Fatal(err)
	}
	v.player = c.players[fmt.Sprintf("p%d", len(c.players)-1)]
	return v
}

// drain reads what has come, and returns how much that was.
func (v *pipedPlayer) drain() (n int) {
	for _, fd := range []int{v.far, v.udp[0], v.udp[1]} {
		for fd > 0 {
			more, err := unix.Read(fd, v.buf[:])
			if err != nil || more == 0 {
				break
			}
			n += more
		}
	}
	return n
}

// TestPlayerPathAllocs runs a publisher's frames through to RTSP viewers of both
// kinds, with a report from each, and one to it.
func TestPlayerPathAllocs(t *testing.T) {
	for _, udp := range []bool{false, true} {
		c, l, fill := allocWorld(t)
		v := newPipedPlayer(t, c, udp)
		rr := []byte{0x81, rtcpReceiver, 0, 7, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5}
		to, says, ready := v.far, append([]byte{'$', 3, 0, byte(len(rr))}, rr...), func() { v.ready(c, c.now()) }
		if udp {
			to, says, ready = v.udp[1], rr, func() { v.paths[0].rtcp.ready(c, c.now()) }
		}
		frame := func() {
			fill()
			l.ready(c, c.now())
			unix.Write(to, says)
			ready()
			v.tellTime(c, c.now())
			c.advance(c.now())
			v.drain()
		}
		for range 200 {
			frame()
		}
		packets := v.sent()
		if n := testing.AllocsPerRun(500, frame); n != 0 {
			t.Errorf("udp %t: %v allocations a frame", udp, n)
		}
		if v.sent() < packets+2000 || v.refused != 0 || v.reception.lost != 1 {
			t.Errorf("udp %t: %d packets, %d refused, %+v", udp, v.sent()-packets, v.refused, v.reception)
		}
	}
}

// unframe takes a connection's bytes apart: packets on channels, and replies as
// what stands between them.
func unframe(t *testing.T, all []byte) (packets [][]byte, replies string) {
	t.Helper()
	for len(all) > 0 {
		if all[0] != '$' {
			end := bytes.Index(all, []byte("\r\n\r\n"))
			if !bytes.HasPrefix(all, []byte("RTSP/1.0 ")) || end < 0 {
				t.Fatalf("neither packet nor reply: %q", all[:min(len(all), 60)])
			}
			replies += string(all[:end+4])
			all = all[end+4:]
			continue
		}
		if len(all) < 4 {
			t.Fatalf("%d bytes are left", len(all))
		}
		n := 4 + int(binary.BigEndian.Uint16(all[2:]))
		if len(all) < n {
			t.Fatalf("%d bytes are left of %d", len(all), n)
		}
		if all[1] == 2 {
			packets = append(packets, all[4:n])
		}
		all = all[n:]
	}
	return packets, replies
}

// Wherever the connection cuts a packet, the rest of it goes first.
func TestCutAtEveryByte(t *testing.T) {
	c, l, fill := allocWorld(t)
	v := newPipedPlayer(t, c, false)
	v.drain()
	for range 3 {
		fill()
		l.ready(c, c.now())
	}
	tr := v.tracks[0]
	v.drain()
	u := l.arena.unit(l.arena.unitHead - 1)
	tr.unit, tr.packet = l.arena.unitHead-1, 0
	first := *tr.trackState
	c.gather(tr, u, 2)
	var whole []byte
	for i := range c.batch.n {
		whole = append(whole, c.batch.heads[i][:]...)
		whole = append(whole, unsafe.Slice(c.batch.iov[2*i+1].Base, c.batch.payload(i))...)
	}
	if len(whole) != 4*(interleavedHeader+rtpHeader+1002) {
		t.Fatalf("the unit has %d bytes", len(whole))
	}
	for n := range len(whole) + 1 {
		*tr.trackState = first
		c.gather(tr, u, 2)
		v.took(c, tr, n)
		if !v.sendUnit(c, tr, u) {
			t.Fatal("the connection is full")
		}
		got, err := unix.Read(v.far, v.buf[n:])
		if err != nil && n < len(whole) {
			t.Fatal(err)
		}
		copy(v.buf[:], whole[:n])
		if !bytes.Equal(v.buf[:n+max(got, 0)], whole) || tr.packet != u.count || tr.index != first.index+4 {
			t.Fatalf("cut at %d: %d bytes followed, the cursor is at %d of %d packets", n, got, tr.packet, u.count)
		}
	}
}

// A connection takes what it takes: packets come whole, in order, and replies
// between them. A pair of unix sockets has no window that opens late.
func TestPartialWrites(t *testing.T) {
	c, l, fill := allocWorld(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[1]) })
	v := newPlayerOn(t, c, pair[0], pair[1], false)
	var all []byte
	cuts := map[int32]bool{}
	asked := 0
	read := func(most int) {
		if n, err := unix.Read(v.far, v.buf[:most]); err == nil {
			all = append(all, v.buf[:n]...)
		}
	}
	for round := range 3000 {
		unix.SetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 2304+round*13%4096)
		if v.blockedAt == 0 {
			fill()
			l.ready(c, c.now())
		}
		if round%50 == 0 {
			fmt.Fprintf(fdWriter(v.far), "OPTIONS * RTSP/1.0\r\nCSeq: %d\r\n\r\n", asked)
			asked++
		}
		if n := v.kept.to - v.kept.from; n > 0 {
			cuts[n] = true
		}
		read(1 + round*7%997)
		if v.ready(c, c.now()); v.fd < 0 {
			t.Fatal("the viewer was closed")
		}
	}
	for v.blockedAt != 0 || !v.kept.empty() {
		read(len(v.buf))
		v.ready(c, c.now())
	}
	c.closeViewer(&v.viewer, handover.EndedAsked, "")
	for before := -1; before < len(all); {
		before = len(all)
		read(len(v.buf))
	}
	packets, replies := unframe(t, all)
	for i, p := range packets {
		if seq := binary.BigEndian.Uint16(p[2:]); seq != uint16(i) {
			t.Fatalf("packet %d is number %d", i, seq)
		}
	}
	if n := strings.Count(replies, "Public: "); n != asked || len(packets) < 200 || len(cuts) < 100 {
		t.Errorf("%d of %d requests were answered, between %d packets, of which some were cut in %d ways", n, asked, len(packets), len(cuts))
	}
}

type fdWriter int

func (fd fdWriter) Write(b []byte) (int, error) { return unix.Write(int(fd), b) }

// A viewer whose connection is full is waited for. If it was lapped meanwhile, it
// goes on with a key frame, behind the rest of the packet that was cut.
func TestLappedPlayer(t *testing.T) {
	c, l, fill := allocWorld(t)
	v := newPipedPlayer(t, c, false)
	unix.SetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 100_000)
	play := func(frames int) {
		for range frames {
			fill()
			l.ready(c, c.now())
		}
	}
	for range 10_000 {
		if v.blockedAt != 0 {
			break
		}
		play(1)
	}
	for written := uint64(0); written < v.written; { // what the kernel can still move is moved
		written = v.written
		v.ready(c, c.now())
	}
	since, before := v.blockedAt, v.sent()
	if v.ready(c, c.now()); v.blockedAt != since {
		t.Error("a viewer that takes nothing is waited for anew")
	}
	play(arenaUnits + 100) // the arena goes once around
	if v.sent() != before || v.blockedAt == 0 {
		t.Fatal("the connection never became full")
	}
	var all []byte
	for v.blockedAt != 0 || !v.kept.empty() {
		if n, err := unix.Read(v.far, v.buf[:]); err == nil {
			all = append(all, v.buf[:n]...)
		}
		v.ready(c, c.now())
	}
	play(3)
	c.closeViewer(&v.viewer, handover.EndedAsked, "")
	for n, err := 1, error(nil); n > 0 || err != nil; {
		if n, err = unix.Read(v.far, v.buf[:]); err == nil {
			all = append(all, v.buf[:n]...)
		}
	}
	packets, _ := unframe(t, all)
	if len(packets) <= int(before) || since == 0 {
		t.Fatalf("%d packets, %d of them before", len(packets), before)
	}
	for i, p := range packets {
		if seq := binary.BigEndian.Uint16(p[2:]); seq != uint16(i) {
			t.Fatalf("packet %d is number %d", i, seq)
		}
	}
	if next := packets[before]; next[12]&0x1f != nalIDR {
		t.Errorf("a viewer that was lapped goes on with %x", next[:14])
	}
}

// What the gateway is late for keeps its order; one that is too late is let go.
func TestGatewayThatReadsLate(t *testing.T) {
	c, _, _ := allocWorld(t)
	near, far := socketpair(t)
	fd, err := unix.FcntlInt(uintptr(near), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.gateway = &gatewayConn{fd: fd}
	if err := c.poll.add(fd, unix.EPOLLIN, c.gateway); err != nil {
		t.Fatal(err)
	}
	for i := range maxUnread {
		c.answer(handover.Message{Taken: fmt.Sprint(i)})
	}
	if len(c.gateway.queue) < 100 {
		t.Fatalf("%d messages wait", len(c.gateway.queue))
	}
	var m handover.Message
	buf := make([]byte, handover.MaxMessage)
	for i := range maxUnread {
		n, err := unix.Read(far, buf)
		if err == unix.EAGAIN {
			c.gateway.ready(c, c.now())
			n, err = unix.Read(far, buf)
		}
		if err != nil || json.Unmarshal(buf[:n], &m) != nil || m.Taken != fmt.Sprint(i) {
			t.Fatalf("message %d: %q, %v", i, buf[:n], err)
		}
	}
	if c.gateway.ready(c, c.now()); len(c.gateway.queue) != 0 || wakes(c, fd, 0) {
		t.Error("a gateway that has read everything is still written to")
	}
	for range 3 * maxUnread {
		c.answer(handover.Message{Taken: "x"})
	}
	if c.gateway != nil {
		t.Error("a gateway that reads nothing is kept")
	}
}
