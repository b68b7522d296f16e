package core

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// mortal is a WebRTC viewer whose process can end inside of the call that sends
// packets, or behind it: what it had come to was not noted, or not as done.
type mortal struct {
	*pipedPeer
	lives  int // bursts that are sent until then
	left   int // packets of the last one that left
	noted  bool
	memory record
}

func (m *mortal) sendUnit(c *Core, t *track, u *unit) bool {
	whole := t.sendBursts(c, u, m)
	if m.lives == 0 && m.noted {
		m.memory = *m.place.record
		m.memory.tracks[0].onWay.open = true
	}
	return whole
}

func (m *mortal) pack(dst []byte, head *[rtpHeader]byte, payload []byte, index uint64) []byte {
	return m.peer.pack(dst, head, payload, index)
}

func (m *mortal) give(c *Core, t *track) (int, bool) {
	switch m.lives--; {
	case m.lives < 0:
		return 0, true // dead
	case m.lives > 0:
		return m.peer.give(c, t)
	}
	m.memory = *m.place.record
	if c.burst.n = min(c.burst.n, m.left); c.burst.n > 0 {
		m.peer.give(c, t)
	}
	return m.left, true
}

// rise goes on from the memory as the process left it.
func (m *mortal) rise(t *testing.T, c *Core) {
	t.Helper()
	*m.place.record = m.memory
	m.track.leave()
	m.peer.out, m.peer.blockedAt = m.peer, 0
	if err := m.peer.again(c); err != nil {
		t.Fatal(err)
	}
}

// An index is one packet's, whenever the process dies and whatever the next one has
// to send: the same line, while the viewer catches up, another one, or what has come
// when the line's memory was gone around once.
func TestIndicesOfPacketsOnTheirWay(t *testing.T) {
	for lives := 1; lives <= 3; lives++ {
		for left := range 5 { // of four
			for kind := range 6 {
				then, noted := kind%3, kind >= 3
				t.Run(fmt.Sprintf("burst %d, %d left, %s, noted %t", lives, left, [...]string{"same line", "another line", "lapped"}[then], noted), func(t *testing.T) {
					c, l, fill := allocWorld(t)
					for range 5 {
						fill()
						l.ready(c, c.now())
					}
					v := newPipedPeer(t, c, handover.AES128)
					first := uint16(v.index)
					m := &mortal{pipedPeer: v, lives: lives, left: left, noted: noted}
					v.peer.out = m
					v.track.pump(c)
					if m.lives > 0 {
						t.Fatal("it did not die")
					}
					if then == 1 {
						c.streams["main"].followed = anotherLine(t, c)
					}
					sent := map[uint16][]byte{}
					read := func() {
						for b := v.next(); b != nil; b = v.next() {
							seq := binary.BigEndian.Uint16(b[2:])
							if before := sent[seq]; before != nil && !bytes.Equal(before, b) {
								t.Fatalf("index %d of two packets", seq-first)
							}
							sent[seq] = bytes.Clone(b)
						}
					}
					read()
					m.rise(t, c)
					if then == 2 {
						v.blockedAt = c.now()
						for range arenaUnits {
							fill()
							l.ready(c, c.now())
						}
						v.blockedAt = 0
					}
					for range 20 { // the pair of sockets holds little
						v.pump(c)
						read()
						v.blockedAt = 0
					}
					if len(sent) <= 4*lives || len(sent) != int(uint16(v.index)-first) {
						t.Errorf("%d packets under %d indices", len(sent), uint16(v.index)-first)
					}
				})
			}
		}
	}
}

// anotherLine is one of the same stream, with pictures of its own.
func anotherLine(t *testing.T, c *Core) *line {
	t.Helper()
	l, err := c.newLine(c.sources["a-1"], orders.Stream{Name: "main", Codec: orders.H264})
	if err != nil {
		t.Fatal(err)
	}
	fds := [2]int{}
	fds[0], fds[1] = socketpair(t)
	l.fd, l.pt, c.lines[l.number] = fds[0], 96, l
	for n := range uint16(3) {
		pkt := append([]byte{0x80, 96 | rtpMarker, 0, byte(n), 0, 0, byte(n), 0, 1, 2, 3, 4, 0x65, 0x98}, make([]byte, 500)...)
		if refusal := l.packet(c, append(l.arena.space()[:0], pkt...)); refusal != "" {
			t.Fatal(refusal)
		}
	}
	return l
}

