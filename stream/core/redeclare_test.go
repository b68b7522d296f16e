package core_test

import (
	"path/filepath"
	"testing"
	"time"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/stream/subscribe"
)

// The streams of a source that runs come and go, and nobody else notices.
func TestStreamsOfARunningSourceComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay := src("relay", 0)
	only := orders.Orders{Sources: []orders.Source{relay}, Permanent: "relay"}
	w.order(only)
	w.camera("relay", 'a', 20)
	v := w.viewer()
	v.untilLetter('a', 0)
	dial := func() (*publish.Conn, error) {
		return publish.Dial(filepath.Join(w.run, "pub", "relay.sock"), "more", sdpOf(spsBaseline, ppsBaseline))
	}
	for range 3 {
		if _, err := dial(); err == nil {
			t.Fatal("a stream that is not declared was taken")
		}
		more := relay
		more.Streams = append(more.Streams[:1:1], orders.Stream{Name: "more", Codec: "h264"})
		w.order(orders.Orders{Sources: []orders.Source{more}, Permanent: "relay"})
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		sub, err := subscribe.Dial(filepath.Join(w.run, "viewers.sock"), "more", nil)
		if err != nil {
			t.Fatal(err)
		}
		w.order(only)
		select {
		case <-conn.Done():
		case <-time.After(patience):
			t.Fatal("a stream that is not declared any more goes on")
		}
		sub.Close()
	}
	v.until("more pictures", v.count()+20, any1)
	v.unbroken()
	if got := w.status().Streams; len(got) != 1 {
		t.Errorf("streams: %+v", got)
	}
}
