package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"slipstream/stream/subscribe"
)

const (
	// patience is how long a viewer is held while there is no forwarder.
	patience = 30 * time.Second

	// Pauses between attempts to reach the forwarder again.
	minPause = 20 * time.Millisecond
	maxPause = 250 * time.Millisecond

	maxMessage = 20 << 10 // what [subscribe.Conn.Read] wants
	rtpHeader  = 12       // RFC 3550 §5.1
)

// errMalformed would be the forwarder's mistake.
var errMalformed = errors.New("packet shorter than an RTP header")

// feed carries the packets of one track to a viewer who watches through the
// gateway. It subscribes anew when the forwarder was restarted and goes on with the
// same numbering.
type feed struct{ socket, stream string }

// run hands each packet to send until ctx ends, send fails, or no forwarder has
// taken the viewer for the time of patience; the numbering is that of resume. A
// packet's bytes are valid during the call only, and may be changed.
func (f *feed) run(ctx context.Context, resume *subscribe.Resume, send func(c *subscribe.Conn, pkt []byte) error) error {
	for {
		conn, err := f.dial(ctx, resume)
		if err != nil {
			return err
		}
		next, err := f.pump(ctx, conn, send)
		if err != nil {
			return err
		}
		if next != nil {
			resume = next
		}
	}
}

// pump returns where to go on once the subscription has ended by itself.
func (f *feed) pump(ctx context.Context, conn *subscribe.Conn, send func(*subscribe.Conn, []byte) error) (next *subscribe.Resume, err error) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	buf := make([]byte, maxMessage)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return next, ctx.Err()
		}
		if n < rtpHeader {
			return nil, errMalformed
		}
		if err := send(conn, buf[:n]); err != nil {
			return nil, err
		}
		next = &subscribe.Resume{Seq: binary.BigEndian.Uint16(buf[2:]) + 1, TimeBase: conn.TimeBase()}
	}
}

func (f *feed) dial(ctx context.Context, resume *subscribe.Resume) (*subscribe.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("no forwarder took the viewer in time"))
	defer cancel()
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		conn, err := subscribe.Dial(f.socket, f.stream, resume)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}
