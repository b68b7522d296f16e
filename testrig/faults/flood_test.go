package faults_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v3"

	"slipstream/stream/publish"
	"slipstream/testrig/stand"
	"slipstream/testrig/standtest"
	"slipstream/testrig/viewer"
)

// calm is a stand with a version that plays and viewers who watch it.
func calm(t *testing.T, change ...func(*stand.Config)) (*standtest.World, stand.Part, []*viewer.Viewer) {
	t.Helper()
	w := standtest.New(t, change...)
	part := stand.NewPart("a-1", "1.0", 0)
	w.Must(w.Order(w.Ctx, nil, part))
	w.Play(part, stand.Scene{Version: "1.0", Rate: 50, GOP: 10, Bytes: 2500})
	return w, part, w.Watch("1.0")
}

// offer is what a browser would send.
func offer(t *testing.T) string {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	o, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	return o.SDP
}

// crowd does something many times, several at once.
func crowd(times, atOnce int, do func(i int)) {
	var wait sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for i := range times {
		turns <- struct{}{}
		wait.Go(func() {
			defer func() { <-turns }()
			do(i)
		})
	}
	wait.Wait()
}

// mostHalfOpen is how many sessions may be on their way at once.
const mostHalfOpen = 128

// Ten thousand sessions are begun and never established. The gateway keeps few of
// them, viewers see nothing of it, and one who comes after is let in.
func TestHalfOpenSessionsHarmNobody(t *testing.T) {
	t.Parallel()
	w, _, viewers := calm(t, func(c *stand.Config) { c.Metrics = true })
	from := publish.Monotonic()
	body := offer(t)
	var mu sync.Mutex
	answers := map[int]int{}
	crowd(standtest.Rounds(200, 10_000), 16, func(int) {
		ctx, cancel := context.WithTimeout(w.Ctx, 10*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.WHEP(), strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("Content-Type", "application/sdp")
		status := 0
		if res, err := http.DefaultClient.Do(r); err == nil {
			status = res.StatusCode
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		mu.Lock()
		answers[status]++
		mu.Unlock()
	})
	t.Logf("answers by status: %v", answers)
	half, err := w.Metric(w.Ctx, "slipstream_gateway_half_open")
	w.Must(err)
	if answers[http.StatusCreated] == 0 || half > mostHalfOpen {
		t.Errorf("%d sessions are half open, %d allowed; answers %v", half, mostHalfOpen, answers)
	}
	late := w.Join("1.0", func() (*viewer.Viewer, error) { return viewer.DialWHEP(w.Ctx, w.WHEP()) })
	for _, v := range append(viewers, late) {
		w.Clean(v, "1.0", from)
	}
}

// Strangers open connections to every port and say nothing, or rubbish, while
// datagrams rain on the media port.
func TestFloodsHarmNobody(t *testing.T) {
	t.Parallel()
	w, _, viewers := calm(t)
	from := publish.Monotonic()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	dice := rand.New(rand.NewPCG(1, 1))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(dice.Uint32())
		}
		return b
	}
	for i := range standtest.Rounds(300, 3000) {
		for _, address := range []string{w.HTTPAddress(), w.RTSPAddress()} {
			c, err := net.DialTimeout("tcp4", address, 5*time.Second)
			if err != nil {
				continue // the port is full: that is the strangers' affair
			}
			open = append(open, c)
			if i%3 == 0 {
				c.SetWriteDeadline(time.Now().Add(time.Second))
				_, _ = c.Write(noise(500))
			}
		}
		if len(open) > 400 {
			for _, c := range open[:200] {
				c.Close()
			}
			open = open[200:]
		}
	}
	u, err := net.Dial("udp4", w.UDPAddress())
	w.Must(err)
	defer u.Close()
	check := []byte{0, 1, 0, 24, 0x21, 0x12, 0xa4, 0x42} // a STUN request, RFC 8489 §5
	for i := range standtest.Rounds(20_000, 500_000) {
		b := noise(60)
		if i%2 == 0 {
			copy(b, check)
		}
		_, _ = u.Write(b)
	}
	for _, v := range viewers {
		w.Clean(v, "1.0", from)
	}
	for _, c := range open {
		c.Close()
	}
	open = nil
	w.Watch("1.0")
}

// A forwarder and a gateway are as large after a thousand viewers and as many
// switches as after the first.
func TestNothingGrows(t *testing.T) {
	t.Parallel()
	w, part, viewers := calm(t, func(c *stand.Config) { c.Metrics = true })
	other := stand.NewPart("b-1", "2.0", 0)
	w.Must(w.Order(w.Ctx, nil, part, other))
	w.Play(other, stand.Scene{Version: "2.0", Rate: 50, GOP: 10, Phase: 5, Bytes: 2500})
	from := publish.Monotonic()
	visit := func(round int) {
		t.Helper()
		guests := w.Watch("1.0")
		id, err := w.Try(w.Ctx, part, other)
		w.Must(err)
		_, err = w.Switched(w.Ctx, id)
		w.Must(err)
		for i, v := range guests {
			if i == round%3 { // one stays a little longer than the others
				defer v.Close()
				continue
			}
			v.Close()
		}
		_, err = w.Revert(w.Ctx, id)
		w.Must(err)
	}
	size := func() stand.Size {
		t.Helper()
		s, err := w.Size(w.Ctx)
		w.Must(err)
		return s
	}
	// Whatever is made once is made now; the arenas are as large as they get after
	// some hundred rounds of pictures.
	for round := range standtest.Rounds(5, 250) {
		visit(round)
	}
	before := size()
	rounds := standtest.Rounds(15, 400)
	for round := range rounds {
		visit(round)
	}
	limit, tick := time.After(time.Minute), time.Tick(100*time.Millisecond)
	for after := size(); ; after = size() {
		err := after.Within(before)
		if err == nil {
			t.Logf("after %d switches and %d viewers: %+v, before %+v", 2*rounds, 3*rounds, after, before)
			break
		}
		select {
		case <-tick:
		case <-limit:
			t.Fatalf("after %d switches and %d viewers: %v", 2*rounds, 3*rounds, err)
		}
	}
	for _, v := range viewers {
		w.Clean(v, "1.0", from)
	}
}
