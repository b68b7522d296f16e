package relay

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxLine    = 16 << 10 // one line of RTSP
	maxBody    = 1 << 20
	rtspAnswer = 10 * time.Second // a server's time for one answer
)

// RTSP stands before an RTSP server. What it spoils is RTP over UDP: the requests
// and answers pass unharmed, but for the ports in their Transport headers.
type RTSP struct {
	*network
	Witness *Witness

	listener net.Listener
	target   string
	wait     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	opened []io.Closer
	pipes  []*pipe
	inject []func([]byte) // towards the newest session's ports
	closed bool
}

// NewRTSP relays to a server's address of the loopback network, without faults at
// first.
func NewRTSP(target string, seed uint64) (*RTSP, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	r := &RTSP{network: newNetwork(seed), Witness: NewWitness(), listener: l, target: target}
	r.wait.Go(r.accept)
	return r, nil
}

// Addr is where clients connect to instead of the server's address.
func (r *RTSP) Addr() string { return r.listener.Addr().String() }

func (r *RTSP) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.wait.Go(func() { r.session(c) })
	}
}

// keep makes something end with the relay; false: the relay has ended.
func (r *RTSP) keep(c io.Closer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		c.Close()
		return false
	}
	r.opened = append(r.opened, c)
	return true
}

// session relays one connection: a request, its answer, and so on. A server that
// speaks first, as over interleaved TCP, is not for this relay.
func (r *RTSP) session(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp4", r.target)
	if err != nil || !r.keep(near) || !r.keep(far) {
		return
	}
	defer far.Close()
	nearIn, farIn := bufio.NewReaderSize(near, maxLine), bufio.NewReaderSize(far, maxLine)
	for {
		var ports *pair
		request, err := message(nearIn, func(line string) (string, error) { return r.setUp(line, &ports) })
		if err != nil {
			return
		}
		if _, err := far.Write(request); err != nil {
			return
		}
		far.SetReadDeadline(time.Now().Add(rtspAnswer))
		answer, err := message(farIn, func(line string) (string, error) { return r.agreed(line, ports) })
		if err != nil {
			return
		}
		if _, err := near.Write(answer); err != nil {
			return
		}
	}
}

// message reads one message whole, each header line changed by a function.
func message(in *bufio.Reader, change func(string) (string, error)) ([]byte, error) {
	var out strings.Builder
	size := 0
	for {
		raw, err := in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		line := strings.TrimRight(string(raw), "\r\n")
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Content-Length") {
			if size, err = strconv.Atoi(strings.TrimSpace(value)); err != nil || size < 0 || size > maxBody {
				return nil, fmt.Errorf("relay: a body of %q bytes", value)
			}
		}
		if line, err = change(line); err != nil {
			return nil, err
		}
		out.WriteString(line + "\r\n")
		if line == "" {
			break
		}
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(in, body); err != nil {
		return nil, err
	}
	return append([]byte(out.String()), body...), nil
}

var (
	clientPort = regexp.MustCompile(`client_port=(\d+)-(\d+)`)
	serverPort = regexp.MustCompile(`server_port=(\d+)-(\d+)`)
)

// pair are the sockets of one track: RTP and RTCP, towards either side.
type pair struct {
	near, far [2]*net.UDPConn
	client    [2]uint16
}

// setUp puts ports of the relay's own in the place of the client's.
func (r *RTSP) setUp(line string, ports **pair) (string, error) {
	m := clientPort.FindStringSubmatch(line)
	if m == nil || !strings.HasPrefix(strings.ToLower(line), "transport:") {
		return line, nil
	}
	p := &pair{}
	var err error
	if p.near, err = r.twoPorts(); err != nil {
		return "", err
	}
	if p.far, err = r.twoPorts(); err != nil {
		return "", err
	}
	for i := range p.client {
		n, err := strconv.ParseUint(m[1+i], 10, 16)
		if err != nil {
			return "", err
		}
		p.client[i] = uint16(n)
	}
	*ports = p
	return strings.Replace(line, m[0], "client_port="+portsOf(p.far), 1), nil
}

// agreed puts ports of the relay's own in the place of the server's, and begins to
// relay between the two.
func (r *RTSP) agreed(line string, p *pair) (string, error) {
	if p == nil || !strings.HasPrefix(strings.ToLower(line), "transport:") {
		return line, nil
	}
	if m := clientPort.FindString(line); m != "" {
		line = strings.Replace(line, m, fmt.Sprintf("client_port=%d-%d", p.client[0], p.client[1]), 1)
	}
	m := serverPort.FindStringSubmatch(line)
	if m == nil {
		return line, nil
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	r.forget()
	for i := range p.near {
		n, err := strconv.ParseUint(m[1+i], 10, 16)
		if err != nil {
			return "", err
		}
		r.join(p.near[i], netip.AddrPortFrom(loopback, p.client[i]), p.far[i], netip.AddrPortFrom(loopback, uint16(n)))
	}
	return strings.Replace(line, m[0], "server_port="+portsOf(p.near), 1), nil
}

func portsOf(pair [2]*net.UDPConn) string {
	return fmt.Sprintf("%d-%d", addrOf(pair[0]).Port(), addrOf(pair[1]).Port())
}

// twoPorts finds an even port and the odd one above it.
func (r *RTSP) twoPorts() (pair [2]*net.UDPConn, err error) {
	for range 100 {
		a, err := listen()
		if err != nil {
			return pair, err
		}
		port := int(addrOf(a).Port())
		b, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port + 1})
		if port%2 != 0 || err != nil {
			a.Close()
			if err == nil {
				b.Close()
			}
			continue
		}
		if !r.keep(a) || !r.keep(b) {
			return pair, net.ErrClosed
		}
		return [2]*net.UDPConn{a, b}, nil
	}
	return pair, fmt.Errorf("relay: no two ports: %w", err)
}

// join relays between a client and a server, both ways.
func (r *RTSP) join(near *net.UDPConn, client netip.AddrPort, far *net.UDPConn, server netip.AddrPort) {
	up := newPipe(r.network, func(b []byte) { _, _ = far.WriteToUDPAddrPort(b, server) })
	down := newPipe(r.network, func(b []byte) { _, _ = near.WriteToUDPAddrPort(b, client) })
	r.mu.Lock()
	r.pipes = append(r.pipes, up, down)
	r.inject = append(r.inject, up.send)
	r.mu.Unlock()
	r.wait.Go(func() { pump(near, up, func([]byte) {}) })
	r.wait.Go(func() { pump(far, down, r.Witness.Packet) })
}

// forget leaves the ports of earlier sessions alone: they may be anybody's now.
func (r *RTSP) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inject = nil
}

// Inject sends a packet to the server from the ports that the packets of the newest
// session's client come from.
func (r *RTSP) Inject(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, send := range r.inject {
		send(b)
	}
}

func pump(from *net.UDPConn, to *pipe, witness func([]byte)) {
	buf := make([]byte, maxDatagram)
	for {
		n, _, err := from.ReadFromUDPAddrPort(buf)
		switch {
		case err == nil:
			witness(buf[:n])
			to.packet(buf[:n])
		case !refused(err):
			return
		}
	}
}

// Close ends the relay.
func (r *RTSP) Close() {
	r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for _, c := range r.opened {
		c.Close()
	}
	r.mu.Unlock()
	r.wait.Wait()
	for _, p := range r.pipes {
		p.close()
	}
}
