package core

import (
	"log/slog"
	"testing"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// benchShape is a picture at 2 Mbit/s as an encoder sends it: a small unit in front,
// and fragments.
var benchShape = []int{60, 1188, 1188, 1188, 1188, 1188, 1188, 1188, 500}

const benchViewers = 100

// BenchmarkUnit sends one access unit to a hundred viewers over UDP, beside what the
// same system calls cost alone on the same sockets, and what one call for each packet
// costs. Nobody reads at the other ends, so receiving is not measured.
func BenchmarkUnit(b *testing.B) {
	for _, kind := range []string{"whep", "rtsp"} {
		b.Run(kind, func(b *testing.B) {
			c, l, fds := benchWorld(b, kind)
			showPicture(b, c, l, benchShape...)
			report := func(b *testing.B) {
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchViewers*len(benchShape)), "ns/packet")
			}
			b.Run("ours", func(b *testing.B) {
				for b.Loop() {
					for _, t := range l.stream.tracks {
						t.unit--
						t.pump(c)
					}
				}
				report(b)
			})
			burst := &c.burst // as it was sent to the last one
			b.Run("floor", func(b *testing.B) {
				for b.Loop() {
					for _, fd := range fds {
						sendMany(fd, burst.calls[:burst.m])
					}
				}
				report(b)
			})
			b.Run("one by one", func(b *testing.B) {
				for b.Loop() {
					for _, fd := range fds {
						for i := range burst.n {
							sendDatagram(fd, burst.bytes[burst.ends[i]:burst.ends[i+1]])
						}
					}
				}
				report(b)
			})
		})
	}
}

// benchWorld is a core with a line and viewers of one kind.
func benchWorld(b *testing.B, kind string) (c *Core, l *line, fds []int) {
	c, err := New(Config{Run: b.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.poll.closeAll)
	err = c.obey(&orders.Orders{
		Sources:   []orders.Source{{ID: "a-1", UID: -1, Streams: []orders.Stream{{Name: "main", Codec: orders.H264}}}},
		Permanent: "a-1",
	}, nil, c.now())
	if err == nil {
		l, err = c.newLine(c.sources["a-1"], orders.Stream{Name: "main", Codec: orders.H264})
	}
	if err != nil {
		b.Fatal(err)
	}
	l.fd, l.pt = 0, 96
	c.sources["a-1"].lines["main"], c.lines[l.number] = l, l
	for range benchViewers {
		if kind == "whep" {
			fds = append(fds, newUDPPeer(b, c, handover.AES128).fd)
		} else {
			fds = append(fds, newPipedPlayer(b, c, true).paths[0].rtp.fd)
		}
	}
	return c, l, fds
}
