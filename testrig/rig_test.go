package testrig_test

import (
	"context"
	"crypto/ecdsa"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
	"slipstream/testrig/device"
	"slipstream/testrig/viewer"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// patience bounds each test; the machines are busy.
const patience = 3 * time.Minute

var binaries = sync.OnceValues(func() (string, error) { return device.Binaries(context.Background(), "") })

// rig is one device and the keys that it trusts.
type rig struct {
	*device.Device
	t       *testing.T
	ctx     context.Context
	bin     string
	dir     string
	key     *ecdsa.PrivateKey
	trust   string
	counter int64
}

// newRig starts a device with nothing installed.
func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigOf(t, device.Config{Name: "cam"})
}

// newRigOf is newRig of a device of a certain kind.
func newRigOf(t *testing.T, cfg device.Config) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience) // t's own ends before the clean-up
	t.Cleanup(cancel)
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, ctx: ctx, bin: bin, dir: t.TempDir()}
	r.trust = filepath.Join(r.dir, "release.pub")
	if r.key, err = pack.Keygen(filepath.Join(r.dir, "release.key"), r.trust); err != nil {
		t.Fatal(err)
	}
	cfg.Bin, cfg.Trust = bin, r.trust
	r.Device, err = device.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.Logs())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// times are an app's times for tests: short, but longer than a busy machine's stalls.
func times() verify.App {
	return verify.App{
		Overlap: "full", Greenlight: "app", StartTimeoutMS: 15_000, DeadlineMS: 15_000, SoakMS: 500,
		StopTimeoutMS: 2_000, RestartMax: 3, RestartWindow: 60_000,
	}
}

// release is a version of the sample camera that greenlights itself.
func release(version string) device.Release {
	clip, err := clips.Of(version)
	if err != nil {
		panic(err)
	}
	return device.Release{
		Version: version, Clip: clip, Streams: []string{"main"},
		Greenlight: camera.Greenlight{By: "app", AfterMS: 100}, Fault: camera.Fault{Kind: camera.FaultNone}, App: times(),
	}
}

// build packages a release with the next counter.
func (r *rig) build(rel device.Release) string {
	r.t.Helper()
	r.counter++
	rel.Counter = r.counter
	path, err := rel.Build(r.ctx, r.bin, filepath.Join(r.dir), r.key)
	if err != nil {
		r.t.Fatal(err)
	}
	return path
}

// install stages and activates a package, waits for the trial's end, and
// returns how it ended.
func (r *rig) install(path string) control.Record {
	r.t.Helper()
	r.stage(path)
	return r.activate()
}

func (r *rig) stage(path string) {
	r.t.Helper()
	// By force, because a test may try again what was reverted before.
	if res := r.Client.Stage(r.ctx, control.StageRequest{Path: path, Force: true}); res.Exit != control.ExitDone {
		r.t.Fatalf("stage %s: %+v", filepath.Base(path), res)
	}
}

func (r *rig) activate() control.Record {
	r.t.Helper()
	res := r.Client.Activate(r.ctx, control.ActivateRequest{Wait: true, Force: true})
	if res.Record == nil {
		r.t.Fatalf("activate: %+v", res)
	}
	return *res.Record
}

// mustBecome installs a package that must become permanent.
func (r *rig) mustBecome(path string) {
	r.t.Helper()
	if rec := r.install(path); rec.Outcome != control.OutcomePermanent {
		r.t.Fatalf("install %s: %+v", filepath.Base(path), rec)
	}
}

// watch joins a WHEP viewer, as soon as the gateway has something to show, and
// waits until it sees a version.
func (r *rig) watch(version string) *viewer.Viewer {
	r.t.Helper()
	v, err := viewer.DialWHEP(r.ctx, r.WHEP("main"))
	for err != nil && r.ctx.Err() == nil {
		<-time.After(50 * time.Millisecond)
		v, err = viewer.DialWHEP(r.ctx, r.WHEP("main"))
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(v.Close)
	r.sees(v, version, 0)
	return v
}

func (r *rig) sees(v *viewer.Viewer, version string, after time.Duration) viewer.Unit {
	r.t.Helper()
	u, err := v.WaitVersion(r.ctx, version, after)
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

// permanent waits until the device says that a version is permanent and no
// trial runs.
func (r *rig) permanent(version string) control.Status {
	r.t.Helper()
	s, err := r.WaitStatus(r.ctx, "permanent version "+version, func(s control.Status) bool {
		return s.Trial == nil && s.Permanent == version && s.Phase == "idle"
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// clean fails the test if a viewer lost anything since an instant.
func clean(t *testing.T, v *viewer.Viewer, from, to time.Duration) viewer.Report {
	t.Helper()
	rep := v.Report(from, to)
	if !rep.Clean() || !v.Alive() {
		t.Errorf("%s viewer: %+v, alive %v %s", v.Kind, rep, v.Alive(), v.Ended())
	}
	return rep
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
