package agent_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// patience bounds every wait of these tests; nothing is expected to take it.
const patience = time.Minute

// device is a whole device on this machine, but for the media.
type device struct {
	*testing.T
	cfg    config.Config
	key    *ecdsa.PrivateKey
	agent  *agent.Agent
	end    context.CancelFunc
	ended  chan error
	counts int64
	host   agent.Host // zero: this machine
}

func newDevice(t *testing.T) *device {
	t.Helper()
	return newDeviceOn(t, "")
}

// newDeviceOn is a device that keeps its state, and its hardware's counter, on a
// disk of its own.
func newDeviceOn(t *testing.T, disk string) *device {
	t.Helper()
	dir, err := os.MkdirTemp("", "slip") // t.TempDir's path is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &device{T: t, key: newKey(t)}
	d.cfg = config.Config{
		Device: "cam-1", Product: "camera", Hardware: "rev-a", State: filepath.Join(dir, "state"), Run: filepath.Join(dir, "run"),
		Trust: filepath.Join(dir, "trust.pem"), Factory: filepath.Join(dir, "factory.slip"), Bin: filepath.Join(dir, "bin"), Stream: config.Stream{StallMS: 250},
	}
	if disk != "" {
		d.cfg.State, d.cfg.Counter = filepath.Join(disk, "state"), filepath.Join(disk, "counter")
	}
	public, err := pack.PublicPEM(&d.key.PublicKey)
	d.must(err)
	d.must(os.WriteFile(d.cfg.Trust, public, 0o644))
	self, err := os.Executable()
	d.must(err)
	d.must(os.MkdirAll(d.cfg.Bin, 0o755))
	d.must(os.Symlink(self, filepath.Join(d.cfg.Bin, "slipstream-forward")))
	d.must(os.Symlink(self, filepath.Join(d.cfg.Bin, "slipstream-ingest")))
	d.must(os.Symlink(self, filepath.Join(d.cfg.Bin, "tell")))
	if disk == "" {
		d.must(os.MkdirAll(filepath.Join(d.cfg.State, "shared"), 0o755))
		d.must(os.Symlink(self, filepath.Join(d.cfg.State, "shared", "tell")))
	}
	d.boot()
	t.Cleanup(func() {
		if err := d.agent.StopAll(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return d
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := pack.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (d *device) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

// boot starts an agent.
func (d *device) boot() {
	d.Helper()
	log := slog.New(slog.NewTextHandler(d.Output(), nil))
	open := func() (*agent.Agent, error) {
		if d.host.BootID != nil {
			return agent.NewOn(d.host, d.cfg, log)
		}
		return agent.New(d.cfg, log)
	}
	a, err := open()
	// A process that another test starts at this instant holds our ended agent's locks
	// until it has become what it is to be.
	for end := time.Now().Add(patience); err != nil && strings.Contains(err.Error(), "already runs here") && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		a, err = open()
	}
	d.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	d.agent, d.end, d.ended = a, cancel, make(chan error, 1)
	go func() { d.ended <- a.Run(ctx) }()
}

// restart ends the agent alone and starts another one.
func (d *device) restart() {
	d.Helper()
	d.end()
	if err := <-d.ended; !errors.Is(err, context.Canceled) {
		d.Fatalf("Run returned %v", err)
	}
	d.boot()
}

// app is a version's program: a shell script after these lines.
const appHead = `#!/bin/sh
tell() { "$SLIPSTREAM_SHARED/tell" "$1"; }
echo "version $SLIPSTREAM_VERSION as $SLIPSTREAM_ROLE"
`

const (
	goodApp = `tell READY=1; if [ -n "$SLIPSTREAM_GREENLIGHT" ]; then touch "$SLIPSTREAM_GREENLIGHT"; fi; exec sleep 1000`
	mute    = `tell READY=1; exec sleep 1000`
)

// pack builds a package whose content no other version has, and returns its path.
func (d *device) pack(version, script string, change func(*verify.Manifest)) string {
	d.Helper()
	return d.packContent(version, script+"\n# "+version, change)
}

// packContent builds a package of just this content.
func (d *device) packContent(version, script string, change func(*verify.Manifest)) string {
	d.Helper()
	dir := d.TempDir()
	d.must(os.WriteFile(filepath.Join(dir, "app"), []byte(appHead+script+"\n"), 0o755))
	d.counts++
	m := verify.Manifest{
		Product: "camera", Hardware: []string{"rev-a"}, Version: version, ReleaseCounter: d.counts,
		App: &verify.App{
			Exec: []string{"app"}, Streams: []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}},
			StartTimeoutMS: 10_000, DeadlineMS: 20_000, SoakMS: 50, StopTimeoutMS: 1000, RestartMax: 3, RestartWindow: 60_000,
		},
	}
	if change != nil {
		change(&m)
	}
	path, err := pack.BuildFile(d.Context(), d.TempDir(), pack.Options{Dir: dir, Manifest: m, Key: d.key})
	d.must(err)
	return path
}

func (d *device) stage(path string) control.Result {
	ctx, cancel := context.WithTimeout(d.Context(), patience)
	defer cancel()
	return d.agent.Stage(ctx, control.StageRequest{Path: path})
}

// install stages and activates, and waits for the end.
func (d *device) install(path string) control.Result {
	ctx, cancel := context.WithTimeout(d.Context(), patience)
	defer cancel()
	return control.Install(ctx, d.agent, control.StageRequest{Path: path}, true)
}

// mustInstall installs a version that is good.
func (d *device) mustInstall(version string) {
	d.Helper()
	if r := d.install(d.pack(version, goodApp, nil)); r.Exit != control.ExitDone {
		d.Fatalf("install %s: %+v", version, r)
	}
}

// begin begins a trial and does not wait for its end.
func (d *device) begin(path string) {
	d.Helper()
	if r := d.stage(path); r.Exit != control.ExitDone {
		d.Fatalf("stage: %+v", r)
	}
	if r := d.agent.Activate(d.Context(), control.ActivateRequest{}); r.Exit != control.ExitDone {
		d.Fatalf("activate: %+v", r)
	}
}

// wait waits for the status to be as wanted, or for what no news of a status tells: it
// looks again now and then.
func (d *device) wait(what string, found func(control.Status) bool) control.Status {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), patience)
	defer cancel()
	var s control.Status
	for {
		again, done := context.WithTimeout(ctx, 100*time.Millisecond)
		next, err := d.agent.WaitStatus(again, s.Seq)
		if again.Err() != nil && ctx.Err() == nil {
			next, err = d.agent.Status(ctx)
		}
		done()
		if err != nil {
			d.Fatalf("no %s: %v; %+v", what, err, s)
		}
		if s = next; found(s) {
			return s
		}
	}
}

func inPhase(phase string) func(control.Status) bool {
	return func(s control.Status) bool { return s.Phase == phase }
}

func (d *device) last() control.Record {
	d.Helper()
	records, err := d.agent.History(d.Context(), 1)
	d.must(err)
	if len(records) == 0 {
		d.Fatal("the history is empty")
	}
	return records[0]
}

// slot returns a slot's status.
func slot(s control.Status, name string) control.Slot {
	for _, slot := range s.Slots {
		if slot.Name == name {
			return slot
		}
	}
	return control.Slot{}
}
