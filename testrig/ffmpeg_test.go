package testrig_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
	"slipstream/testrig/viewer"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// decoder is ffmpeg as a stranger's viewer: it plays a stream by RTSP, decodes
// every picture, and says on standard error whatever it does not like.
type decoder struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	stderr bytes.Buffer
	done   chan struct{}

	mu     sync.Mutex
	colour []byte // which clip each picture shows, by index into clips.All + 1; 0: none
	grown  chan struct{}
}

const (
	pictureWidth  = 320
	pictureHeight = 180
)

// decode starts ffmpeg on the device's main stream.
func (r *rig) decode() *decoder {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.ctx)
	d := &decoder{cancel: cancel, done: make(chan struct{}), grown: make(chan struct{}, 1)}
	d.cmd = exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "warning",
		"-rtsp_transport", "tcp", "-i", r.RTSP("main"),
		"-an", "-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", fmt.Sprintf("%dx%d", pictureWidth, pictureHeight), "-")
	d.cmd.Cancel = func() error { return d.cmd.Process.Signal(syscall.SIGINT) }
	d.cmd.WaitDelay = 10 * time.Second
	d.cmd.Stderr = &d.stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go d.read(out)
	r.t.Cleanup(func() { d.stop() })
	return d
}

func (d *decoder) read(out io.Reader) {
	defer close(d.done)
	picture := make([]byte, pictureWidth*pictureHeight*3)
	for {
		if _, err := io.ReadFull(out, picture); err != nil {
			return
		}
		d.mu.Lock()
		d.colour = append(d.colour, shown(picture))
		d.mu.Unlock()
		select {
		case d.grown <- struct{}{}:
		default:
		}
	}
}

// shown compares a region of the picture's corner with the clips' colours.
func shown(picture []byte) byte {
	var sum [3]int
	const size = 6
	for y := range size {
		for x := range size {
			at := ((y+2)*pictureWidth + x + 2) * 3
			for c := range 3 {
				sum[c] += int(picture[at+c])
			}
		}
	}
	for i, clip := range clips.All {
		near := true
		for c := range 3 {
			if diff := sum[c]/(size*size) - int(clip.Colour[c]); diff < -24 || diff > 24 {
				near = false
			}
		}
		if near {
			return byte(i + 1)
		}
	}
	return 0
}

func (d *decoder) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.colour)
}

// shows waits for a picture of a version after the first n pictures.
func (d *decoder) shows(t *testing.T, version string, n int) int {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		d.mu.Lock()
		for i := n; i < len(d.colour); i++ {
			if c := d.colour[i]; c > 0 && clips.All[c-1].Version == version {
				d.mu.Unlock()
				return i
			}
		}
		d.mu.Unlock()
		select {
		case <-d.grown:
		case <-d.done:
			t.Fatalf("ffmpeg ended while waiting for %s: %s", version, d.stderr.String())
		case <-timeout:
			t.Fatalf("ffmpeg shows no picture of %s", version)
		}
	}
}

