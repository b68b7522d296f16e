package gateway_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun"
	"golang.org/x/sys/unix"

	"slipstream/stream/gateway"
	"slipstream/stream/handover"
)

// scrape reads the gateway's metrics, by name and labels.
func scrape(t *testing.T, w *world) map[string]float64 {
	t.Helper()
	res, err := http.Get("http://" + w.gateway.MetricsAddr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && name != "#" {
			values[strings.TrimPrefix(name, "slipstream_gateway_")], _ = strconv.ParseFloat(value, 64)
		}
	}
	return values
}

// withMetrics makes a gateway tell what it counts.
func withMetrics(c *gateway.Config) { c.Metrics = "127.0.0.1:0" }

// What the gateway does can be read from its metrics.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMetrics)
	if n := scrape(t, w)["forwarder_connected"]; n != 0 {
		t.Errorf("the forwarder is connected: %v", n)
	}
	f := newFake(t, w)
	f.change(func() { f.known = []handover.Known{old("one", newSocket(t).LocalAddr())} })
	v := join(t, w.whep)
	f.viewer()
	post(t, w.whep, "application/sdp", "hello")
	await(t, "viewers in the metrics", func() bool { return scrape(t, w)[`viewers{kind="whep",stream="main"}`] == 2 })
	m := scrape(t, w)
	for name, want := range map[string]float64{
		`joins_total{kind="whep",stream="main"}`: 1, `refusals_total{reason="offer"}`: 1, "forwarder_connected": 1,
		"handover_seconds_count": 1, "handshake_seconds_count": 1, "half_open": 0,
	} {
		if m[name] != want {
			t.Errorf("%s is %v, not %v", name, m[name], want)
		}
	}
	if m[`datagrams_total{fate="passed"}`] == 0 {
		t.Error("no datagrams are counted")
	}
	request(t, http.MethodDelete, v.location)
	await(t, "viewer's end in the metrics", func() bool { return scrape(t, w)[`viewers{kind="whep",stream="main"}`] == 1 })
	for path, want := range map[string]int{"/healthz": 200, "/": 404, "/whep/main": 404} {
		if res := request(t, http.MethodGet, "http://"+w.gateway.MetricsAddr().String()+path); res.StatusCode != want {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

// halfOpenEnv is how many offers TestHalfOpenSessions makes, if not 2000.
const halfOpenEnv = "SLIPSTREAM_TEST_HALF_OPEN"

// Thousands of offers of which nothing comes leave the gateway as it was, and who has
// a viewer's place keeps it.
func TestHalfOpenSessions(t *testing.T) {
	t.Parallel()
	halfOpen := 2000
	if text := os.Getenv(halfOpenEnv); text != "" {
		var err error
		if halfOpen, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, withMetrics)
	f := newFake(t, w)
	f.change(func() { f.known = []handover.Known{old("one", newSocket(t).LocalAddr())} })
	offer := newOffer(t, newPeer(t))
	var answered, refused atomic.Int64
	most := 0.0
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	var asking sync.WaitGroup
	offers := make(chan int)
	for range 8 {
		asking.Go(func() {
			for range offers {
				r, _ := http.NewRequestWithContext(ctx, http.MethodPost, w.whep, strings.NewReader(offer))
				r.Header.Set("Content-Type", "application/sdp")
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Error(err)
					continue
				}
				res.Body.Close()
				switch {
				case res.StatusCode == http.StatusCreated:
					answered.Add(1)
				case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
					refused.Add(1)
				default:
					t.Errorf("an offer: %s", res.Status)
				}
			}
		})
	}
	for i := range halfOpen {
		offers <- i
		if i%500 == 499 {
			m := scrape(t, w)
			most = max(most, m["half_open"])
		}
	}
	close(offers)
	asking.Wait()
	if most > 128 || most == 0 || answered.Load()+refused.Load() != int64(halfOpen) {
		t.Errorf("%v half-open at once; %d were answered, %d refused", most, answered.Load(), refused.Load())
	}
	check(t, w, newSocket(t), *f.known[0].ICE, nominate)
	if moved := f.moved(); moved.Moved.ID != "one" {
		t.Errorf("%+v moved", moved.Moved)
	}
	// Someone honest, who comes again when told to, gets in.
	var last *http.Response
	await(t, "place for an honest viewer", func() bool {
		last, _ = post(t, w.whep, "application/sdp", offer)
		return last.StatusCode == http.StatusCreated
	})
	t.Logf("%d answered, %d refused, at most %v at once, %d goroutines", answered.Load(), refused.Load(), most, runtime.NumGoroutine())
}

// Datagrams of all bad kinds, without end: those who belong here notice nothing.
func TestFloodOfDatagrams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMetrics)
	f := newFake(t, w)
	known := old("one", newSocket(t).LocalAddr())
	f.change(func() { f.known = []handover.Known{known} })
	w.log.await(t, "the forwarder is there")

	forged, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(known.ICE.LocalUfrag+":theirs"), nominate,
		stun.NewShortTermIntegrity(known.ICE.LocalPwd), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	forged.Raw[len(forged.Raw)-12] ^= 1 // in the integrity
	stranger := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername("nobody:theirs"), stun.NewShortTermIntegrity("x"), stun.Fingerprint)
	hello := append([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 120, 1, 0, 0, 108}, make([]byte, 116)...)
	bad := [][]byte{forged.Raw, stranger.Raw, hello, make([]byte, 9000), make([]byte, 60_000), {0, 1}, {0}, {128, 200}, []byte("hello")}

	stop := make(chan struct{})
	var flooding sync.WaitGroup
	defer flooding.Wait()
	defer close(stop)
	for n := range 3 {
		flooding.Go(func() {
			for i := 0; ; i++ {
				// Every few come from another address, as if it were made up. They are not
				// more than the port can read even if this machine is slow: what the kernel
				// drops for want of room hits everybody.
				from, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, byte(n+1), byte(i>>8), byte(i))})
				if err != nil {
					t.Error(err)
					return
				}
				for k := range 2 * len(bad) {
					from.WriteTo(bad[k%len(bad)], w.gateway.UDPAddr())
				}
				from.Close()
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
	}
	for range 5 {
		join(t, w.whep)
		f.viewer()
		check(t, w, newSocket(t), *known.ICE)
	}
	await(t, "count of each kind", func() bool {
		m := scrape(t, w)
		for _, fate := range []string{"unproven", "stranger", "oversized", "answered", "passed"} {
			if m[`datagrams_total{fate="`+fate+`"}`] < 5 {
				return false
			}
		}
		return true
	})
	for len(f.got) > 0 {
		h := <-f.got
		if h.Moved == nil {
			continue
		}
		peer, err := unix.Getpeername(h.socket)
		if a, ok := peer.(*unix.SockaddrInet4); err != nil || !ok || a.Addr != [4]byte{127, 0, 0, 1} {
			t.Errorf("a forged check moved a viewer to %v, %v", peer, err)
		}
	}
}
