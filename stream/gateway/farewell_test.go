package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

// A viewer who cannot follow a new version is told so, by the last packet that it is
// sent, and by the answer to whatever it asks of its session. Then it can join anew.
func TestViewerOfADeclaredBreakIsToldWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	before, after := sources("a-1")[0], sources("b-1")[0]
	before.Streams[0].Profile = "42e01f"
	after.Streams[0].Profile, after.Streams[0].Breaks = "64001f", true
	w.ask(t, orders.Request{Orders: &orders.Orders{}}, orders.ResultOK) // a run's declaration stands
	w.ask(t, orders.Request{Orders: &orders.Orders{Permanent: "a-1", Sources: []orders.Source{before}}}, orders.ResultOK)
	w.publish(t)
	v := join(t, w.whep)
	v.pass(t, 10)
	w.ask(t, orders.Request{Orders: &orders.Orders{
		Permanent: "a-1", Sources: []orders.Source{before, after},
		Trial: &orders.Trial{ID: "t-1", Source: "b-1", Deadline: int64(publish.Monotonic() + time.Minute)},
	}}, orders.ResultOK)
	w.publishAs(t, "b-1")
	w.hear(t, func(m orders.Message) bool { return m.Switch != nil })
	const why = "the version that runs now sends stream main as "
	select {
	case said := <-v.byes:
		if !strings.HasPrefix(said, why) || !strings.HasSuffix(said, "; play again") {
			t.Errorf("the viewer was told %q", said)
		}
	case <-time.After(patience):
		t.Error("the viewer was not told")
	}
	w.log.await(t, why)
	for _, method := range []string{http.MethodGet, http.MethodDelete, http.MethodPatch} {
		if res, text := requestText(t, method, v.location); res.StatusCode != http.StatusGone || !strings.HasPrefix(text, "this session is over: "+why) {
			t.Errorf("%s: %s %q", method, res.Status, text)
		}
	}
	for _, other := range []string{strings.Replace(v.location, "/main/", "/sub/", 1), v.location + "x"} {
		if res := request(t, http.MethodGet, other); res.StatusCode != http.StatusNotFound {
			t.Errorf("GET of a session that never was: %s", res.Status)
		}
	}
	join(t, w.whep).pass(t, 10)
}