// A successor that was killed in the midst of its work leaves nothing that the one
// before cannot go on from.
func TestGoOnBehindASuccessor(t *testing.T) {
	c, l, fill := allocWorld(t)
	v := newPipedPeer(t, c, handover.AES128)
	play := func() (packets int) {
		fill()
		l.ready(c, c.now())
		return v.drain()
	}
	if play() == 0 {
		t.Fatal("nothing is sent")
	}
	lines := c.records.memory.data.lines

	// It had begun a line, and put the viewer on it.
	v.onLine, v.unit = c.records.nextLine(), 1000
	// It died between a packet and its count.
	c.keeper.keep(lineName(keptMemory, l), l.memory.fd)
	l.arena.begin(c.now(), c.now())
	l.arena.space()
	l.arena.append(100)
	l.arena.packetHead++
	// It had taken a viewer, whose keys come again.
	other := v.spec
	other.ID, other.SRTP.LocalKey = "two", bytes.Repeat([]byte{9}, 16)
	place, err := c.records.take(&other)
	if err != nil {
		t.Fatal(err)
	}
	place.kind = peerRecord
	successors := newUsedKeys(&c.records.memory.data.keys)
	successors.add(nameKey(&other.SRTP))

	index := v.index
	c.goOn(lines)
	if place.kind != freeRecord {
		t.Error("the place of a viewer that the successor took is not free")
	}
	if o := &l.arena.open; l.arena.packetHead != o.first+uint64(o.count) {
		t.Error("the arena has a packet that no unit has")
	}
	l.arena.open = unit{}
	if !c.used.has(nameKey(&other.SRTP)) {
		t.Error("keys that the successor has used are taken again")
	}
	for n := 0; play() == 0; n++ {
		if n > 100 {
			t.Fatal("a viewer that the successor had put on a line of its own sees nothing more")
		}
	}
	if v.index < index {
		t.Error("indices are used again")
	}

	// It had ended the viewer.
	c.peers["one"].place.free()
	c.goOn(lines)
	if c.peers["one"] != nil || v.fd >= 0 {
		t.Error("a viewer that the successor has ended is still served, with a state of zeros")
	}
}

// The names of what the successor began are let go: a publisher whose connection is
// kept, and read by nobody, would wait for ever.
func TestGoOnLetsGoOfNames(t *testing.T) {
	c, _, _ := allocWorld(t)
	said := listenKeeper(t, c)
	lines := c.records.memory.data.lines
	number := c.records.nextLine()
	c.goOn(lines)
	if want := fmt.Sprintf("FDSTOREREMOVE=1\nFDNAME=line.%d", number); !said()[want] {
		t.Errorf("%q is not said", want)
	}
}

// listenKeeper has the core's descriptors kept by the test, who hears what is said.
func listenKeeper(t *testing.T, c *Core) (said func() map[string]bool) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	path := c.config.Run + "/n"
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	fds := c.keeper.fds
	c.keeper = newKeeper(path)
	c.keeper.fds = fds
	t.Cleanup(c.keeper.close)
	return func() map[string]bool {
		all := map[string]bool{}
		for buf := make([]byte, 4096); ; {
			n, errno := receive(fd, buf)
			if errno == eagain {
				return all
			}
			all[string(buf[:max(n, 0)])] = true
		}
	}
}

// A keeper that reads nothing costs as much as there are names, and hears in the end
// how it stands, and that the forwarder serves.
func TestLateKeeper(t *testing.T) {
	c, _, _ := allocWorld(t)
	said := listenKeeper(t, c)
	for n := 0; len(c.keeper.late) == 0; n++ {
		c.keeper.say(fmt.Sprintf("name.%d", n))
	}
	c.keeper.say(readyName)
	for range 1000 {
		c.keeper.say("viewer.1.0")
	}
	c.keeper.drop("ledger")
	c.keeper.all()
	if most := len(c.keeper.fds) + 5; len(c.keeper.late) > most {
		t.Errorf("%d words wait for %d names", len(c.keeper.late), most)
	}
	all := map[string]bool{}
	for len(c.keeper.late) > 0 {
		for word := range said() {
			all[word] = true
		}
		c.keeper.flush()
	}
	for word := range said() {
		all[word] = true
	}
	for _, want := range []string{readyName, "FDSTOREREMOVE=1\nFDNAME=ledger", "FDSTOREREMOVE=1\nFDNAME=viewer.1.0"} {
		if !all[want] {
			t.Errorf("%q was never said", want)
		}
	}
}

