package core

import (
	"encoding/binary"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
)

// heads are what packets of each codec begin with: a key frame's first one, and any
// other.
var heads = map[string][2][]byte{
	orders.H264:  {{0x65, 0x98}, {0x61, 0x98}},
	orders.H265:  {{0x26, 1, 0xaf}, {2, 1, 0xd0}},
	orders.MJPEG: {{0, 0, 0, 0, 1, 50, 40, 23}, {0, 0, 4, 0, 1, 50, 40, 23}},
	orders.Opus:  {{0xfc}, {0xfc}},
	orders.PCMU:  {{0xff}, {0xff}},
	orders.PCMA:  {{0xd5}, {0xd5}},
	orders.AAC:   {{0, 16, 0x1f, 0x30}, {0, 16, 0x1f, 0x30}}, // one frame of 998 bytes
}

// allocWorld is a core with one line and one viewer whose socket is read empty
// by fill, which also puts the next frame into the publisher's socket.
func allocWorld(t *testing.T) (c *Core, l *line, fill func()) { return allocWorldOf(t, orders.H264) }

func allocWorldOf(t *testing.T, codec string) (c *Core, l *line, fill func()) {
	c, err := New(Config{Run: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.poll.closeAll)
	err = c.obey(&orders.Orders{
		Sources:   []orders.Source{{ID: "a-1", UID: -1, Streams: []orders.Stream{{Name: "main", Codec: codec, StallMS: 250}}}},
		Permanent: "a-1",
	}, nil, c.now())
	if err != nil {
		t.Fatal(err)
	}
	pub, app := socketpair(t)
	s := c.streams["main"]
	if l, err = c.newLine(c.sources["a-1"], orders.Stream{Name: "main", Codec: codec}); err != nil {
		t.Fatal(err)
	}
	l.fd, l.pt = pub, 96
	c.sources["a-1"].lines["main"], c.lines[l.number] = l, l
	out, gateway := socketpair(t)
	v := newSubscription(out)
	v.track.join(s)
	pkt := append([]byte{0x80, 96, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, make([]byte, 1002)...)
	var n uint32
	sink := make([]byte, 4096)
	return c, l, func() {
		for i := range uint32(4) {
			key := n%40 == 0 || codec == orders.MJPEG && i == 0
			ts := n / 4 * 3000
			if l.codec.sound() {
				ts = n * uint32(l.rate) / 50
				c.poll.base += int64(time.Second) / 50 // sound is not heard faster than it is captured
			}
			pkt[1] = 96
			if i == 3 {
				pkt[1] |= rtpMarker
			}
			head := heads[codec][1]
			if key {
				head = heads[codec][0]
			}
			copy(pkt[rtpHeader:], head)
			binary.BigEndian.PutUint16(pkt[2:], uint16(n))
			binary.BigEndian.PutUint32(pkt[4:], ts)
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
func bareLine(number uint64) *line { return bareLineOf(number, h264{}) }

func bareLineOf(number uint64, codec codec) *line {
	m := &lineMemory{}
	m.line.number, m.line.pt = number, 96
	return lineOf(memory[lineMemory]{fd: -1, data: m}, &source{}, &stream{name: "main", codec: codec}, orders.Stream{Name: "main"}, codec)
}

func socketpair(t *testing.T) (a, b int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}
