package live

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"time"

	"slipstream/agent/wire"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

const (
	rtpHeader = 12
	rtpMarker = 0x80
	// maxUnit bounds the packets of one picture, and maxBefore those that come before
	// a stream is published.
	maxUnit = 2048
	// publishTime bounds the wait for the relay to know of a stream.
	publishTime = 5 * time.Second
	publishEach = 50 * time.Millisecond
)

// track is a picture or its sound on its way from a leg to the relay.
type track struct {
	wire.LegTrack
	name   string // of the relay's stream
	socket string // where it is published
	order  order
	sets   sets
	unit   [][]byte // of a picture that has begun
	unitAt uint32   // its RTP time
	broken bool     // pictures are left out until the next key frame
	conn   *publish.Conn
	given  uint64 // pictures or packets that the relay has got
}

func newTrack(t wire.LegTrack, name, run string) *track {
	return &track{
		LegTrack: t, name: name, socket: filepath.Join(run, "pub", source+".sock"),
		sets: newSets(t.Codec), broken: true,
	}
}

func (t *track) sound() bool { return t.sets == nil }

// give takes a packet in its order. Pictures go on whole, or not at all.
func (t *track) give(pkt []byte) error {
	payload, ok := payloadOf(pkt)
	if !ok {
		return nil
	}
	if t.sound() {
		return t.publish([][]byte{pkt})
	}
	at := binary.BigEndian.Uint32(pkt[4:])
	if len(t.unit) > 0 && at != t.unitAt {
		if err := t.finish(); err != nil {
			return err
		}
	}
	if t.sets.look(t.Codec, payload) {
		t.broken = false
	}
	if t.broken || len(t.unit) >= maxUnit {
		t.spoil()
		return nil
	}
	t.unit, t.unitAt = append(t.unit, pkt), at
	if pkt[1]&rtpMarker != 0 {
		return t.finish()
	}
	return nil
}

func (t *track) finish() error {
	unit := t.unit
	t.unit = nil
	if !t.sets.whole() { // nobody could decode it
		t.broken = true
		return nil
	}
	return t.publish(unit)
}

// spoil leaves out what there is of a picture, and what follows it.
func (t *track) spoil() { t.unit, t.broken = nil, true }

func (t *track) publish(unit [][]byte) (err error) {
	if t.conn == nil {
		if t.conn, err = t.dial(); err != nil {
			return fmt.Errorf("give the stream to the relay: %w", err)
		}
	}
	for _, pkt := range unit {
		if err := t.conn.WriteRTP(pkt); err != nil {
			return fmt.Errorf("give the stream to the relay: %w", err)
		}
	}
	t.given++
	return nil
}

// dial waits until the relay knows of the stream.
func (t *track) dial() (conn *publish.Conn, err error) {
	sdp := describe(t.LegTrack, t.sets)
	for end := time.Now().Add(publishTime); ; time.Sleep(publishEach) {
		if conn, err = publish.Dial(t.socket, t.name, sdp); err == nil || time.Now().After(end) {
			return conn, err
		}
	}
}

func (t *track) keys() <-chan struct{} {
	if t.conn == nil {
		return nil
	}
	return t.conn.KeyFrames()
}

func (t *track) done() <-chan struct{} {
	if t.conn == nil {
		return nil
	}
	return t.conn.Done()
}

func (t *track) close() {
	if t.conn != nil {
		t.conn.Close()
	}
}

// payloadOf is what an RTP packet carries; the forwarder sends neither padding nor
// extensions.
func payloadOf(pkt []byte) ([]byte, bool) {
	head := rtpHeader + 4*int(pkt[0]&0x0f)
	return pkt[min(head, len(pkt)):], len(pkt) > head && pkt[0]&0x30 == 0
}

// streams are the relay's declarations of a leg's tracks.
func declarations(tracks []*track) (all []orders.Stream) {
	for i, t := range tracks {
		s := orders.Stream{Name: t.name, Codec: t.Codec, Width: t.Width, Height: t.Height, Profile: t.Profile}
		if i == 0 && len(tracks) > 1 {
			s.Audio = tracks[1].name
		}
		all = append(all, s)
	}
	return all
}
