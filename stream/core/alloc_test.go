package core

import (
	"encoding/binary"
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
)

// allocWorld is a core with one line and one viewer whose socket is read empty
// by fill, which also puts the next frame into the publisher's socket.
func allocWorld(t *testing.T) (c *Core, l *line, fill func()) {
	c, err := New(Config{Run: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.poll.closeAll)
	err = c.obey(&orders.Orders{
		Sources:   []orders.Source{{ID: "a-1", UID: -1, Streams: []orders.Stream{{Name: "main", Codec: "h264", StallMS: 250}}}},
		Permanent: "a-1",
	}, nil, c.now())
	if err != nil {
		t.Fatal(err)
	}
	pub, app := socketpair(t)
	s := c.streams["main"]
	if l, err = c.newLine(c.sources["a-1"], orders.Stream{Name: "main", Codec: orders.H264}); err != nil {
		t.Fatal(err)
	}
	l.fd, l.pt = pub, 96
	c.sources["a-1"].lines["main"], c.lines[l.number] = l, l
	out, gateway := socketpair(t)
	v := newSubscription(out)
	v.track.join(s)
	pkt := append([]byte{0x80, 96, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0x65, 0x98}, make([]byte, 1000)...)
	var n uint32
	sink := make([]byte, 4096)
	return c, l, func() {
		for i := range uint32(4) {
			pkt[1], pkt[12] = 96, 0x61
			if n%40 == 0 {
				pkt[12] = 0x65
			}
			if i == 3 {
				pkt[1] |= rtpMarker
			}
			binary.BigEndian.PutUint16(pkt[2:], uint16(n))
			binary.BigEndian.PutUint32(pkt[4:], n/4*3000)
			n++
			unix.Write(app, pkt)
		}
		for {
			if _, err := unix.Read(gateway, sink); err != nil {
				return
			}
		}
	}
}

// bareLine is a line in ordinary memory, of no forwarder.
func bareLine(number uint64) *line {
	m := &lineMemory{}
	m.line.number, m.line.pt = number, 96
	return lineOf(memory[lineMemory]{fd: -1, data: m}, &source{}, &stream{name: "main"}, orders.Stream{Name: "main"}, h264{})
}

func socketpair(t *testing.T) (a, b int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}
