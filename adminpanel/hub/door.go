package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// handshakesAtOnce bounds the work that a whole fleet, returning at once, can
	// make: the others wait in the kernel's queue, where they cost nothing.
	handshakesAtOnce = 128
	handshakeTimeout = 10 * time.Second
)

// Door is a listener whose connections have done their TLS handshake already.
type Door struct {
	tcp    net.Listener
	config *tls.Config
	log    *slog.Logger

	done   chan net.Conn
	slots  chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	owned  sync.WaitGroup
}

// NewDoor takes over a listener. Whoever has the door closes it.
func NewDoor(tcp net.Listener, config *tls.Config, log *slog.Logger) *Door {
	d := &Door{tcp: tcp, config: config, log: log, done: make(chan net.Conn), slots: make(chan struct{}, handshakesAtOnce)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.owned.Go(d.admit)
	return d
}

// admit takes a connection only when there is room for its handshake.
func (d *Door) admit() {
	for {
		select {
		case d.slots <- struct{}{}:
		case <-d.ctx.Done():
			return
		}
		conn, err := d.tcp.Accept()
		if err != nil {
			<-d.slots
			if d.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				d.log.Error("no device can call", "reason", err)
				d.pause()
				continue
			}
			d.cancel()
			return
		}
		d.owned.Go(func() { d.shake(conn) })
	}
}

// pause is for a machine that has no descriptor left.
func (d *Door) pause() {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-d.ctx.Done():
	}
}

// gone tells whether a caller has hung up already. In a storm they wait in the kernel's
// queue for longer than they have patience; whoever does the handshakes of those who have
// left comes to the others when they have left too.
func gone(raw net.Conn) bool {
	c, ok := raw.(syscall.Conn)
	if !ok {
		return false
	}
	var info *unix.TCPInfo
	fd, err := c.SyscallConn()
	if err == nil {
		_ = fd.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	}
	return err == nil && info != nil && info.State != established
}

// established is a connection whose ends are both there (TCP_ESTABLISHED).
const established = 1

func (d *Door) shake(raw net.Conn) {
	if gone(raw) {
		<-d.slots
		raw.Close()
		return
	}
	conn := tls.Server(raw, d.config)
	ctx, cancel := context.WithTimeout(d.ctx, handshakeTimeout)
	err := conn.HandshakeContext(ctx)
	cancel()
	<-d.slots
	if err != nil {
		d.log.Debug("no handshake with a device", "from", raw.RemoteAddr(), "reason", err)
		raw.Close()
		return
	}
	select {
	case d.done <- conn:
	case <-d.ctx.Done():
		raw.Close()
	}
}

// Accept implements [net.Listener].
func (d *Door) Accept() (net.Conn, error) {
	select {
	case conn := <-d.done:
		return conn, nil
	case <-d.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close ends handshakes under way, and waits for their end.
func (d *Door) Close() error {
	d.cancel()
	err := d.tcp.Close()
	d.owned.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Addr implements [net.Listener].
func (d *Door) Addr() net.Addr { return d.tcp.Addr() }
