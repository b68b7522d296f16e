package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
	"github.com/pion/rtp"

	"slipstream/stream/subscribe"
)

var errSlow = errors.New("the reader is too slow")

// reader is one RTSP viewer.
type reader struct {
	session *gortsplib.ServerSession
	stream  *gortsplib.ServerStream // the library wants one for SETUP; nothing is written to it
	media   *description.Media
	feed    feed
	report  reporter
	packet  rtp.Packet

	cancel context.CancelFunc // nil until PLAY
	done   chan struct{}
	err    error // why the feed ended; valid once done is closed
}

func newReader(s *gortsplib.ServerSession, m *description.Media, socket, stream string) *reader {
	return &reader{session: s, media: m, feed: feed{socket: socket, stream: stream}, done: make(chan struct{})}
}

// play subscribes and feeds the reader until stop.
func (r *reader) play(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(ctx)
	go func() {
		defer close(r.done)
		r.err = r.feed.run(ctx, r.send)
		r.session.Close()
	}()
}

// stop ends the feed and returns why the reader was closed: a reason of ours,
// else the library's.
func (r *reader) stop(library error) error {
	if r.cancel == nil {
		return library
	}
	r.cancel()
	<-r.done
	if errors.Is(r.err, context.Canceled) {
		return library
	}
	return r.err
}

// send queues one packet; it never waits for the reader.
func (r *reader) send(c *subscribe.Conn, pkt []byte) error {
	if err := r.packet.Unmarshal(pkt); err != nil {
		return fmt.Errorf("packet from the forwarder: %w", err)
	}
	r.packet.PayloadType = rtspPayloadType
	err := r.session.WritePacketRTP(r.media, &r.packet) // sets the SSRC
	if full := (liberrors.ErrServerWriteQueueFull{}); errors.As(err, &full) {
		return errSlow
	}
	if err != nil {
		return fmt.Errorf("send a packet of %d bytes: %w", len(pkt), err)
	}
	if report := r.report.sent(r.packet.SSRC, c.TimeBase(), pkt); report != nil {
		_ = r.session.WritePacketRTCP(r.media, report) // the next one will tell the same
	}
	return nil
}
