package live

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// However packets come, twice, late or not at all, they are given out once and in
// order, and what is missing is asked for, or skipped when it is late.
func TestOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint16().Draw(t, "first")
		lost := rapid.SliceOfNDistinct(rapid.IntRange(1, 98), 0, 20, rapid.ID[int]).Draw(t, "lost")
		var come []uint16
		for i := range 100 {
			if !slices.Contains(lost, i) {
				come = append(come, first+uint16(i))
			}
		}
		// The first one stays: where a stream begins nobody can know.
		rest := rapid.Permutation(append(come[1:], come[1:]...)).Draw(t, "comes")
		var o order
		var got []uint16
		give := func(pkt []byte) { got = append(got, binary.BigEndian.Uint16(pkt)) }
		now := time.Unix(0, 0)
		for _, seq := range append(come[:1:1], rest...) {
			if !o.take(seq, binary.BigEndian.AppendUint16(nil, seq), now, give) {
				t.Fatal("the stream was taken for another one")
			}
		}
		var missing []int
		for _, seq := range o.missing(now.Add(askEvery)) {
			missing = append(missing, int(seq-first))
		}
		slices.Sort(lost)
		if !slices.Equal(missing, lost) {
			t.Fatalf("%v are asked for, %v are lost", missing, lost)
		}
		for range lost {
			if now = now.Add(giveUp + 1); o.late(now) {
				o.skip(now, give)
			}
		}
		if !slices.Equal(got, come) {
			t.Fatalf("given out %v, came %v", got, come)
		}
	})
}

// A stream that goes on far away is another one.
func TestOrderAfterALongSilence(t *testing.T) {
	t.Parallel()
	var o order
	var got int
	give := func([]byte) { got++ }
	o.take(5, nil, time.Now(), give)
	if o.take(5+maxWaiting+1, nil, time.Now(), give) || got != 2 || len(o.waiting) > 0 {
		t.Errorf("%d were given out, %d wait", got, len(o.waiting))
	}
	for seq := range uint16(3 * maxWaiting) { // bounded, whatever is missing
		o.take(5+maxWaiting+3+seq, nil, time.Now(), give)
	}
	if len(o.waiting) > maxWaiting {
		t.Errorf("%d wait", len(o.waiting))
	}
}
