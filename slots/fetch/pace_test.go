package fetch_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/slots/fetch"
)

// arrived is how many bytes a connection's kernel has taken in.
func arrived(t *testing.T, c *net.TCPConn) int64 {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	var failed error
	if err := raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return int64(info.Bytes_received)
}

// stream sends packets to a socket that counts them, until it is stopped, and
// returns how many came of how many.
func stream(t *testing.T, packet time.Duration, size int) (stop func() (sent, came int)) {
	t.Helper()
	in, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	out, err := net.DialUDP("udp4", nil, in.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	end, sent, came := make(chan struct{}), make(chan int, 1), make(chan int, 1)
	go func() {
		n, tick := 0, time.NewTicker(packet)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if _, err := out.Write(make([]byte, size)); err == nil {
					n++
				}
			case <-end:
				out.Write(nil) // the last one
				sent <- n
				return
			}
		}
	}()
	go func() {
		defer in.Close()
		buf := make([]byte, 64<<10)
		for n := 0; ; n++ {
			if got, err := in.Read(buf); err != nil || got == 0 {
				came <- n
				return
			}
		}
	}()
	return func() (int, int) {
		close(end)
		defer out.Close()
		return <-sent, <-came
	}
}

// TestLimitIsKeptBesideAStream: neither the reader nor the kernel ahead of it takes
// in more than the limit allows, however fast the line, and a stream beside it loses
// nothing.
func TestLimitIsKeptBesideAStream(t *testing.T) {
	t.Parallel()
	const rate, size, burst = 250_000, 512 << 10, 12_500
	const window = 2 * rate / 4 // the kernel doubles what it is told, for its own needs
	s := httptest.NewServer(served(patterned))
	t.Cleanup(s.Close)
	l := fetch.Limits{MaxRate: rate}
	client := fetch.NewClient(l)
	var conn *net.TCPConn
	transport := client.Transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err == nil {
			conn = c.(*net.TCPConn)
		}
		return c, err
	}
	f, err := fetch.Open(client, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	d := fetch.Begin(f, l)
	defer d.Close()
	stop := stream(t, 5*time.Millisecond, 1200) // 2 Mbit/s
	start := time.Now()
	r, err := d.Range(t.Context(), 0, size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []byte
	for piece := make([]byte, 256<<10); len(got) < size; {
		n, err := r.Read(piece)
		if n == 0 && err != nil {
			t.Fatal(err)
		}
		got = append(got, piece[:n]...)
		taken := arrived(t, conn) // before the clock is read, for a machine that stands still between
		allowed := int64(time.Since(start).Seconds() * rate)
		if int64(len(got)) > allowed+burst {
			t.Fatalf("%d bytes were read where %d are allowed", len(got), allowed+burst)
		}
		if taken > allowed+burst+window {
			t.Fatalf("the kernel took in %d bytes where %d are allowed", taken, allowed+burst+window)
		}
	}
	took := time.Since(start)
	if !bytes.Equal(got, patterned[:size]) {
		t.Error("other bytes came")
	}
	if sent, came := stop(); came != sent || sent == 0 {
		t.Errorf("%d of the stream's %d packets came", came, sent)
	}
	t.Logf("%d bytes in %v: %.0f a second of %d", size, took, size/took.Seconds(), rate)
}

// TestLimitByTheClock: over a long time the limit is what is got, to the byte.
func TestLimitByTheClock(t *testing.T) {
	t.Parallel()
	const rate = 10_000
	inBubble(t, fetch.Limits{MaxRate: rate}, served(patterned), func(t *testing.T, c *timed) {
		got, err := read(t.Context(), c.Download, block)
		if err != nil || !bytes.Equal(got, patterned) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if want := time.Duration(block) * time.Second / rate; c.took() < want-time.Second || c.took() > want {
			t.Errorf("took %v, want %v", c.took(), want)
		}
	})
}
