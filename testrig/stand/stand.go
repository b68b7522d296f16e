package stand

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"slipstream/agent/supervise"
	"slipstream/stream/orders"
	"slipstream/testrig/device"
)

// patience bounds each wait whose caller sets no shorter limit.
const patience = 20 * time.Second

// poll is the pause between two looks at something that tells nobody.
const poll = 5 * time.Millisecond

// Stream is the name of the stream that all apps of a stand publish.
const Stream = "main"

// Config is what differs from stand to stand.
type Config struct {
	Bin string // from [device.Binaries]
	// Forward and Gateway are more arguments of the two commands.
	Forward, Gateway []string
	Metrics          bool // of the gateway
}

// Stand is a running forwarder and a gateway.
type Stand struct {
	Dir, Run string

	http, rtsp, udp string
	metrics         string // "": there are none
	config          Config
	dir             *device.Dir
	supervisor      *supervise.Supervisor
	forwarder       *supervise.Process
	instance        int // of instances
	gateway         *Process
	talk            *talk
	trials          int
}

// Start runs a forwarder and a gateway; nothing is published yet.
func Start(ctx context.Context, config Config) (*Stand, error) {
	dir, err := device.NewDir(config.Bin)
	if err != nil {
		return nil, err
	}
	s := &Stand{Dir: dir.Path, Run: filepath.Join(dir.Path, "run"), config: config, dir: dir}
	s.supervisor = supervise.New(s.Run, slog.New(slog.DiscardHandler))
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("stand: %w\n%s", err, s.Logs()), s.Close())
	}
	return s, nil
}

func (s *Stand) start(ctx context.Context) (err error) {
	if err := os.Mkdir(s.Run, 0o755); err != nil {
		return err
	}
	if s.http, err = freeTCP(); err != nil {
		return err
	}
	if s.rtsp, err = freeTCP(); err != nil {
		return err
	}
	if s.udp, err = freeUDP(); err != nil {
		return err
	}
	if s.config.Metrics {
		if s.metrics, err = freeTCP(); err != nil {
			return err
		}
	}
	if err := s.StartForwarder(ctx); err != nil {
		return err
	}
	return s.StartGateway(ctx)
}

// Connect makes a new connection to the forwarder as its agent.
func (s *Stand) Connect(ctx context.Context) error {
	return Retry(ctx, func() error {
		conn, err := orders.Dial(filepath.Join(s.Run, "orders.sock"))
		if err != nil {
			return err
		}
		if s.talk != nil {
			s.talk.close()
		}
		s.talk = newTalk(conn)
		return nil
	})
}

// StartGateway runs the gateway, again if there was one, and waits until it serves.
func (s *Stand) StartGateway(ctx context.Context) (err error) {
	args := []string{"--run", s.Run, "--public", "--http", s.http, "--rtsp", s.rtsp, "--udp", s.udp, "--metrics", s.metrics}
	if s.gateway, err = s.run("slipstream-gateway", nil, append(args, s.config.Gateway...)...); err != nil {
		return err
	}
	return Retry(ctx, func() error {
		for _, address := range []string{s.http, s.rtsp} {
			c, err := net.Dial("tcp", address)
			if err != nil {
				return err
			}
			c.Close()
		}
		return nil
	})
}

// Gateway is the gateway's process as it runs now.
func (s *Stand) Gateway() *Process { return s.gateway }

// Bin is where the binaries are.
func (s *Stand) Bin() string { return s.config.Bin }

// WHEP is where the stream is watched by WebRTC.
func (s *Stand) WHEP() string { return "http://" + s.http + "/whep/" + Stream }

// RTSP is where the stream is watched by RTSP.
func (s *Stand) RTSP() string { return "rtsp://" + s.rtsp + "/" + Stream }

// HTTPAddress, RTSPAddress and UDPAddress are the gateway's.
func (s *Stand) HTTPAddress() string { return s.http }

func (s *Stand) RTSPAddress() string { return s.rtsp }

func (s *Stand) UDPAddress() string { return s.udp }

// Publish is the socket on which a source publishes.
func (s *Stand) Publish(id orders.SourceID) string {
	return filepath.Join(s.Run, "pub", string(id)+".sock")
}

// Close ends everything and removes the stand's directory.
func (s *Stand) Close() error {
	if s.talk != nil {
		s.talk.close()
	}
	if s.gateway != nil {
		s.gateway.Kill()
	}
	if s.forwarder != nil {
		s.forwarder.Kill()
	}
	s.supervisor.Close()
	return s.dir.Clear()
}

// Retry calls f until it succeeds, or ctx or [patience] ends.
func Retry(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(poll):
		}
	}
}

func freeTCP() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func freeUDP() (string, error) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.LocalAddr().String(), nil
}