// A lock that is of no use any more is not kept: its number is another descriptor's
// soon, and no successor could be given it.
func TestLockThatIsOfNoUse(t *testing.T) {
	c, l, _ := allocWorld(t)
	m, err := newMemory[[4096]byte]("lock")
	if err != nil {
		t.Fatal(err)
	}
	m.data[0] = 1
	fd, err := unix.Dup(m.fd)
	if err != nil {
		t.Fatal(err)
	}
	m.close()
	w, err := openLock([]int{fd})
	if err != nil {
		t.Fatal(err)
	}
	l.lock = w
	c.keeper.keep(lineName(keptLock, l), fd)
	w.ended.Store(true)
	alarms(c.poll.event).ready(c, c.now())
	if _, kept := c.keeper.fds[lineName(keptLock, l)]; kept {
		t.Error("a closed descriptor is kept")
	}
}

// What a process had not yet forgotten of a viewer when it died is not the next one's.
func TestRecordsBeginEmpty(t *testing.T) {
	c, _, _ := allocWorld(t)
	at := c.records.place(0)
	at.tracks[0].sent.head, at.peer.reports = 7, 7
	at, err := c.records.take(&handover.Viewer{ID: "x"})
	if err != nil || at.tracks[0].sent.head != 0 || at.peer.reports != 0 {
		t.Errorf("%v, %+v", err, at.peer)
	}
}

// The line of a stream that no version has any more is given back.
func TestLineOfAStreamThatIsGone(t *testing.T) {
	c, l, _ := allocWorld(t)
	s := c.streams["main"]
	s.followed = l
	err := c.obey(&orders.Orders{
		Sources:   []orders.Source{{ID: "b-2", UID: -1, Streams: []orders.Stream{{Name: "other", Codec: orders.H264}}}},
		Permanent: "b-2",
	}, nil, c.now())
	if err != nil {
		t.Fatal(err)
	}
	l.fd = -1 // as allocWorld's is in no epoll set
	c.forgetLines(c.now() + 2*int64(lineGrace))
	if len(c.lines) != 0 {
		t.Errorf("%d lines are left", len(c.lines))
	}
}

// Orders that contradict what is under way change nothing.
func TestOrdersThatContradict(t *testing.T) {
	c, _, _ := allocWorld(t)
	source := func(id, stream string) orders.Source {
		return orders.Source{ID: orders.SourceID(id), UID: -1, Streams: []orders.Stream{{Name: stream, Codec: orders.H264}}}
	}
	all := []orders.Source{source("a-1", "main"), source("b-2", "main"), source("b-3", "main")}
	order := func(trial string, sources ...orders.Source) error {
		o := &orders.Orders{Sources: sources, Permanent: "a-1", Trial: &orders.Trial{ID: "t", Source: orders.SourceID(trial), Deadline: c.now() + int64(lineGrace)}}
		return c.obey(o, nil, c.now())
	}
	if err := order("b-2", all...); err != nil {
		t.Fatal(err)
	}
	if order("b-3", all...) == nil {
		t.Error("a trial under way changed its source")
	}
	if order("b-2", all[0], source("b-2", "other")) == nil {
		t.Error("a source under way changed its streams")
	}
	c.advance(c.now())
	if c.trial.phase != armed || c.trial.source != "b-2" || c.streams["main"] == nil {
		t.Errorf("%+v", c.trial)
	}
}

// A viewer that asks for what is gone is looked after no longer than one that asks
// for what is there.
func TestLooksForLostPackets(t *testing.T) {
	c, l, fill := allocWorld(t)
	v := newPipedPeer(t, c, handover.AES128)
	fill()
	l.ready(c, c.now())
	for range 100 {
		v.resendPair(c, v.track, uint16(v.index-30_000), 0xffff, c.now())
	}
	if v.resends != resendLimit || v.resent != 0 {
		t.Errorf("%d were looked for and %d found", v.resends, v.resent)
	}
}

// Descriptors in a message that nobody will read end the sender's credit, too: each
// may keep a thread waiting that closes it.
func TestForeignDescriptorsAtTheEnd(t *testing.T) {
	c, _, _ := allocWorld(t)
	src := c.sources["a-1"]
	for _, rights := range [][]byte{nil, unix.UnixRights(src.listen)} {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[1])
		if err := unix.Sendmsg(fds[1], []byte("Smain"), rights, nil, 0); err != nil {
			t.Fatal(err)
		}
		c.refusePublisher(src, fds[0], "too many")
		if banned := src.listen < 0; banned != (rights != nil) {
			t.Errorf("banned: %t, behind %d bytes of rights", banned, len(rights))
		}
	}
	src.ready(c, c.now()) // which was due in the same turn
}
