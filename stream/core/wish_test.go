package core_test

import (
	"testing"
	"time"

	"slipstream/stream/orders"
)

// A source whose publisher passes no wishes on is asked through the agent, and the
// publisher as ever; of another source the agent hears nothing.
func TestWishesForKeyFramesGoToTheAgentWhereNobodyElseTakesThem(t *testing.T) {
	w := newWorld(t)
	by := func(id string, wishes bool) orders.Source {
		s := src(id, 0)
		s.KeyWishes = wishes
		return s
	}
	w.order(orders.Orders{Sources: []orders.Source{by("a-1", true), by("b-2", false)}, Permanent: "a-1"})
	a, b := w.camera("a-1", 'a', 5), w.camera("b-2", 'b', 5)
	v := w.viewer()
	v.untilLetter('a', 0)
	w.order(orders.Orders{
		Sources: []orders.Source{by("a-1", true), by("b-2", false)}, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Minute),
	})
	for range 3 { // all are asked while a trial lasts
		m := w.await("a wish", func(m orders.Message) bool { return m.KeyWish != nil })
		if *m.KeyWish != (orders.KeyWish{Source: "a-1", Stream: "main"}) {
			t.Errorf("the agent hears of %+v", *m.KeyWish)
		}
	}
	for _, c := range []*camera{a, b} {
		select {
		case <-c.conn.KeyFrames():
		case <-time.After(patience):
			t.Errorf("camera %c was not asked itself", c.letter)
		}
	}
}
