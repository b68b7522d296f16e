package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
)

// Size of the pictures that decoders are asked for: the sample camera's.
const (
	Width  = 320
	Height = 180
)

// stopTime is how long a program may take to end when it is asked to.
const stopTime = 10 * time.Second

// Picture is what a decoder showed.
type Picture struct {
	Version string // "" if it is none of the sample camera's
	Counter int    // as drawn into it, −1 if it cannot be read
}

// Decoder is a program that plays a stream by RTSP and decodes every picture.
type Decoder struct {
	Name string

	cmd    *exec.Cmd
	cancel context.CancelFunc
	said   bytes.Buffer // valid once done is closed
	done   chan struct{}

	mu       sync.Mutex // guards what follows
	pictures []Picture
	more     chan struct{} // closed and replaced with each picture
}

// FFmpeg plays a stream over "tcp" or "udp" with ffmpeg.
func FFmpeg(ctx context.Context, url, transport string) (*Decoder, error) {
	return decode(ctx, "ffmpeg", "-nostdin", "-v", "warning", "-rtsp_transport", transport, "-i", url,
		"-an", "-fps_mode", "passthrough", "-enc_time_base", "1:90000",
		"-f", "rawvideo", "-pix_fmt", "rgb24", "-s", fmt.Sprintf("%dx%d", Width, Height), "-")
}

// GStreamer plays a stream over "tcp" or "udp" with gst-launch-1.0. A picture that
// was decoded with errors is not shown, and so is missing.
func GStreamer(ctx context.Context, url, transport string) (*Decoder, error) {
	pipeline := fmt.Sprintf("rtspsrc location=%s protocols=%s latency=100 ! rtph264depay ! h264parse ! avdec_h264 max-errors=1 output-corrupt=false ! "+
		"videoconvert ! videoscale ! video/x-raw,format=RGB,width=%d,height=%d ! fdsink fd=1 sync=false", url, transport, Width, Height)
	return decode(ctx, "gst-launch-1.0", append([]string{"-q"}, strings.Fields(pipeline)...)...)
}

func decode(ctx context.Context, program string, args ...string) (*Decoder, error) {
	ctx, cancel := context.WithCancel(ctx)
	d := &Decoder{Name: program, cancel: cancel, done: make(chan struct{}), more: make(chan struct{})}
	d.cmd = exec.CommandContext(ctx, program, args...)
	d.cmd.Cancel = func() error { return d.cmd.Process.Signal(syscall.SIGINT) }
	d.cmd.WaitDelay = stopTime
	d.cmd.Stderr = &d.said
	out, err := d.cmd.StdoutPipe()
	if err == nil {
		err = d.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go d.read(out)
	return d, nil
}

func (d *Decoder) read(out io.Reader) {
	defer close(d.done)
	defer func() { _ = d.cmd.Wait() }() // what it has to say is on standard error
	picture := make([]byte, Width*Height*3)
	luma := make([]byte, Width*Height)
	for {
		if _, err := io.ReadFull(out, picture); err != nil {
			return
		}
		d.mu.Lock()
		d.pictures = append(d.pictures, look(picture, luma))
		close(d.more)
		d.more = make(chan struct{})
		d.mu.Unlock()
	}
}

// look reads version and counter from an RGB picture.
func look(rgb, luma []byte) Picture {
	for i := range luma {
		luma[i] = rgb[3*i+1] // green: the counter is black and white
	}
	n, ok := camera.ReadCounter(luma, Width, Height)
	if !ok {
		n = -1
	}
	return Picture{versionOf(rgb), n}
}

// versionOf compares a region of the picture's corner with the clips' colours.
func versionOf(rgb []byte) string {
	const size, from, near = 6, 2, 24
	var sum [3]int
	for y := range size {
		for x := range size {
			at := ((y+from)*Width + x + from) * 3
			for c := range 3 {
				sum[c] += int(rgb[at+c])
			}
		}
	}
	i := slices.IndexFunc(clips.All, func(clip clips.Clip) bool {
		for c := range 3 {
			if diff := sum[c]/(size*size) - int(clip.Colour[c]); diff < -near || diff > near {
				return false
			}
		}
		return true
	})
	if i < 0 {
		return ""
	}
	return clips.All[i].Version
}

// Count is how many pictures were shown so far.
func (d *Decoder) Count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.pictures)
}

// Pictures are those shown from number from on.
func (d *Decoder) Pictures(from int) []Picture {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.pictures[from:])
}

// Shows waits for a picture of a version from number from on, any one if the
// version is "", and returns its number.
func (d *Decoder) Shows(ctx context.Context, version string, from int) (int, error) {
	for {
		d.mu.Lock()
		for i := from; i < len(d.pictures); i++ {
			if version == "" || d.pictures[i].Version == version {
				d.mu.Unlock()
				return i, nil
			}
		}
		from = max(from, len(d.pictures))
		more := d.more
		d.mu.Unlock()
		select {
		case <-more:
		case <-d.done:
			return 0, fmt.Errorf("%s ended: %s", d.Name, d.said.String())
		case <-ctx.Done():
			return 0, fmt.Errorf("%s shows no picture of %q: %w", d.Name, version, ctx.Err())
		}
	}
}

// Reaches waits until so many pictures were shown.
func (d *Decoder) Reaches(ctx context.Context, count int) error {
	_, err := d.Shows(ctx, "", count-1)
	return err
}

// Judge says what is wrong with the pictures from number from on: every scene must
// be shown, though some may be shown again where the version changes.
func (d *Decoder) Judge(from int) error {
	pictures := d.Pictures(from)
	var problems []error
	for i, p := range pictures {
		if p.Counter < 0 || p.Version == "" {
			problems = append(problems, fmt.Errorf("picture %d cannot be read: %+v", from+i, p))
		}
		if i == 0 || p.Counter < 0 || pictures[i-1].Counter < 0 {
			continue
		}
		before := pictures[i-1]
		step := (p.Counter - before.Counter + camera.CounterModulo) % camera.CounterModulo
		back := step == 0 || step > camera.CounterModulo/2
		if step != 1 && (!back || p.Version == before.Version) {
			problems = append(problems, fmt.Errorf("picture %d is %+v behind %+v", from+i, p, before))
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("%s, %d pictures: %w", d.Name, len(pictures), errors.Join(problems[:min(5, len(problems))]...))
	}
	return nil
}

// Stop ends the program and returns what it had to complain of.
func (d *Decoder) Stop() string {
	d.cancel()
	<-d.done
	var kept []string
	for line := range strings.Lines(d.said.String()) {
		if !strings.Contains(line, "Exiting normally") && !strings.Contains(line, "handling interrupt") && strings.TrimSpace(line) != "" {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
