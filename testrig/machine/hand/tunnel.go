package hand

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// A sealed network lets no datagrams out of the guest, not even answers, so they come
// over a connection, each behind its length in two bytes.

const (
	maxDatagram = 1<<16 - 1
	roomy       = 4 << 20 // of sockets: a second and more of video
)

// send writes datagrams that arrive at a socket to a connection, until one of them ends.
func send(to io.Writer, from net.Conn) error {
	block := make([]byte, 2+maxDatagram)
	for {
		n, err := from.Read(block[2:])
		if err != nil {
			return err
		}
		binary.BigEndian.PutUint16(block, uint16(n))
		if _, err := to.Write(block[:2+n]); err != nil {
			return err
		}
	}
}

// receive hands over the datagrams of a connection, until one of the two ends.
func receive(from io.Reader, take func([]byte) error) error {
	in, block := bufio.NewReader(from), make([]byte, maxDatagram)
	var size [2]byte
	for {
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return err
		}
		datagram := block[:binary.BigEndian.Uint16(size[:])]
		if _, err := io.ReadFull(in, datagram); err != nil {
			return err
		}
		if err := take(datagram); err != nil {
			return err
		}
	}
}

// Join is the guest's side: what comes over a connection goes to an address, from a
// socket of its own.
func Join(conn net.Conn, address string) error {
	defer conn.Close()
	to, err := net.Dial("udp4", address)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := to.(*net.UDPConn).SetReadBuffer(roomy); err != nil {
		return err
	}
	var back sync.WaitGroup
	back.Go(func() {
		defer conn.Close()
		_ = send(conn, to) // either end's end is the other's
	})
	err = receive(conn, func(p []byte) error { return deliver(to, p) })
	to.Close()
	back.Wait()
	return err
}

// deliver sends a datagram. That nobody listened to the one before says nothing of it.
func deliver(to net.Conn, p []byte) error {
	if _, err := to.Write(p); errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Tunnel is the rig's side: a port of loopback whose datagrams come out in the guest,
// those of each sender from a socket of its own.
type Tunnel struct {
	port *net.UDPConn
	to   func() string // the guest's server
	wg   sync.WaitGroup

	mu    sync.Mutex // guards what follows
	lines map[string]net.Conn
	ended bool
}

// NewTunnel opens the port.
func NewTunnel(to func() string) (*Tunnel, error) {
	port, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(port.SetReadBuffer(roomy), port.SetWriteBuffer(roomy)); err != nil {
		return nil, errors.Join(err, port.Close())
	}
	t := &Tunnel{port: port, to: to, lines: map[string]net.Conn{}}
	t.wg.Go(t.run)
	return t, nil
}

// Port is where senders send to.
func (t *Tunnel) Port() int { return t.port.LocalAddr().(*net.UDPAddr).Port }

func (t *Tunnel) run() {
	block := make([]byte, 2+maxDatagram)
	for {
		n, from, err := t.port.ReadFromUDP(block[2:])
		if err != nil {
			return // closed
		}
		line := t.line(from)
		if line == nil {
			continue // the guest is off: what is sent to it is lost
		}
		binary.BigEndian.PutUint16(block, uint16(n))
		if _, err := line.Write(block[:2+n]); err != nil {
			t.drop(from, line)
		}
	}
}

// line is a sender's connection, made if there is none.
func (t *Tunnel) line(from *net.UDPAddr) net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if line := t.lines[from.String()]; line != nil || t.ended {
		return line
	}
	line, err := net.Dial("tcp4", t.to())
	if err != nil {
		return nil
	}
	t.lines[from.String()] = line
	t.wg.Go(func() {
		defer t.drop(from, line)
		_ = receive(line, func(p []byte) error { _, err := t.port.WriteToUDP(p, from); return err })
	})
	return line
}

func (t *Tunnel) drop(from *net.UDPAddr, line net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line.Close()
	if t.lines[from.String()] == line {
		delete(t.lines, from.String())
	}
}

// Close ends all of it.
func (t *Tunnel) Close() {
	t.port.Close()
	t.mu.Lock()
	t.ended = true
	for _, line := range t.lines {
		line.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
}
