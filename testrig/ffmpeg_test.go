package testrig_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/clients"
	"slipstream/testrig/viewer"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// decode starts ffmpeg on the device's main stream: a stranger's viewer that decodes
// every picture, and says whatever it does not like.
func (r *rig) decode() *clients.Decoder {
	r.t.Helper()
	d, err := clients.FFmpeg(r.ctx, r.RTSP("main"), "tcp")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { d.Stop() })
	return d
}

// shows waits for a picture of a version after the first n pictures.
func (r *rig) shows(d *clients.Decoder, version string, n int) int {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
	defer cancel()
	at, err := d.Shows(ctx, version, n)
	if err != nil {
		r.t.Fatal(err)
	}
	return at
}

// reaches waits until so many pictures were shown.
func (r *rig) reaches(d *clients.Decoder, count int) {
	r.t.Helper()
	r.shows(d, "", count-1)
}

// ffmpeg plays through a good update and a revert, decodes to the end without a
// word, and its pictures show who was on air.
func TestFFmpegWatchesAnUpdateAndARevert(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	d := r.decode()
	at := r.shows(d, "1.0", 0)
	r.mustBecome(r.build(release("2.0")))
	at = r.shows(d, "2.0", at)
	three := release("3.0")
	three.Greenlight = camera.Greenlight{By: "never"}
	r.trialUnderWay(three)
	at = r.shows(d, "3.0", at)
	crash(t, r.app("a"))
	at = r.shows(d, "2.0", at)
	r.agrees("2.0.0")
	r.reaches(d, at+30)
	if said := d.Stop(); said != "" {
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
	r.reaches(d, 10)
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
	r.reaches(d, d.Count()+30)
	if said := d.Stop(); said != "" {
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
