package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"
)

// player is a real program or library that plays a URL until it has so many
// frames, or packets; its error is what it says of what went wrong.
type player struct {
	name string
	play func(ctx context.Context, url string, frames int) error
}

// rtspPlayers play over a transport of RTSP, "tcp" or "udp".
func rtspPlayers(transport string) []player {
	return []player{
		{"ffmpeg " + transport, func(ctx context.Context, url string, frames int) error {
			return silent(exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-rtsp_transport", transport, "-i", url,
				"-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-frames:v", fmt.Sprint(frames), "-f", "null", "-"))
		}},
		{"GStreamer " + transport, func(ctx context.Context, url string, frames int) error {
			return silent(exec.CommandContext(ctx, "gst-launch-1.0", "-q", "rtspsrc", "location="+url, "protocols="+transport, "latency=0",
				"tls-validation-flags=0", "!", "rtph264depay", "!", "h264parse", "!", "avdec_h264", "!",
				"fakesink", "sync=false", "num-buffers="+fmt.Sprint(frames)))
		}},
		{"gortsplib " + transport, func(ctx context.Context, url string, frames int) error {
			return library(ctx, transport, url, frames)
		}},
	}
}

// silent runs a program for which no word is good news.
func silent(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	said := strings.TrimSpace(teardown.ReplaceAllString(string(out), ""))
	if err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	if said != "" {
		return errors.New(said)
	}
	return nil
}

// teardown is what GStreamer's rtspsrc says of itself now and then when it takes its own
// elements apart after the last picture: a signal handler that it has removed already.
var teardown = regexp.MustCompile(`(?m)^.*GLib-GObject-WARNING.*has no handler with id.*$`)

func library(ctx context.Context, transport, url string, packets int) error {
	u, err := base.ParseURL(url)
	if err != nil {
		return err
	}
	protocol := map[string]gortsplib.Protocol{"tcp": gortsplib.ProtocolTCP, "udp": gortsplib.ProtocolUDP}[transport]
	c := &gortsplib.Client{Scheme: u.Scheme, Host: u.Host, Protocol: &protocol, ListenPacket: listenRoomy}
	if err := c.Start(); err != nil {
		return err
	}
	defer c.Close()
	d, _, err := c.Describe(u)
	if err != nil {
		return err
	}
	if err := c.SetupAll(d.BaseURL, d.Medias); err != nil {
		return err
	}
	got := make(chan struct{}, packets)
	c.OnPacketRTPAny(func(*description.Media, format.Format, *rtp.Packet) {
		select {
		case got <- struct{}{}:
		default:
		}
	})
	if _, err := c.Play(nil); err != nil {
		return err
	}
	for range packets {
		select {
		case <-got:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func TestPlayersPlay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	for _, transport := range []string{"tcp", "udp"} {
		for _, p := range rtspPlayers(transport) {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if err := p.play(ctx, w.rtsp, 45); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Players show a name and a secret by digest; with a wrong one they get nothing.
func TestPlayersShowCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t, guarded(t, "nvr:right-secret\n"))
	w.forward(t)
	w.publish(t)
	for _, transport := range []string{"tcp", "udp"} {
		for _, p := range rtspPlayers(transport) {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if err := p.play(ctx, strings.Replace(w.rtsp, "//", "//nvr:right-secret@", 1), 15); err != nil {
					t.Errorf("with the right secret: %v", err)
				}
			})
		}
	}
}

func TestPlayersShowWrongCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t, guarded(t, "nvr:right-secret\n"))
	w.forward(t)
	w.publish(t)
	for _, p := range rtspPlayers("tcp") {
		for _, who := range []string{"nvr:wrong-secret@", "nobody:right-secret@", ""} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			err := p.play(ctx, strings.Replace(w.rtsp, "//", "//"+who, 1), 15)
			if err == nil || ctx.Err() != nil {
				t.Errorf("%s as %q: %v, %v", p.name, who, err, ctx.Err())
			}
			cancel()
		}
	}
	if strings.Contains(w.log.String(), "viewer joins") {
		t.Error("one was let in")
	}
}

// play fails the test for any error that ffmpeg speaks of.
func play(t *testing.T, url, transport string, frames int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := rtspPlayers(transport)[0].play(ctx, url, frames); err != nil {
		t.Errorf("ffmpeg over %s: %v", transport, err)
	}
}
