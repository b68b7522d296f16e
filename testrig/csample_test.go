package testrig_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/testrig/camera/clips"
	"slipstream/testrig/viewer"
	"slipstream/verify"
	"slipstream/verify/pack"
)

const headerDir = "../stream/publish/c"

// cSample packages the camera in C, with a sensor that one process at a time may take
// from, a state and a listening socket.
func (r *rig) cSample(version, address string, greenlight bool) string {
	r.t.Helper()
	dir := r.t.TempDir()
	cc := exec.Command("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-pthread", "-o", filepath.Join(dir, "camera"), headerDir+"/sample.c")
	if out, err := cc.CombinedOutput(); err != nil {
		r.t.Fatalf("gcc: %v\n%s", err, out)
	}
	clip, err := clips.Of("1.0")
	if err != nil {
		r.t.Fatal(err)
	}
	script := "#!/bin/sh\nexport CAMERA_SENSOR=\"$SLIPSTREAM_SHARED/sensor\"\n"
	if !greenlight {
		script += "unset SLIPSTREAM_GREENLIGHT\n"
	}
	script += "exec \"$SLIPSTREAM_ROOT/camera\" \"$SLIPSTREAM_ROOT/clip\" 30\n"
	for name, content := range map[string][]byte{"run.sh": []byte(script), "clip": clip.Data()} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
			r.t.Fatal(err)
		}
	}
	app := times()
	app.Exec, app.State = []string{"run.sh"}, &verify.State{Schema: "count"}
	app.Listen = []verify.Listen{{Name: "count", Network: "tcp", Address: address}}
	app.Streams = []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180, StallMS: 2000}}
	r.counter++
	path, err := pack.BuildFile(r.ctx, r.dir, pack.Options{Dir: dir, Key: r.key, Manifest: verify.Manifest{
		Product: r.Config.Product, Hardware: []string{r.Config.Hardware}, Version: version, ReleaseCounter: r.counter, App: &app,
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	return path
}

// shown is what the sample in a slot says of itself: its part, whether it takes from the
// sensor, its pictures and those that it began with.
func (r *rig) shown(slot, part, turn string) (count, began uint64) {
	r.t.Helper()
	r.says(slot, part+", "+turn+", ")
	s, err := r.Client.Status(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, app := range s.Slots {
		if app.Name == slot {
			if _, err := fmt.Sscanf(app.Status, part+", "+turn+", %d pictures after %d", &count, &began); err != nil {
				r.t.Fatalf("%q: %v", app.Status, err)
			}
		}
	}
	return count, began
}

// visit asks at the app's listening socket for the count.
func (r *rig) visit(address string) uint64 {
	r.t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	text, err := io.ReadAll(c)
	if err != nil {
		r.t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// An app in C with the single header, under a real agent and forwarder: its state goes
// on from version to version, one sensor and one socket go from hand to hand, and a
// revert gives everything back.
func TestAppInCHandsEverythingOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	shared := filepath.Join(r.Config.State, "shared")
	if err := os.MkdirAll(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(shared, "sensor"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()

	r.mustBecome(r.cSample("1.0.0", address, true))
	if count, began := r.shown("a", "permanent", "takes"); count < 30 || began != 0 {
		t.Errorf("1.0.0 has shown %d pictures after %d", count, began)
	}
	v, err := viewer.DialWHEP(r.ctx, r.WHEP("main"))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	before := r.visit(address)

	r.mustBecome(r.cSample("2.0.0", address, true))
	count, began := r.shown("b", "permanent", "takes")
	if began == 0 || began%30 != 0 || began > count || count < before {
		t.Errorf("2.0.0 has shown %d pictures after %d; its predecessor had shown %d", count, began, before)
	}
	before = r.visit(address)
	s := r.permanent("2.0.0")
	for _, slot := range s.Slots {
		if want := (control.Contract{Control: true, State: "count", Handed: true}); slot.Name == "b" && (slot.Contract == nil || *slot.Contract != want) {
			t.Errorf("2.0.0 makes use of %+v", slot.Contract)
		}
	}

	r.stage(r.cSample("3.0.0", address, false))
	if res := r.Client.Activate(r.ctx, control.ActivateRequest{Force: true}); res.Exit != control.ExitDone {
		t.Fatalf("activate: %+v", res)
	}
	held, _ := r.shown("b", "standby", "holds")
	tried, given := r.shown("a", "trial", "takes")
	if _, err := r.WaitStatus(r.ctx, "takeover", func(s control.Status) bool { return s.Trial != nil && !s.Trial.TookOver.IsZero() }); err != nil {
		t.Fatal(err)
	}
	if given == 0 || given > held || tried < given || before > held {
		t.Errorf("3.0.0 has shown %d after %d, its predecessor %d", tried, given, held)
	}
	if n := r.visit(address); n < given {
		t.Errorf("a visitor of 3.0.0 is told %d", n)
	}
	if res := r.Client.Revert(r.ctx); res.Exit != control.ExitDone {
		t.Fatalf("revert: %+v", res)
	}
	count, again := r.shown("b", "permanent", "takes")
	if again != began || count < held {
		t.Errorf("2.0.0 has shown %d pictures after %d, and had %d after %d before the trial", count, again, held, began)
	}
	if n := r.visit(address); n < held || !v.Alive() {
		t.Errorf("a visitor of 2.0.0 is told %d, and the viewer is there: %v", n, v.Alive())
	}
}
