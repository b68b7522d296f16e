// Package relay is a bad network in user space: a relay for UDP between a viewer
// and a server that loses, delays, reorders and doubles packets as a seed has it.
//
// It keeps two promises: what it lets through is unchanged, and what passes it is
// witnessed ([Witness]) before anything is done to it, so that a test can say which
// packets the server really sent and whether two of them shared an index.
//
// [UDP] stands before one address, such as a gateway's port for WebRTC; each client
// has a socket of its own towards the server, as with a NAT. [RTSP] stands before an
// RTSP server and does the same with the ports that its sessions agree on.
//
// Rejected: netem, which needs a kernel module and privileges, and faults inside of
// the viewer, which would not see what the server sent.
package relay

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// Faults are what happens to packets, in both directions.
type Faults struct {
	Loss      float64       // share of packets that are lost
	Duplicate float64       // share that come twice
	Reorder   float64       // share that others overtake
	Delay     time.Duration // of every packet
	Jitter    time.Duration // at most so much more, without reordering
}

const (
	overtakeTime = 15 * time.Millisecond // what a reordered packet has to wait
	maxDatagram  = 64 << 10
	maxWaiting   = 1 << 16 // packets under way in one direction
	socketBuffer = 4 << 20
)

// network decides what happens to packets.
type network struct {
	mu     sync.Mutex // guards what follows
	rand   *rand.Rand
	faults Faults
	counts Counts
}

// Counts is what a relay has done.
type Counts struct{ Passed, Lost, Doubled, Reordered int }

func newNetwork(seed uint64) *network {
	return &network{rand: rand.New(rand.NewPCG(seed, seed))}
}

// Spoil sets what happens from now on.
func (n *network) Spoil(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// Counts is what the relay has done so far.
func (n *network) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts
}

// fate is when copies of a packet go on; none: it is lost.
func (n *network) fate() (waits []time.Duration, overtaken bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.faults
	if n.rand.Float64() < f.Loss {
		n.counts.Lost++
		return nil, false
	}
	n.counts.Passed++
	wait := f.Delay
	if f.Jitter > 0 {
		wait += time.Duration(n.rand.Int64N(int64(f.Jitter)))
	}
	if overtaken = n.rand.Float64() < f.Reorder; overtaken {
		n.counts.Reordered++
		wait += overtakeTime
	}
	waits = []time.Duration{wait}
	if n.rand.Float64() < f.Duplicate {
		n.counts.Doubled++
		waits = append(waits, wait)
	}
	return waits, overtaken
}

// pipe carries packets one way, each when it is due.
type pipe struct {
	network *network
	send    func([]byte)

	mu     sync.Mutex // guards what follows
	queue  queue
	last   time.Time // due time of the last packet that keeps its place
	order  uint64
	wake   chan struct{}
	closed bool
	done   chan struct{}
}

func newPipe(n *network, send func([]byte)) *pipe {
	p := &pipe{network: n, send: send, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go p.run()
	return p
}

// packet takes a packet, which stays the caller's.
func (p *pipe) packet(b []byte) {
	waits, overtaken := p.network.fate()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, wait := range waits {
		due := now.Add(wait)
		if !overtaken {
			if due.Before(p.last) {
				due = p.last
			}
			p.last = due
		}
		if wait == 0 && len(p.queue) == 0 {
			p.send(b)
			continue
		}
		if len(p.queue) < maxWaiting {
			p.order++
			heap.Push(&p.queue, waiting{due, p.order, append([]byte(nil), b...)})
		}
	}
	p.nudge()
}

func (p *pipe) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pipe) run() {
	defer close(p.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p.mu.Lock()
		for now := time.Now(); len(p.queue) > 0 && !p.queue[0].due.After(now); {
			p.send(heap.Pop(&p.queue).(waiting).packet)
		}
		closed, next := p.closed, time.Hour
		if len(p.queue) > 0 {
			next = time.Until(p.queue[0].due)
		}
		p.mu.Unlock()
		if closed {
			return
		}
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-p.wake:
		}
	}
}

