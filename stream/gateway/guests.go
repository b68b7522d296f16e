package gateway

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// DefaultMaxViewers bounds the sessions of all streams together.
	DefaultMaxViewers = 128

	// DefaultMaxPerAddress bounds the sessions of one address.
	DefaultMaxPerAddress = 32

	// maxHalfOpen bounds the handshakes under way, and maxHalfOpenFrom those of one
	// address. Beyond it the oldest has to go, unless it is younger than halfOpenGrace:
	// a crowd that comes at once is let in one after another.
	maxHalfOpen     = 128
	maxHalfOpenFrom = 16
	halfOpenGrace   = 2 * time.Second

	// Requests of one address: so many at once, and so many a second from then on.
	requestBurst = 40
	requestRate  = 5

	// maxConns bounds open TCP connections of WHEP, sessions or not, and maxConnsFrom
	// those of one address.
	maxConns     = 512
	maxConnsFrom = 64

	// maxOrigins bounds the addresses that are kept in mind. One that has no viewer
	// and was not heard of for originTime is forgotten.
	maxOrigins = 4096
	originTime = (requestBurst/requestRate + 1) * time.Second
)

var (
	errFull        = &refusal{http.StatusServiceUnavailable, "full", "all places for viewers are taken"}
	errCrowded     = &refusal{http.StatusServiceUnavailable, "half-open", "too many viewers are just connecting; try again in a moment"}
	errManyFromYou = &refusal{http.StatusTooManyRequests, "address-full", "your address has as many viewers as one may have"}
	errTooFast     = &refusal{http.StatusTooManyRequests, "rate", "requests come too fast from your address; try again in a moment"}
)

// guests counts viewers, half-open handshakes, connections and requests, of all and of
// each address, and knows who has to wait. What comes from the device itself is the
// agent or a proxy, which speak for many: it counts among all only.
type guests struct {
	maxViewers, maxPerAddress int

	mu       sync.Mutex // guards what follows
	seats    int
	conns    int
	halfOpen *list.List             // of *seat, the oldest first
	origins  map[netip.Addr]*origin // by household
}

// origin is what one address has and does.
type origin struct {
	seats, halfOpen, conns int
	tokens                 float64 // requests that it may make at once
	at                     time.Time
}

// seat is one viewer's place. It is half-open until its handshake is done.
type seat struct {
	guests *guests
	origin *origin // nil: of the device itself
	since  time.Time
	half   *list.Element // nil: not half-open
	drop   func()        // ends the half-open viewer; nil: cannot be done yet
	left   bool
}

func newGuests(maxViewers, maxPerAddress int) *guests {
	return &guests{
		maxViewers: maxViewers, maxPerAddress: maxPerAddress,
		halfOpen: list.New(), origins: map[netip.Addr]*origin{},
	}
}

// admit takes a place for a viewer whose handshake begins.
func (g *guests) admit(addr netip.Addr, now time.Time) (*seat, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o, ok := g.origin(addr, now)
	if !ok {
		return nil, errCrowded
	}
	if o != nil {
		if o.halfOpen >= maxHalfOpenFrom && !g.dropOldest(now, func(s *seat) bool { return s.origin == o }) {
			return nil, errCrowded
		}
		if o.seats >= g.maxPerAddress {
			return nil, errManyFromYou
		}
	}
	anyone := func(*seat) bool { return true }
	if g.halfOpen.Len() >= maxHalfOpen && !g.dropOldest(now, anyone) {
		return nil, errCrowded
	}
	if g.seats >= g.maxViewers && !g.dropOldest(now, anyone) {
		return nil, errFull
	}
	s := &seat{guests: g, origin: o, since: now}
	s.half = g.halfOpen.PushBack(s)
	s.count(1, 1)
	return s, nil
}

// welcome takes a place for a viewer that the forwarder has, whatever the limits are.
func (g *guests) welcome(addr netip.Addr, now time.Time) *seat {
	g.mu.Lock()
	defer g.mu.Unlock()
	o, _ := g.origin(addr, now)
	s := &seat{guests: g, origin: o, since: now}
	s.count(1, 0)
	return s
}

// mayDrop says how the viewer is ended if others need its place before its
// handshake is done.
func (s *seat) mayDrop(drop func()) {
	s.guests.mu.Lock()
	defer s.guests.mu.Unlock()
	s.drop = drop
}

