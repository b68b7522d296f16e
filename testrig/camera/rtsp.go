package camera

import (
	"errors"
	"fmt"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/sdp"
	"github.com/pion/rtp"

	"slipstream/stream/publish"
)

// outlet is a connection that takes one stream; [publish.Conn] is one.
type outlet interface {
	WriteRTP(packet []byte) error
	WriteClock(ts uint32, captured time.Duration, frames uint64) error
	KeyFrames() <-chan struct{}
	Done() <-chan struct{}
	Err() error
	Close() error
}

// dial opens the line's outlet: the publish socket, or the slot's ingest.
func (l *line) dial() (outlet, error) {
	if l.camera.config.RTSP {
		return dialRTSP(l.camera.env.RTSP+"/"+l.name, l.media.sdp())
	}
	conn, err := publish.Dial(l.camera.env.Publish, l.name, l.media.sdp())
	if err != nil {
		return nil, err // an interface that holds no connection is not nil
	}
	return conn, nil
}

// rtspOutlet publishes as any RTSP encoder does, and so is never asked for a key frame.
type rtspOutlet struct {
	client *gortsplib.Client
	media  *description.Media
	done   chan struct{} // closed when the session has ended
	err    error         // valid then
}

func dialRTSP(address string, text []byte) (*rtspOutlet, error) {
	u, err := base.ParseURL(address)
	if err != nil {
		return nil, fmt.Errorf("SLIPSTREAM_PUBLISH_RTSP: %w", err)
	}
	var session sdp.SessionDescription
	var d description.Session
	if err := errors.Join(session.Unmarshal(text), d.Unmarshal(&session)); err != nil {
		return nil, fmt.Errorf("describe the stream: %w", err)
	}
	tcp := gortsplib.ProtocolTCP
	o := &rtspOutlet{
		client: &gortsplib.Client{Scheme: u.Scheme, Host: u.Host, Protocol: &tcp},
		media:  d.Medias[0], done: make(chan struct{}),
	}
	if err := o.client.StartRecording(address, &d); err != nil {
		o.client.Close()
		return nil, fmt.Errorf("publish by RTSP: %w", err)
	}
	go func() {
		defer close(o.done)
		o.err = o.client.Wait()
	}()
	return o, nil
}

func (o *rtspOutlet) WriteRTP(packet []byte) error {
	var p rtp.Packet
	if err := p.Unmarshal(packet); err != nil {
		return err
	}
	return o.client.WritePacketRTP(o.media, &p)
}

// WriteClock does nothing: the ingest goes by sender reports, or by arrival.
func (o *rtspOutlet) WriteClock(uint32, time.Duration, uint64) error { return nil }

func (o *rtspOutlet) KeyFrames() <-chan struct{} { return nil }

func (o *rtspOutlet) Done() <-chan struct{} { return o.done }

func (o *rtspOutlet) Err() error {
	select {
	case <-o.done:
		return o.err
	default:
		return nil
	}
}

func (o *rtspOutlet) Close() error {
	o.client.Close()
	<-o.done
	return nil
}
