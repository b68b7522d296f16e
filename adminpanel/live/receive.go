package live

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v2"

	"slipstream/agent/wire"
)

const (
	// maxDatagram is longer than any packet of a forwarder.
	maxDatagram = 4096
	// maxQueue bounds the packets of a leg that wait here.
	maxQueue = 1024

	checkEvery = 2 * time.Second
	lookEvery  = 20 * time.Millisecond
	wishEvery  = 200 * time.Millisecond
	// silence is after how long without anything a leg counts as lost.
	silence = 5 * time.Second
	// firstSilence is the same for one that never brought anything.
	firstSilence = 2 * time.Second

	panelSSRC = 1 // in what the panel says of what it got
)

var (
	errSilent = errors.New("nothing comes from the device")
	errClosed = errors.New("the device has ended it")
)

// datagram is a packet of a leg, with where it came from if it came by UDP.
type datagram struct {
	data []byte
	from netip.AddrPort
}

// receiver is the panel's end of one leg.
type receiver struct {
	spec    wire.Leg
	device  string
	in, out *srtp.Context
	packets chan datagram
	found   func(netip.AddrPort) // tells where the device is, by UDP
	ended   chan struct{}        // closed when what carries it has ended
	endOnce sync.Once

	mu   sync.Mutex // guards what follows
	send func([]byte)

	tracks  []*track
	at      netip.AddrPort // where the device is
	heard   time.Time
	came    bool // something has
	wished  time.Time
	checked time.Time
	began   func() // is called when the relay has the first picture; nil then
}

func newReceiver(device string, spec wire.Leg) (*receiver, error) {
	r := &receiver{
		spec: spec, device: device, packets: make(chan datagram, maxQueue), ended: make(chan struct{}),
		found: func(netip.AddrPort) {},
	}
	var err error
	if r.in, err = srtp.CreateContext(spec.DeviceKey, spec.DeviceSalt, srtp.ProtectionProfileAeadAes128Gcm); err != nil {
		return nil, err
	}
	r.out, err = srtp.CreateContext(spec.PanelKey, spec.PanelSalt, srtp.ProtectionProfileAeadAes128Gcm)
	return r, err
}

// end says that no more comes.
func (r *receiver) end() { r.endOnce.Do(func() { close(r.ended) }) }

// by makes send the way to the device.
func (r *receiver) by(send func([]byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send = send
}

func (r *receiver) emit(b []byte) {
	r.mu.Lock()
	send := r.send
	r.mu.Unlock()
	if send != nil {
		send(b)
	}
}

// run receives until the leg has ended, or wanted says that nobody needs it.
func (r *receiver) run(ctx context.Context, wanted func() bool) error {
	r.heard = time.Now()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	picture, sound := r.tracks[0], &track{}
	if len(r.tracks) > 1 {
		sound = r.tracks[1]
	}
	for {
		var err error
		select {
		case d := <-r.packets:
			err = r.take(d, time.Now())
		case <-look.C:
			if err = r.look(time.Now()); err == nil && !wanted() {
				return nil
			}
		case <-picture.keys():
			r.wish(time.Now())
		case <-picture.done():
			err = fmt.Errorf("the relay has let go of it: %w", picture.conn.Err())
		case <-sound.done():
			err = fmt.Errorf("the relay has let go of its sound: %w", sound.conn.Err())
		case <-r.ended:
			err = errClosed
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// take takes a packet that the device has sealed; all others say nothing.
func (r *receiver) take(d datagram, now time.Time) error {
	b := d.data
	switch {
	case len(b) < rtpHeader:
		return nil
	case b[0]>>6 != 2: // an answer to a check, from where the device is
		if d.from == r.at {
			r.heard = now
		}
		return nil
	case b[1] >= 192 && b[1] <= 223:
		if _, err := r.in.DecryptRTCP(nil, b, nil); err == nil {
			r.hears(d, now)
		}
		return nil
	}
	t := r.track(binary.BigEndian.Uint32(b[8:]))
	if t == nil || b[1]&^rtpMarker != t.PayloadType {
		return nil
	}
	plain, err := r.in.DecryptRTP(nil, b, nil)
	if err != nil {
		return nil
	}
	r.hears(d, now)
	give, failed := giver(t)
	if !t.order.take(binary.BigEndian.Uint16(plain[2:]), plain, now, give) {
		t.lose(func() { r.wish(now) })
	}
	r.begin()
	return *failed
}

// giver gives a track its packets, and keeps the first error.
func giver(t *track) (give func([]byte), failed *error) {
	failed = new(error)
	return func(pkt []byte) {
		if *failed == nil {
			*failed = t.give(pkt)
		}
	}, failed
}

func (r *receiver) begin() {
	if r.began != nil && r.tracks[0].given > 0 {
		r.began()
		r.began = nil
	}
}

// hears notes that the device lives, and where.
func (r *receiver) hears(d datagram, now time.Time) {
	r.heard, r.came = now, true
	if d.from != r.at {
		r.at = d.from
		r.found(d.from)
	}
}

func (r *receiver) track(ssrc uint32) *track {
	for _, t := range r.tracks {
		if t.SSRC == ssrc {
			return t
		}
	}
	return nil
}

// look does what is due.
func (r *receiver) look(now time.Time) error {
	if quiet := now.Sub(r.heard); quiet > silence || !r.came && quiet > firstSilence {
		return errSilent
	}
	if now.Sub(r.checked) > checkEvery {
		r.checked = now
		r.emit(check(&r.spec))
	}
	for _, t := range r.tracks {
		if err := r.repair(t, now); err != nil {
			return err
		}
	}
	r.begin()
	return nil
}

// repair asks for what is missing, or goes on without it.
func (r *receiver) repair(t *track, now time.Time) error {
	if t.order.late(now) {
		t.lose(func() { r.wish(now) })
		give, failed := giver(t)
		t.order.skip(now, give)
		return *failed
	}
	if seqs := t.order.missing(now); len(seqs) > 0 {
		r.say(&rtcp.TransportLayerNack{SenderSSRC: panelSSRC, MediaSSRC: t.SSRC, Nacks: rtcp.NackPairsFromSequenceNumbers(seqs)})
	}
	return nil
}

// lose leaves out what follows a loss; sound has no more than holes.
func (t *track) lose(wish func()) {
	if !t.sound() {
		t.spoil()
		wish()
	}
}

// wish asks the device for a key frame.
func (r *receiver) wish(now time.Time) {
	if now.Sub(r.wished) > wishEvery {
		r.wished = now
		r.say(&rtcp.PictureLossIndication{SenderSSRC: panelSSRC, MediaSSRC: r.spec.SSRC})
	}
}

// say sends what the device may lose: it is said again.
func (r *receiver) say(pkt rtcp.Packet) {
	plain, err := pkt.Marshal()
	if err != nil {
		return
	}
	if sealed, err := r.out.EncryptRTCP(nil, plain, nil); err == nil {
		r.emit(sealed)
	}
}

func (r *receiver) close() {
	r.end()
	for _, t := range r.tracks {
		t.close()
	}
}