// stop ends ffmpeg and returns what it had to say about the stream.
func (d *decoder) stop() string {
	d.cancel()
	<-d.done
	d.cmd.Wait()
	var kept []string
	for line := range strings.Lines(d.stderr.String()) {
		if strings.Contains(line, "Exiting normally") || strings.TrimSpace(line) == "" {
			continue
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "")
}

// ffmpeg plays through a good update and a revert, decodes to the end without a
// word, and its pictures show who was on air.
func TestFFmpegWatchesAnUpdateAndARevert(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	d := r.decode()
	at := d.shows(t, "1.0", 0)
	r.mustBecome(r.build(release("2.0")))
	at = d.shows(t, "2.0", at)
	three := release("3.0")
	three.Greenlight = camera.Greenlight{By: "never"}
	three.Fault = camera.Fault{Kind: camera.FaultSEGV, AfterMS: 1500}
	if rec := r.install(r.build(three)); rec.Outcome != control.OutcomeReverted {
		t.Fatalf("3.0: %+v", rec)
	}
	at = d.shows(t, "3.0", at)
	at = d.shows(t, "2.0", at)
	for d.count() < at+30 {
		<-d.grown
	}
	if said := d.stop(); said != "" {
		t.Errorf("ffmpeg complains:\n%s", said)
	}
}

// ffmpegApp packages a shell script around ffmpeg with its own encoder settings.
func (r *rig) ffmpegApp(version, encoder string, greenlight bool) string {
	r.t.Helper()
	dir := r.t.TempDir()
	script := "#!/bin/sh\nset -e\n"
	script += `ffmpeg -nostdin -v error -re -f lavfi -i testsrc2=size=640x360:rate=30 -c:v libx264 -bf 0 ` + encoder +
		` -f rtsp "$SLIPSTREAM_PUBLISH_RTSP" &` + "\n"
	if greenlight {
		script += "sleep 1\ntouch \"$SLIPSTREAM_GREENLIGHT\"\n"
	}
	script += "wait $!\n"
	if err := os.WriteFile(filepath.Join(dir, "run.sh"), []byte(script), 0o755); err != nil {
		r.t.Fatal(err)
	}
	app := times()
	app.Exec, app.PublishRTSP = []string{"run.sh"}, true
	app.Streams = []verify.Stream{{Name: "main", Codec: "h264", Width: 640, Height: 360, StallMS: 1000}}
	r.counter++
	path, err := pack.BuildFile(r.ctx, r.dir, pack.Options{Dir: dir, Key: r.key, Manifest: verify.Manifest{
		Product: r.Config.Product, Hardware: []string{r.Config.Hardware}, Version: version, ReleaseCounter: r.counter, App: &app,
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	return path
}

// ffmpeg as the application, unchanged: started from a slot, upgraded to another
// one with other encoder settings, and reverted when it is killed.
func TestFFmpegIsAnApp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.ffmpegApp("1.0.0", "-preset ultrafast -tune zerolatency -g 15", true))
	v, err := viewer.DialWHEP(r.ctx, r.WHEP("main"))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Wait(r.ctx, "a key frame", func(u viewer.Unit) bool { return u.IDR }); err != nil {
		t.Fatal(err)
	}
	d := r.decode()
	for d.count() < 10 {
		select {
		case <-d.grown:
		case <-d.done:
			t.Fatalf("ffmpeg sees nothing: %s", d.stop())
		}
	}
	from := publish.Monotonic()
	r.mustBecome(r.ffmpegApp("2.0.0", "-preset superfast -tune zerolatency -profile:v main -crf 30 -g 10 -refs 2", true))
	r.stage(r.ffmpegApp("3.0.0", "-preset ultrafast -tune zerolatency -g 12 -b:v 300k", false))
	if res := r.Client.Activate(r.ctx, control.ActivateRequest{Force: true}); res.Exit != control.ExitDone {
		t.Fatalf("activate: %+v", res)
	}
	s, err := r.WaitStatus(r.ctx, "takeover by 3.0.0", func(s control.Status) bool {
		return s.Trial != nil && !s.Trial.TookOver.IsZero()
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range s.Slots {
		if slot.Name == s.Trial.Slot {
			syscall.Kill(ffmpegOf(t, slot.PID), syscall.SIGKILL)
		}
	}
	if _, err := r.WaitStatus(r.ctx, "revert of 3.0.0", func(s control.Status) bool { return s.Trial == nil }); err != nil {
		t.Fatal(err)
	}
	if h := r.newest(); h.Outcome != control.OutcomeReverted || h.To != "3.0.0" {
		t.Errorf("history: %+v", h)
	}
	n := d.count()
	for d.count() < n+30 {
		select {
		case <-d.grown:
		case <-d.done:
			t.Fatal("ffmpeg's viewer ended")
		}
	}
	if said := d.stop(); said != "" {
		t.Errorf("ffmpeg complains:\n%s", said)
	}
	if rep := v.Report(from, publish.Monotonic()); rep.SeqBreaks+rep.TimestampBreaks+rep.FramesLost > 0 || !v.Alive() {
		t.Errorf("%+v", rep)
	}
}

// ffmpegOf is the pid of the ffmpeg that a script started.
func ffmpegOf(t *testing.T, script int) int {
	t.Helper()
	out, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", script, script))
	var pid int
	if _, scan := fmt.Sscan(string(out), &pid); errors.Join(err, scan) != nil {
		t.Fatalf("children of %d: %q %v %v", script, out, err, scan)
	}
	return pid
}
