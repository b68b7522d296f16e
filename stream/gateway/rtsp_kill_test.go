package gateway_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"
)

// watcher is gortsplib's client, whose packets are counted and whose numbers are
// watched.
type watcher struct {
	client *gortsplib.Client
	got    atomic.Int64
	holes  atomic.Int64
	ended  chan error
}

func watch(t *testing.T, url string, protocol gortsplib.Protocol) *watcher {
	t.Helper()
	u, err := base.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{client: &gortsplib.Client{Scheme: u.Scheme, Host: u.Host, Protocol: &protocol, ListenPacket: listenRoomy}, ended: make(chan error, 1)}
	if err := w.client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	d, _, err := w.client.Describe(u)
	if err == nil {
		err = w.client.SetupAll(d.BaseURL, d.Medias)
	}
	if err != nil {
		t.Fatal(err)
	}
	var next uint16
	w.client.OnPacketRTPAny(func(_ *description.Media, _ format.Format, pkt *rtp.Packet) {
		if w.got.Add(1) > 1 && pkt.SequenceNumber != next {
			w.holes.Add(1)
		}
		next = pkt.SequenceNumber + 1
	})
	if _, err := w.client.Play(nil); err != nil {
		t.Fatal(err)
	}
	go func() { w.ended <- w.client.Wait() }()
	return w
}

// passes waits until a watcher has had so many packets more.
func (w *watcher) passes(t *testing.T, n int64) {
	t.Helper()
	want := w.got.Load() + n
	for until := time.Now().Add(patience); w.got.Load() < want; {
		select {
		case err := <-w.ended:
			t.Fatalf("a viewer ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(until) {
			t.Fatalf("a viewer got %d packets of %d", w.got.Load(), want)
		}
	}
	if h := w.holes.Load(); h > 0 {
		t.Errorf("%d holes in a viewer's numbers", h)
	}
}

// The gateway is killed. RTSP viewers of either transport play on, through a switch
// and a revert; what is the gateway's to answer is refused until there is a new
// one, which then answers, and takes new viewers at the same address.
func TestRTSPViewersOutliveTheGateway(t *testing.T) {
	t.Parallel()
	w := newStage(t)
	w.forward(t)
	w.publish(t)
	at, kill := w.spawnAt(t, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0")
	url := "rtsp://" + at[2] + "/main"
	watchers := []*watcher{watch(t, url, gortsplib.ProtocolTCP), watch(t, url, gortsplib.ProtocolUDP)}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	var playing sync.WaitGroup
	for _, p := range append(rtspPlayers("tcp")[:2], rtspPlayers("udp")[:2]...) {
		playing.Go(func() {
			if err := p.play(ctx, url, 300); err != nil { // ten seconds
				t.Errorf("%s: %v", p.name, err)
			}
		})
	}
	for w.viewers(t) < 6 {
		watchers[0].passes(t, 5)
	}
	conn, err := net.Dial("tcp", at[2])
	if err != nil {
		t.Fatal(err)
	}
	raw := converse(t, conn)
	raw.play(t, url)

	kill()
	w.swap(t)
	for _, v := range watchers {
		v.passes(t, 60)
	}
	for _, c := range []struct{ method, want string }{{"OPTIONS", "200"}, {"GET_PARAMETER", "200"}, {"DESCRIBE", "503"}} {
		raw.between(t, c.method, url, c.want)
	}
	again, _ := w.spawnAt(t, at...)
	if again[2] != at[2] {
		t.Fatalf("the new gateway is at %s", again[2])
	}
	watchers = append(watchers, watch(t, url, gortsplib.ProtocolTCP), watch(t, url, gortsplib.ProtocolUDP))
	w.swap(t)
	for _, v := range watchers {
		v.passes(t, 60)
	}
	raw.between(t, "DESCRIBE", url, "200")
	raw.between(t, "PAUSE", url, "455")
	raw.between(t, "TEARDOWN", url, "200")
	playing.Wait()
}

// between asks a question whose answer stands between packets.
func (c *conversation) between(t *testing.T, method, url, want string) {
	t.Helper()
	c.conn.SetDeadline(time.Now().Add(patience))
	c.send(t, method+" "+url+" RTSP/1.0\r\nCSeq: 77\r\nSession: "+c.session+"\r\n\r\n")
	for {
		first, err := c.r.Peek(1)
		if err != nil {
			t.Fatal(err)
		}
		if first[0] != '$' {
			break
		}
		c.packet(t)
	}
	if status, _ := c.answer(t); !strings.HasPrefix(status, "RTSP/1.0 "+want+" ") || c.header.Get("CSeq") != "77" {
		t.Errorf("%s: %s; want %s", method, status, want)
	}
}