func (p *pipe) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.nudge()
	<-p.done
}

// waiting is a packet under way.
type waiting struct {
	due    time.Time
	order  uint64 // keeps packets of one instant in their order
	packet []byte
}

type queue []waiting

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	return q[i].due.Before(q[j].due) || q[i].due.Equal(q[j].due) && q[i].order < q[j].order
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q *queue) Push(x any) { *q = append(*q, x.(waiting)) }

func (q *queue) Pop() any {
	old := *q
	w := old[len(old)-1]
	*q = old[:len(old)-1]
	return w
}

// UDP stands before one address.
type UDP struct {
	*network
	Witness *Witness

	front  *net.UDPConn
	target netip.AddrPort
	wait   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	clients map[netip.AddrPort]*client
	closed  bool
}

// client is one client's way to the server and back.
type client struct {
	back     *net.UDPConn
	up, down *pipe
}

// NewUDP relays to an address of the loopback network, without faults at first.
func NewUDP(target string, seed uint64) (*UDP, error) {
	to, err := netip.ParseAddrPort(target)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	front, err := listen()
	if err != nil {
		return nil, err
	}
	r := &UDP{network: newNetwork(seed), Witness: NewWitness(), front: front, target: to, clients: map[netip.AddrPort]*client{}}
	r.wait.Go(r.read)
	return r, nil
}

func listen() (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	_ = c.SetReadBuffer(socketBuffer) // as large as the system allows
	return c, nil
}

// Addr is where clients send to instead of the server's address.
func (r *UDP) Addr() netip.AddrPort { return addrOf(r.front) }

func addrOf(c *net.UDPConn) netip.AddrPort {
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

var candidatePort = regexp.MustCompile(`(?m)^(a=candidate:\S+ \d+ \S+ \d+ \S+ )(\d+)( )`)

// Answer turns the candidates of an SDP answer into the relay's address.
func (r *UDP) Answer(sdp string) string {
	return candidatePort.ReplaceAllString(sdp, "${1}"+strconv.Itoa(int(r.Addr().Port()))+"$3")
}

func (r *UDP) read() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := r.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if c := r.client(from); c != nil {
			c.up.packet(buf[:n])
		}
	}
}

// client finds a client's way, or makes it.
func (r *UDP) client(from netip.AddrPort) *client {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.clients[from]; c != nil || r.closed {
		return c
	}
	back, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(r.target))
	if err != nil {
		return nil // as if the packet were lost
	}
	_ = back.SetReadBuffer(socketBuffer)
	c := &client{back: back}
	c.up = newPipe(r.network, func(b []byte) { _, _ = back.Write(b) }) // a server that is away loses it
	c.down = newPipe(r.network, func(b []byte) { _, _ = r.front.WriteToUDPAddrPort(b, from) })
	r.clients[from] = c
	r.wait.Go(func() { r.readBack(c) })
	return c
}

func (r *UDP) readBack(c *client) {
	buf := make([]byte, maxDatagram)
	for {
		n, err := c.back.Read(buf)
		if err != nil {
			if refused(err) { // the server's port was closed for a moment
				continue
			}
			return
		}
		r.Witness.Packet(buf[:n])
		c.down.packet(buf[:n])
	}
}

// Inject sends a packet to the server as if from each client.
func (r *UDP) Inject(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.clients {
		_, _ = c.back.Write(b) // one that is too large is not sent
	}
}

// Close ends the relay.
func (r *UDP) Close() {
	r.front.Close()
	r.mu.Lock()
	r.closed = true
	for _, c := range r.clients {
		c.back.Close()
	}
	r.mu.Unlock()
	r.wait.Wait()
	for _, c := range r.clients {
		c.up.close()
		c.down.close()
	}
}
