package machine

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"slipstream/agent/control"
	"slipstream/testrig/machine/hand"
	"slipstream/testrig/viewer"
)

// WHEP is where a stream is watched by WebRTC.
func (m *Machine) WHEP(stream string) string {
	return "http://" + m.address(portWHEP) + "/whep/" + stream
}

// RTSP is where a stream is watched by RTSP.
func (m *Machine) RTSP(stream string) string {
	return "rtsp://" + m.address(portRTSP) + "/" + stream
}

// joinLimit bounds the steps of joining a stream.
const joinLimit = 2 * time.Minute

// Watch joins a stream from outside, by [viewer.WHEP] or [viewer.RTSPTCP].
func (m *Machine) Watch(ctx context.Context, kind, stream string, options ...viewer.Option) (*viewer.Viewer, error) {
	options = append(options, viewer.Within(joinLimit))
	switch kind {
	case viewer.WHEP:
		if m.media == nil {
			t, err := hand.NewTunnel(func() string { return m.address(portMedia) })
			if err != nil {
				return nil, err
			}
			m.media = t
		}
		return viewer.DialWHEP(ctx, m.WHEP(stream), append(options, viewer.Answer(m.outside))...)
	case viewer.RTSPTCP:
		return viewer.DialRTSP(ctx, kind, m.RTSP(stream), options...)
	}
	return nil, fmt.Errorf("no viewer of kind %q can look into a machine", kind)
}

// Reach lets the guest call a port of our loopback, at the same port of its own, over all
// its runs. It is for one port.
func (m *Machine) Reach(port int) (err error) {
	if m.reach == nil {
		m.reach, err = hand.NewReach(port, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), func() string { return m.address(portLent) })
	}
	return err
}

// outside puts the forwarded port into an answer's candidates, as a router's
// administrator would have mapped the same one.
func (m *Machine) outside(answer string) string {
	inside := fmt.Sprintf(" %s %d ", guestAddress, guestMedia)
	return strings.ReplaceAll(answer, inside, fmt.Sprintf(" 127.0.0.1 %d ", m.media.Port()))
}

// Agent asks the machine's agent over its own socket, which the hand joins to one here.
func (m *Machine) Agent() (*control.Client, error) {
	if m.relay == nil {
		r, err := newRelay(filepath.Join(m.dir, "agent.sock"), func() string { return m.address(portAgent) })
		if err != nil {
			return nil, err
		}
		m.relay = r
	}
	return control.Dial(m.relay.path), nil
}

// relay carries what comes to a unix socket to an address.
type relay struct {
	path     string
	listener net.Listener
	to       func() string
	wg       sync.WaitGroup
	held     hand.Held
}

func newRelay(path string, to func() string) (*relay, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	r := &relay{path: path, listener: l, to: to}
	r.wg.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return // closed
			}
			r.wg.Go(func() { r.carry(from) })
		}
	})
	return r, nil
}

func (r *relay) carry(from net.Conn) {
	if !r.held.Hold(from) {
		return
	}
	defer r.held.Drop(from)
	to, err := net.Dial("tcp4", r.to())
	if err != nil || !r.held.Hold(to) {
		return
	}
	defer r.held.Drop(to)
	// Whichever side ends, the other has nothing to say any more.
	var both sync.WaitGroup
	both.Go(func() { defer r.held.Drop(to); _, _ = io.Copy(to, from) })
	both.Go(func() { defer r.held.Drop(from); _, _ = io.Copy(from, to) })
	both.Wait()
}

func (r *relay) close() {
	r.listener.Close()
	r.held.End()
	r.wg.Wait()
}
