package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// stranger is the n-th address of a network for documentation.
func stranger(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)})
}

// try asks for a place, which may be given to others.
func try(g *guests, addr netip.Addr, now time.Time) (*seat, *bool, error) {
	dropped := new(bool)
	s, err := g.admit(addr, now)
	if err == nil {
		s.mayDrop(func() { *dropped = true })
	}
	return s, dropped, err
}

// The oldest handshake makes place for a new one, but not before it had its time.
func TestOldestHalfOpenGoesFirst(t *testing.T) {
	t.Parallel()
	g, now := newGuests(1000, 1000), time.Now()
	var dropped []*bool
	for i := range maxHalfOpen {
		_, d, err := try(g, stranger(i), now.Add(time.Duration(i)*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		dropped = append(dropped, d)
	}
	if _, _, err := try(g, stranger(maxHalfOpen), now.Add(time.Second)); !errors.Is(err, errCrowded) {
		t.Errorf("one too many, at once: %v", err)
	}
	late := now.Add(halfOpenGrace + time.Second)
	for i := range 3 {
		if _, _, err := try(g, stranger(maxHalfOpen+i), late); err != nil {
			t.Errorf("one too many, later: %v", err)
		}
	}
	for i, d := range dropped {
		if *d != (i < 3) {
			t.Errorf("handshake %d is dropped: %v", i, *d)
		}
	}
	if n := g.halfOpenNow(); n != maxHalfOpen {
		t.Errorf("%d are half-open", n)
	}
}

// One address cannot take the places of others.
func TestLimitsOfOneAddress(t *testing.T) {
	t.Parallel()
	g, now := newGuests(1000, 4), time.Now()
	me := stranger(1)
	var mine []*seat
	for range 4 {
		s, _, err := try(g, me, now)
		if err != nil || !s.settle() {
			t.Fatal(err)
		}
		mine = append(mine, s)
	}
	if _, _, err := try(g, me, now); !errors.Is(err, errManyFromYou) {
		t.Errorf("a fifth viewer: %v", err)
	}
	if _, _, err := try(g, stranger(2), now); err != nil {
		t.Errorf("another address: %v", err)
	}
	mine[0].leave()
	mine[0].leave() // once is enough
	if _, _, err := try(g, me, now); err != nil {
		t.Errorf("after one has left: %v", err)
	}
	if _, _, err := try(g, me, now); !errors.Is(err, errManyFromYou) {
		t.Errorf("two have not left: %v", err)
	}

	g = newGuests(1000, 1000)
	for range maxHalfOpenFrom {
		if _, _, err := try(g, me, now); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := try(g, me, now); !errors.Is(err, errCrowded) {
		t.Errorf("too many half-open: %v", err)
	}
	if _, _, err := try(g, me, now.Add(halfOpenGrace)); err != nil {
		t.Errorf("later, in place of the oldest: %v", err)
	}
	if n := g.halfOpenNow(); n != maxHalfOpenFrom {
		t.Errorf("%d are half-open", n)
	}

	// The networks of IPv6 are addresses; the device itself is none.
	g = newGuests(1000, 1)
	for i, c := range []struct {
		addr string
		want error
	}{
		{"2001:db8:0:1::1", nil}, {"2001:db8:0:1::2", errManyFromYou}, {"2001:db8:0:2::1", nil}, {"::ffff:192.0.2.1", nil}, {"192.0.2.1", errManyFromYou},
		{"127.0.0.1", nil}, {"127.0.0.1", nil}, {"::1", nil}, {"::1", nil},
	} {
		if _, _, err := try(g, netip.MustParseAddr(c.addr), now); !errors.Is(err, c.want) {
			t.Errorf("%d: %s: %v, want %v", i, c.addr, err, c.want)
		}
	}
}

// All places are taken: by viewers that stay, or by handshakes that do not.
func TestAllPlacesAreTaken(t *testing.T) {
	t.Parallel()
	g, now := newGuests(2, 10), time.Now()
	stays, _, _ := try(g, stranger(1), now)
	stays.settle()
	_, dropped, _ := try(g, stranger(2), now)
	if _, _, err := try(g, stranger(3), now); !errors.Is(err, errFull) {
		t.Errorf("a third: %v", err)
	}
	late := now.Add(halfOpenGrace)
	third, _, err := try(g, stranger(3), late)
	if err != nil || !*dropped {
		t.Errorf("in place of a handshake: %v, %v", err, *dropped)
	}
	third.settle()
	if _, _, err := try(g, stranger(4), late.Add(time.Hour)); !errors.Is(err, errFull) {
		t.Errorf("in place of a viewer: %v", err)
	}
	if s := g.welcome(stranger(5), now); s.left {
		t.Error("one that the forwarder has is not counted")
	}
	stays.leave()
	if _, _, err := try(g, stranger(4), late); !errors.Is(err, errFull) {
		t.Errorf("one of three of two has left: %v", err)
	}
	third.leave()
	if _, _, err := try(g, stranger(4), late); err != nil {
		t.Errorf("two of three of two have left: %v", err)
	}
}

// A handshake that ends just when its place is given away has none.
func TestPlaceIsGivenAwayAtTheEnd(t *testing.T) {
	t.Parallel()
	g, now := newGuests(1, 10), time.Now()
	first, _, _ := try(g, stranger(1), now)
	second, _, err := try(g, stranger(2), now.Add(halfOpenGrace))
	if err != nil || first.settle() || !second.settle() {
		t.Error("both have the one place")
	}
	first.leave()
	if _, _, err := try(g, stranger(3), now); !errors.Is(err, errFull) {
		t.Errorf("the place was given back twice: %v", err)
	}
}

func TestRequestRate(t *testing.T) {
	t.Parallel()
	g, now := newGuests(1, 1), time.Now()
	granted := 0
	for i := range 1000 {
		if g.request(stranger(1), now.Add(time.Duration(i)*10*time.Millisecond)) { // 10 s
			granted++
		}
	}
	if want := requestBurst + 10*requestRate; granted < want-2 || granted > want+2 {
		t.Errorf("%d of 1000 requests in 10 s, not %d", granted, want)
	}
	if !g.request(stranger(2), now) {
		t.Error("another address may not ask")
	}
	for range 1000 {
		if !g.request(netip.MustParseAddr("127.0.0.1"), now) {
			t.Fatal("the device itself may not ask")
		}
	}
}

// Whoever comes from ever new addresses fills no memory, and viewers are not
// forgotten for it.
func TestManyAddresses(t *testing.T) {
	t.Parallel()
	g, now := newGuests(10, 1), time.Now()
	s, _, _ := try(g, stranger(1), now)
	s.settle()
	for i := range 3 * maxOrigins {
		g.request(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if n := len(g.origins); n != maxOrigins {
		t.Errorf("%d addresses are kept in mind", n)
	}
	if g.request(stranger(2), now) {
		t.Error("one more address may ask at once")
	}
	late := now.Add(originTime + time.Second)
	if !g.request(stranger(2), late) || len(g.origins) > 3 {
		t.Errorf("later: %d addresses are kept in mind", len(g.origins))
	}
	if _, _, err := try(g, stranger(1), late); !errors.Is(err, errManyFromYou) {
		t.Errorf("the viewer was forgotten: %v", err)
	}
}

// idleConn is a connection from an address.
type idleConn struct {
	net.Conn
	from net.Addr
}

func (c idleConn) RemoteAddr() net.Addr { return c.from }
func (c idleConn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8889} }
func (c idleConn) Close() error         { return nil }

// lane is a listener to which connections come through a channel.
type lane struct {
	net.Listener
	come chan net.Conn
}

func (l lane) Accept() (net.Conn, error) {
	c, ok := <-l.come
	if !ok {
		return nil, io.EOF
	}
	return c, nil
}

// Connections that are only held open shut out nobody but those who hold them.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	refused := 0
	l := turnstile{lane{come: make(chan net.Conn, 1000)}, newGuests(1, 1), func() { refused++ }}
	from := func(n int) net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(stranger(n), 1)) }
	come := l.Listener.(lane).come
	for range maxConnsFrom + 10 {
		come <- idleConn{from: from(1)}
	}
	come <- idleConn{from: from(2)}
	var last net.Conn
	for range maxConnsFrom + 1 {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		last = conn
	}
	if last.RemoteAddr().String() != from(2).String() || refused != 10 {
		t.Errorf("%v came in, %d were refused", last.RemoteAddr(), refused)
	}
	last.Close()
	last.Close()
	for i := range maxConns {
		come <- idleConn{from: from(100 + i)}
	}
	close(come)
	in := 0
	for {
		if _, err := l.Accept(); err != nil {
			break
		}
		in++
	}
	if in != maxConns-maxConnsFrom {
		t.Errorf("%d connections are open", in+maxConnsFrom)
	}
}

// The limits hold for what comes by HTTP, whose addresses are the viewers'.
func TestLimitsOfRequests(t *testing.T) {
	t.Parallel()
	g, err := New(Config{Run: t.TempDir(), HTTP: "127.0.0.1:0", UDP: "127.0.0.1:0", Secret: "own-secret"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	web := g.webServer(context.Background()).Handler
	served := net.TCPAddrFromAddrPort(netip.AddrPortFrom(stranger(3), 8889))
	ask := func(from netip.Addr, bearer string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, "/whep/main", strings.NewReader(""))
		r.RemoteAddr = netip.AddrPortFrom(from, 1).String()
		r.Header.Set("Authorization", "Bearer "+bearer)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, served))
		w := httptest.NewRecorder()
		web.ServeHTTP(w, r)
		return w.Code, w.Header().Get("Retry-After")
	}
	if code, _ := ask(stranger(1), "own-secret"); code != http.StatusNoContent {
		t.Fatalf("with the right token: %d", code)
	}
	statuses := map[int]int{}
	for range requestBurst + 20 {
		code, _ := ask(stranger(1), "guess")
		statuses[code]++
	}
	if statuses[http.StatusUnauthorized] != maxMisses || statuses[http.StatusTooManyRequests] != requestBurst+20-maxMisses {
		t.Errorf("guesses were answered %v", statuses)
	}
	if code, later := ask(stranger(1), "own-secret"); code != http.StatusTooManyRequests || later == "" {
		t.Errorf("after the guesses, with the right token: %d, Retry-After %q", code, later)
	}
	if code, _ := ask(stranger(2), "own-secret"); code != http.StatusNoContent {
		t.Errorf("another address: %d", code)
	}
	for range 3 * maxMisses {
		ask(netip.MustParseAddr("127.0.0.1"), "guess")
	}
	if code, _ := ask(netip.MustParseAddr("127.0.0.1"), "own-secret"); code != http.StatusNoContent {
		t.Errorf("the agent, beside a proxy that passes guesses on: %d", code)
	}
	for range 3 * maxMisses {
		ask(stranger(3), "guess")
	}
	if code, _ := ask(stranger(3), "own-secret"); code != http.StatusNoContent {
		t.Errorf("the agent at the address of the network that it serves: %d", code)
	}
	if g.guard.locked(netip.MustParseAddr("127.0.0.1"), time.Now()) {
		t.Error("the device's own RTSP viewers have to wait because of a proxy's guests")
	}
	fast := 0
	for range 2 * requestBurst {
		if code, _ := ask(stranger(2), "own-secret"); code == http.StatusTooManyRequests {
			fast++
		}
	}
	if fast < requestBurst/2 {
		t.Errorf("%d of %d requests at once were refused", fast, 2*requestBurst)
	}
}
