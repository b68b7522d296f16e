package viewer

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"
)

// DialRTSP plays a stream by RTSP, kind [RTSPTCP] or [RTSPUDP], and returns once
// the server plays. [Answer] and [Repair] mean nothing to it.
func DialRTSP(ctx context.Context, kind, address string, options ...Option) (*Viewer, error) {
	v := newViewer(kind, address, options)
	if err := v.playRTSP(ctx); err != nil {
		return nil, fmt.Errorf("%s viewer of %s: %w", kind, address, err)
	}
	return v, nil
}

func (v *Viewer) playRTSP(ctx context.Context) error {
	u, err := base.ParseURL(v.URL)
	if err != nil {
		return err
	}
	protocol := gortsplib.ProtocolTCP
	if v.Kind == RTSPUDP {
		protocol = gortsplib.ProtocolUDP
	}
	dialer := net.Dialer{Timeout: v.limit}
	c := &gortsplib.Client{
		Scheme: u.Scheme, Host: u.Host, Protocol: &protocol,
		ReadTimeout: v.limit, WriteTimeout: v.limit,
		DialContext: dialer.DialContext, ListenPacket: listenRoomy,
	}
	if err := c.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, c.Close)
	if err := v.setUp(c, u); err != nil {
		c.Close()
		return err
	}
	if !stop() {
		return ctx.Err()
	}
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		v.end("the RTSP session ended: " + c.Wait().Error())
	}()
	v.hangUp = func() { c.Close(); <-waited }
	return nil
}

// listenRoomy is [roomyNet] for RTSP.
func listenRoomy(network, address string) (net.PacketConn, error) {
	c, err := net.ListenPacket(network, address)
	if udp, ok := c.(*net.UDPConn); ok && err == nil {
		_ = udp.SetReadBuffer(socketBuffer) // as large as the system allows
	}
	return c, err
}

func (v *Viewer) setUp(c *gortsplib.Client, u *base.URL) error {
	desc, _, err := c.Describe(u)
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	var h264 *format.H264
	media := desc.FindFormat(&h264)
	if media == nil {
		return errors.New("the stream has no H.264")
	}
	if _, err := c.Setup(desc.BaseURL, media, 0, 0); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	c.OnPacketRTP(media, h264, func(p *rtp.Packet) { v.sink(now(), p) })
	if _, err := c.Play(nil); err != nil {
		return fmt.Errorf("play: %w", err)
	}
	return nil
}
