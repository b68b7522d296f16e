package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/pion/rtp"

	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/stand"
)

// The film that servers are compared with: 1280 × 720, 30 frames a second, about
// 2 Mbit/s, a key frame each 2 s.
const (
	filmSeconds = 10
	filmGOP     = 60
)

// film makes the film, or finds the one made before, in dir.
func film(ctx context.Context, dir string) (*camera.Clip, error) {
	file := filepath.Join(dir, "bench-720p.h264")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if err := makeFilm(ctx, file); err != nil {
			return nil, err
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return camera.ReadClip(data, 0)
}

func makeFilm(ctx context.Context, file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	part := file + ".part"
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-y",
		"-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30", "-t", fmt.Sprint(filmSeconds), "-pix_fmt", "yuv420p",
		"-vf", "noise=alls=4:allf=t",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline", "-b:v", "2M", "-maxrate", "2M", "-bufsize", "2M",
		"-x264-params", fmt.Sprintf("keyint=%d:min-keyint=%[1]d:scenecut=0:bframes=0:slices=1:sliced-threads=0:repeat-headers=1", filmGOP),
		"-bsf:v", "filter_units=remove_types=6|9", "-f", "h264", part)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make the film with ffmpeg: %w\n%s", err, out)
	}
	return os.Rename(part, file)
}

// sink takes a film's packets, those of a frame at once.
type sink interface {
	WriteFrame(packets [][]byte) error
	Close() error
}

// show plays the film to a sink in real time until ctx ends. Each frame is stamped
// with the moment at which its packets are begun to be made.
func show(ctx context.Context, clip *camera.Clip, to sink) error {
	enc := &rtph264.Encoder{PayloadType: 96, PayloadMaxSize: 1200 - 12, PacketizationMode: 1}
	if err := enc.Init(); err != nil {
		return err
	}
	clock, _ := to.(interface {
		WriteClock(ts uint32, captured time.Duration, frames uint64) error
	})
	rtpBase := rand.Uint32()
	for n := camera.FrameAt(publish.Monotonic()) + 1; ; n++ {
		select {
		case <-time.After(camera.FrameTime(n) - publish.Monotonic()):
		case <-ctx.Done():
			return nil
		}
		ts := rtpBase + uint32(n*90000/camera.FrameRate)
		if clock != nil && n%camera.FrameRate == 0 {
			if err := clock.WriteClock(ts, camera.FrameTime(n), n); err != nil {
				return err
			}
		}
		nalus, _ := clip.Frame(n)
		last := len(nalus) - 1
		stamp := camera.Stamp{Version: "bench", Counter: n, Captured: publish.Monotonic()}
		packets, err := enc.Encode(append(append([][]byte{}, nalus[:last]...), stamp.SEI(), nalus[last]))
		if err != nil {
			return err
		}
		frame := make([][]byte, len(packets))
		for i, p := range packets {
			p.Timestamp = ts
			if frame[i], err = p.Marshal(); err != nil {
				return err
			}
		}
		if err := to.WriteFrame(frame); err != nil {
			return err
		}
	}
}

// recorded publishes by RTSP over TCP, as to any server.
type recorded struct {
	client *gortsplib.Client
	media  *description.Media
}

func record(ctx context.Context, url string, clip *camera.Clip) (*recorded, error) {
	u, err := base.ParseURL(url)
	if err != nil {
		return nil, err
	}
	media := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{
		&format.H264{PayloadTyp: 96, PacketizationMode: 1, SPS: clip.SPS, PPS: clip.PPS},
	}}
	r := &recorded{media: media}
	return r, stand.Retry(ctx, func() error {
		protocol := gortsplib.ProtocolTCP
		r.client = &gortsplib.Client{Scheme: u.Scheme, Host: u.Host, Protocol: &protocol}
		err := r.client.StartRecording(url, &description.Session{Medias: []*description.Media{media}})
		if err != nil {
			r.client.Close()
		}
		return err
	})
}

func (r *recorded) WriteFrame(packets [][]byte) error {
	for _, packet := range packets {
		var p rtp.Packet
		if err := p.Unmarshal(packet); err != nil {
			return err
		}
		if err := r.client.WritePacketRTP(r.media, &p); err != nil {
			return err
		}
	}
	return nil
}

func (r *recorded) Close() error {
	r.client.Close()
	return nil
}