// settle says that the viewer's handshake is done. It reports false if the place
// was given to another one just before.
func (s *seat) settle() bool {
	s.guests.mu.Lock()
	defer s.guests.mu.Unlock()
	if s.half != nil {
		s.guests.halfOpen.Remove(s.half)
		s.half = nil
		s.count(0, -1)
	}
	return !s.left
}

// leave gives the place back.
func (s *seat) leave() {
	s.guests.mu.Lock()
	defer s.guests.mu.Unlock()
	s.free()
}

// free gives the place back once; the guests' mu is held.
func (s *seat) free() {
	if s.left {
		return
	}
	s.left = true
	if s.half == nil {
		s.count(-1, 0)
		return
	}
	s.guests.halfOpen.Remove(s.half)
	s.half = nil
	s.count(-1, -1)
}

func (s *seat) count(seats, halfOpen int) {
	s.guests.seats += seats
	if s.origin != nil {
		s.origin.seats += seats
		s.origin.halfOpen += halfOpen
	}
}

// dropOldest ends the oldest half-open viewer of those that match.
func (g *guests) dropOldest(now time.Time, match func(*seat) bool) bool {
	for e := g.halfOpen.Front(); e != nil; e = e.Next() {
		s := e.Value.(*seat)
		if now.Sub(s.since) < halfOpenGrace {
			return false
		}
		if s.drop != nil && match(s) {
			s.free()
			s.drop()
			return true
		}
	}
	return false
}

// request tells whether an address may ask for something now.
func (g *guests) request(addr netip.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	o, ok := g.origin(addr, now)
	if o == nil {
		return ok
	}
	if o.tokens < 1 {
		return false
	}
	o.tokens--
	return true
}

// connect tells whether an address may have one more connection; disconnect gives
// it back.
func (g *guests) connect(addr netip.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	o, ok := g.origin(addr, now)
	if !ok || g.conns >= maxConns || o != nil && o.conns >= maxConnsFrom {
		return false
	}
	g.conns++
	if o != nil {
		o.conns++
	}
	return true
}

func (g *guests) disconnect(addr netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns--
	if o := g.origins[household(addr)]; o != nil {
		o.conns--
	}
}

// halfOpenNow is how many handshakes are under way.
func (g *guests) halfOpenNow() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.halfOpen.Len()
}

// origin finds an address's books and fills its tokens up. They are nil for the
// device itself; false says that there are too many of others already.
func (g *guests) origin(addr netip.Addr, now time.Time) (*origin, bool) {
	if ownAddress(addr) {
		return nil, true
	}
	addr = household(addr)
	o := g.origins[addr]
	if o == nil {
		if len(g.origins) >= maxOrigins {
			g.forget(now)
		}
		if len(g.origins) >= maxOrigins {
			return nil, false
		}
		o = &origin{tokens: requestBurst, at: now}
		g.origins[addr] = o
	}
	o.tokens = min(requestBurst, o.tokens+now.Sub(o.at).Seconds()*requestRate)
	o.at = now
	return o, true
}

// forget drops the books of addresses of which there is nothing to know.
func (g *guests) forget(now time.Time) {
	for addr, o := range g.origins {
		if o.seats == 0 && o.conns == 0 && now.Sub(o.at) > originTime {
			delete(g.origins, addr)
		}
	}
}

// ownAddress tells whether it is the device itself that asks.
func ownAddress(addr netip.Addr) bool { return !addr.IsValid() || addr.Unmap().IsLoopback() }

// unlessOwn is an address, or none if a connection comes from the very address that it
// came to: then it is the device itself, whatever address it serves.
func unlessOwn(addr netip.Addr, local net.Addr) netip.Addr {
	if addr.Unmap() == remoteAddr(local).Unmap() {
		return netip.Addr{}
	}
	return addr
}

// turnstile is a listener that shuts out those who have too many connections already.
type turnstile struct {
	net.Listener
	guests  *guests
	refused func()
}

// Accept implements [net.Listener].
func (t turnstile) Accept() (net.Conn, error) {
	for {
		conn, err := t.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := unlessOwn(remoteAddr(conn.RemoteAddr()), conn.LocalAddr())
		if t.guests.connect(addr, time.Now()) {
			return &countedConn{Conn: conn, leave: sync.OnceFunc(func() { t.guests.disconnect(addr) })}, nil
		}
		t.refused()
		conn.Close()
	}
}

// countedConn gives its place back when it is closed.
type countedConn struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (c *countedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// remoteAddr is the IP address of a connection's other end.
func remoteAddr(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}
