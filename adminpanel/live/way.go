package live

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"slipstream/agent/wire"
)

// legs are the legs that may come just now.
type legs struct {
	udp *net.UDPConn // nil: none come by UDP

	mu     sync.Mutex // guards what follows
	bySSRC map[uint32]*receiver
	byAt   map[netip.AddrPort]*receiver
	byID   map[string]*receiver // by the link's connection; each comes once
}

func newLegs(address string) (*legs, error) {
	l := &legs{bySSRC: map[uint32]*receiver{}, byAt: map[netip.AddrPort]*receiver{}, byID: map[string]*receiver{}}
	if address == "" {
		return l, nil
	}
	at, err := net.ResolveUDPAddr("udp", address)
	if err == nil {
		l.udp, err = net.ListenUDP("udp", at)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for legs: %w", err)
	}
	_ = l.udp.SetReadBuffer(4 << 20) // as large as the system allows
	return l, nil
}

func (l *legs) close() {
	if l.udp != nil {
		l.udp.Close()
	}
}

// port is where legs come by UDP; 0: nowhere.
func (l *legs) port() int {
	if l.udp == nil {
		return 0
	}
	return l.udp.LocalAddr().(*net.UDPAddr).Port
}

// expect lets a leg come, until forget.
func (l *legs) expect(r *receiver) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.spec.UDP == 0 {
		l.byID[r.spec.ID] = r
		return
	}
	for i := range uint32(2) { // picture and sound
		l.bySSRC[r.spec.SSRC+i] = r
	}
	r.found = func(at netip.AddrPort) { l.found(r, at) }
}

// found is told by a packet that only the device can have sealed.
func (l *legs) found(r *receiver, at netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for old, its := range l.byAt {
		if its == r {
			delete(l.byAt, old)
		}
	}
	l.byAt[at] = r
	r.by(func(b []byte) { _, _ = l.udp.WriteToUDPAddrPort(b, at) }) // lost: it is said again
}

func (l *legs) forget(r *receiver) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byID, r.spec.ID)
	for i := range uint32(2) {
		if l.bySSRC[r.spec.SSRC+i] == r {
			delete(l.bySSRC, r.spec.SSRC+i)
		}
	}
	for at, its := range l.byAt {
		if its == r {
			delete(l.byAt, at)
		}
	}
}

// read takes what comes by UDP until the socket is closed.
func (l *legs) read() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := l.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if r := l.whose(buf[:n], from); r != nil {
			select {
			case r.packets <- datagram{append([]byte(nil), buf[:n]...), from}:
			default: // it comes faster than it is taken: lost as on its way
			}
		}
	}
}

// whose is the leg of a packet. What it says of itself is no more than that.
func (l *legs) whose(b []byte, from netip.AddrPort) *receiver {
	if len(b) < rtpHeader {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case b[0]>>6 != 2:
		return l.byAt[from]
	case b[1] >= 192 && b[1] <= 223:
		return l.bySSRC[binary.BigEndian.Uint32(b[4:])]
	}
	return l.bySSRC[binary.BigEndian.Uint32(b[8:])]
}

// ServeLeg takes a leg that comes on a device's link, and returns when it has ended.
func (l *Live) ServeLeg(w http.ResponseWriter, req *http.Request, device string) {
	l.legs.mu.Lock()
	r := l.legs.byID[req.PathValue("id")]
	if r != nil && r.device == device {
		delete(l.legs.byID, r.spec.ID)
	}
	l.legs.mu.Unlock()
	if r == nil || r.device != device {
		http.Error(w, "nobody has asked for this leg", http.StatusNotFound)
		return
	}
	defer r.end()
	rc := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if err := rc.Flush(); err != nil {
		return
	}
	ctx, cancel := context.WithCancel(req.Context())
	var writing sync.WaitGroup
	defer writing.Wait()
	defer cancel()
	out := make(chan []byte, 16)
	writing.Go(func() { writeFramed(ctx, w, rc, out) })
	writing.Go(func() {
		select {
		case <-r.ended:
		case <-ctx.Done():
		}
		rc.SetReadDeadline(time.Now()) // the device is to send no more
	})
	r.by(func(b []byte) {
		select {
		case out <- b:
		default: // it is said again
		}
	})
	defer r.by(nil)
	readFramed(ctx, req.Body, r)
}

func readFramed(ctx context.Context, body io.Reader, r *receiver) {
	in := bufio.NewReader(body)
	var head [2]byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(head[:]))
		if n > maxDatagram {
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(in, b); err != nil {
			return
		}
		select {
		case r.packets <- datagram{data: b}: // while it waits, so does the device
		case <-r.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// writeTime is how long a device may leave what is sent to it unread.
const writeTime = 10 * time.Second

func writeFramed(ctx context.Context, w io.Writer, rc *http.ResponseController, out <-chan []byte) {
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-out:
			rc.SetWriteDeadline(time.Now().Add(writeTime))
			_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
			if err != nil || rc.Flush() != nil {
				return
			}
			rc.SetWriteDeadline(time.Time{})
		}
	}
}

// newLeg makes the ask for a leg.
func newLeg(stream string, udp int, random func(n int) []byte) wire.Leg {
	text := func(n int) string { return fmt.Sprintf("%x", random(n)) }
	return wire.Leg{
		ID: text(16), Stream: stream, UDP: udp, SSRC: binary.BigEndian.Uint32(random(4))&^1 | 1<<31,
		DeviceKey: random(wire.LegKey), DeviceSalt: random(wire.LegSalt), PanelKey: random(wire.LegKey), PanelSalt: random(wire.LegSalt),
		DeviceUfrag: text(4), DevicePwd: text(16), PanelUfrag: text(4),
	}
}
