package relay_test

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"slipstream/testrig/relay"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			c.WriteTo(buf[:n], from)
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().String()
}

// rtp is a packet as a server might send it.
func rtp(seq uint16, payload byte) []byte {
	p := make([]byte, 40)
	p[0], p[1], p[20] = 0x80, 96, payload
	binary.BigEndian.PutUint16(p[2:], seq)
	return p
}

// through sends packets by a relay with faults, one after the other, and returns
// what came back.
func through(t *testing.T, seed uint64, faults relay.Faults, packets int) (seqs []uint16, counts relay.Counts, said relay.Testimony) {
	r, err := relay.NewUDP(echo(t), seed)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Spoil(faults)
	c, err := net.Dial("udp4", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 2048)
	for seq := range packets {
		if _, err := c.Write(rtp(uint16(seq), 1)); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(time.Millisecond)) // pacing; what comes later is read later
		if n, err := c.Read(buf); err == nil {
			seqs = append(seqs, binary.BigEndian.Uint16(buf[2:n]))
		}
	}
	for {
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := c.Read(buf)
		if err != nil {
			return seqs, r.Counts(), r.Witness.Say()
		}
		seqs = append(seqs, binary.BigEndian.Uint16(buf[2:n]))
	}
}

func TestACleanRelayChangesNothing(t *testing.T) {
	t.Parallel()
	seqs, counts, said := through(t, 1, relay.Faults{}, 300)
	if len(seqs) != 300 || counts.Passed != 600 || said.Packets != 300 || said.Missing+said.Reused+said.Again > 0 {
		t.Errorf("%d packets came back, %+v, %+v", len(seqs), counts, said)
	}
	for i, seq := range seqs {
		if int(seq) != i {
			t.Fatalf("packet %d has number %d", i, seq)
		}
	}
}

func TestFaultsAreAsAskedForAndAsTheSeedHasThem(t *testing.T) {
	t.Parallel()
	faults := relay.Faults{Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Delay: 3 * time.Millisecond, Jitter: 3 * time.Millisecond}
	seqs, counts, _ := through(t, 7, faults, 500)
	if counts.Lost < 50 || counts.Lost > 150 || counts.Doubled < 50 || counts.Reordered < 50 {
		t.Errorf("of about 1000 packets: %+v", counts)
	}
	copies, overtaken, last := map[uint16]int{}, 0, uint16(0)
	for _, seq := range seqs {
		copies[seq]++
		if seq < last {
			overtaken++
		}
		last = max(last, seq)
	}
	if len(copies) > 450 || len(copies) == len(seqs) || overtaken == 0 {
		t.Errorf("%d of 500 came, %d in all, %d were overtaken", len(copies), len(seqs), overtaken)
	}
	// The same seed loses the same share; which packets these are also depends on
	// the order in which both directions draw.
	only := relay.Faults{Loss: 1}
	if seqs, counts, _ := through(t, 7, only, 20); len(seqs) != 0 || counts.Lost != 20 {
		t.Errorf("all lost: %d came, %+v", len(seqs), counts)
	}
}

func TestTheWitnessTellsAgainFromReused(t *testing.T) {
	t.Parallel()
	w := relay.NewWitness()
	for _, seq := range []uint16{65534, 65535, 0, 2, 1, 5} {
		w.Packet(rtp(seq, 1))
	}
	w.Packet(rtp(0, 1))
	w.Packet(rtp(2, 9))
	for range 3 { // three wraps further, the same numbers are other indices
		for seq := range uint16(65535) {
			w.Packet(rtp(seq, 3))
		}
		w.Packet(rtp(65535, 3))
	}
	// 6…65535 of the first round came, 0…5 of it twice: 0, 1, 2 and 5 with other bytes.
	said := w.Say()
	if said.Again != 1 || said.Reused != 1+4 || said.Missing != 0 {
		t.Errorf("%+v", said)
	}
}
