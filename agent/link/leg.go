package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"slipstream/agent/control"
	"slipstream/agent/wire"
)

const (
	// legBuffer is what of a leg may wait between the forwarder and the link. A panel
	// that takes less than there is makes the forwarder wait, which goes on with the
	// latest key frame then.
	legBuffer = 128 << 10
	// legPiece is how much of a leg goes into the connection at a time: the link's lines
	// wait for no more.
	legPiece = 16 << 10
)

// Forwarder is a backend whose streams can be sent out.
type Forwarder interface {
	// OpenLeg has a stream sent on a connected socket, which stays the caller's to
	// close: packets in datagrams, or each behind its length if framed. It returns what
	// is sent. ended is called when that is over.
	OpenLeg(ctx context.Context, leg wire.Leg, socket *os.File, framed bool, ended func()) ([]wire.LegTrack, error)
	// EndLeg ends a leg, and does nothing if it is gone.
	EndLeg(id string)
}

// legs are the streams that go to the panel. Nobody waits for the panel here: the
// forwarder sends, and drops whole pictures that the panel does not take.
type legs struct {
	id        *Identity
	forwarder Forwarder // nil: the device has none
	log       *slog.Logger
	running   sync.WaitGroup // of those that go by the link's connection
	opening   sync.Mutex     // held while one is opened

	mu    sync.Mutex // guards what follows
	known map[string]*leg
}

// leg is one of them.
type leg struct {
	wire.Leg
	link *conn              // by which it was asked for
	stop context.CancelFunc // ends what carries it
}

func newLegs(id *Identity, backend control.Backend, log *slog.Logger) *legs {
	f, _ := backend.(Forwarder)
	return &legs{id: id, forwarder: f, log: log, known: map[string]*leg{}}
}

// open brings a stream to the panel, in place of another leg of the stream.
func (l *legs) open(ctx context.Context, c *conn, spec wire.Leg) ([]wire.LegTrack, error) {
	if l.forwarder == nil {
		return nil, errors.New("this device has no forwarder")
	}
	l.opening.Lock()
	defer l.opening.Unlock()
	if len(l.of(func(g *leg) bool { return g.ID == spec.ID })) > 0 {
		return nil, errors.New("there is one of that name; each needs a name of its own")
	}
	for _, old := range l.of(func(g *leg) bool { return g.Stream == spec.Stream }) {
		l.end(old.ID)
	}
	if len(l.of(func(*leg) bool { return true })) >= wire.MaxLegs {
		return nil, fmt.Errorf("it has %d already, as many as there may be", wire.MaxLegs)
	}
	near, far, err := l.socket(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer near.Close() // the forwarder has its own
	carried, stop := context.WithCancel(context.Background())
	g := &leg{Leg: spec, link: c, stop: stop}
	l.add(g)
	tracks, err := l.forwarder.OpenLeg(ctx, spec, near, far != nil, func() { l.forget(g) })
	if err != nil {
		l.forget(g)
		if far != nil {
			far.Close()
		}
		return nil, err
	}
	if far != nil {
		l.running.Go(func() { l.carry(carried, g, far) })
	}
	l.log.Info("a stream goes to the panel", "stream", spec.Stream, "leg", spec.ID, "udp", spec.UDP > 0)
	if c.left.Load() { // meanwhile: who ends what is of the link did not see it
		l.end(spec.ID)
	}
	return tracks, nil
}

// socket makes what a leg goes by. far is the other end of one that is not connected
// to the panel itself.
func (l *legs) socket(ctx context.Context, spec wire.Leg) (near *os.File, far net.Conn, err error) {
	if spec.UDP == 0 {
		return pair()
	}
	h, _ := l.id.now()
	if h == nil {
		return nil, nil, errNoPanel
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", net.JoinHostPort(h.base.Hostname(), strconv.Itoa(spec.UDP)))
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	near, err = c.(*net.UDPConn).File()
	return near, nil, err
}

func pair() (near *os.File, far net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket: %w", err)
	}
	near = os.NewFile(uintptr(fds[0]), "leg")
	other := os.NewFile(uintptr(fds[1]), "leg")
	defer other.Close() // far is a copy
	if err = unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, legBuffer); err == nil {
		far, err = net.FileConn(other)
	}
	if err != nil {
		near.Close()
		return nil, nil, fmt.Errorf("make a socket: %w", err)
	}
	return near, far, nil
}

// carry brings a leg over the link's connection, until one of its ends lets go of it.
func (l *legs) carry(ctx context.Context, g *leg, far net.Conn) {
	defer l.end(g.ID)
	defer far.Close()
	defer context.AfterFunc(ctx, func() { far.Close() })()
	if err := l.request(ctx, g.ID, far); err != nil && ctx.Err() == nil {
		l.log.Warn("a stream does not go to the panel any more", "stream", g.Stream, "leg", g.ID, "cause", err)
	}
}

func (l *legs) request(ctx context.Context, id string, far net.Conn) error {
	h, _ := l.id.now()
	if h == nil {
		return errNoPanel
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.base.JoinPath(wire.LegPath, id).String(), pieces{far})
	if err != nil {
		return err
	}
	resp, err := l.id.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the panel answers %s", resp.Status)
	}
	_, err = io.Copy(far, resp.Body)
	return err
}

// pieces gives a stream out in pieces that delay nobody.
type pieces struct{ net.Conn }

func (p pieces) Read(buf []byte) (int, error) { return p.Conn.Read(buf[:min(len(buf), legPiece)]) }

func (l *legs) add(g *leg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known[g.ID] = g
}

func (l *legs) of(which func(*leg) bool) (found []*leg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.known {
		if which(g) {
			found = append(found, g)
		}
	}
	return found
}

// forget ends what carries a leg that the forwarder does not send any more.
func (l *legs) forget(g *leg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[g.ID] == g {
		delete(l.known, g.ID)
	}
	g.stop()
}

// end ends a leg. The forwarder may have one from before this process began.
func (l *legs) end(id string) {
	if l.forwarder == nil || !wire.IsLegID(id) {
		return
	}
	for _, g := range l.of(func(g *leg) bool { return g.ID == id }) {
		l.forget(g)
	}
	l.forwarder.EndLeg(id)
}

// leave ends what was asked for by a link that has ended.
func (l *legs) leave(c *conn) {
	c.left.Store(true)
	for _, g := range l.of(func(g *leg) bool { return g.link == c }) {
		l.end(g.ID)
	}
}

func (l *legs) wait() { l.running.Wait() }
