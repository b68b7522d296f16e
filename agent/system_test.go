package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/slots/boot"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// rebooter is a device with two systems that is started anew by hand: the agent and all
// that it has started are ended, its boot loader chooses a system, and another agent
// finds another boot id.
type rebooter struct {
	*device
	firmware firmware
	dir      string // of the partitions and of the boot loader's state
	running  string
	boots    int
	asked    chan struct{} // a reboot was asked for
}

func newRebooter(t *testing.T) *rebooter {
	dir := t.TempDir() // before the device, so that it is removed after its agent has ended
	r := newRebooterOn(newDevice(t), dir, plainFile)
	r.mustInstall("1.0.0")
	return r
}

// newRebooterOn makes a device one with two systems.
func newRebooterOn(d *device, dir string, f firmware) *rebooter {
	d.Helper()
	r := &rebooter{device: d, firmware: f, dir: dir, running: "a", boots: 1, asked: make(chan struct{}, 100)}
	for _, slot := range []string{"a", "b"} {
		d.must(os.WriteFile(partition(dir, slot), factoryImage, 0o600))
	}
	d.must(f.lay(dir))
	d.must(r.loader().Commit("b"))
	d.must(r.loader().Commit("a")) // and b may be started too
	d.cfg.System = systemsIn(d.T, dir, f)
	d.host = agent.Host{
		BootID:  func() (string, error) { return fmt.Sprintf("boot-%d", r.boots), nil },
		Running: func() (string, error) { return r.running, nil },
		Uptime:  func() time.Duration { return 0 },
		Restart: func(context.Context) error { r.asked <- struct{}{}; return nil },
	}
	r.off()
	d.boot()
	return r
}

// systemsIn is how such a device is configured.
func systemsIn(t *testing.T, dir string, f firmware) config.System {
	path, err := f.path(dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return config.System{
		A: partition(dir, "a"), B: partition(dir, "b"), Boot: config.Boot{Kind: f.kind, Path: path}, Reboot: []string{"false"},
	}
}

// factoryImage is what both partitions hold at first.
var factoryImage = bytes.Repeat([]byte("old"), 10_000)

func systemImage(version string) []byte { return bytes.Repeat([]byte("system "+version+"\n"), 1500) }

func partition(dir, slot string) string { return filepath.Join(dir, "system-"+slot) }

func (r *rebooter) partition(slot string) string { return partition(r.dir, slot) }

func (r *rebooter) loader() boot.Control {
	r.Helper()
	c, err := r.firmware.open(r.dir)
	r.must(err)
	return c
}

// off ends everything, as a power cut or a shutdown does.
func (r *rebooter) off() {
	r.Helper()
	select {
	case <-r.agent.Up(): // before that it has nothing to end
	case err := <-r.device.ended:
		r.Fatalf("the agent has ended: %v", err)
	}
	r.must(r.agent.StopAll(context.Background()))
}

// on is a boot to the end.
func (r *rebooter) on() {
	r.Helper()
	r.choose()
	r.boot()
}

// choose is the boot loader's part of a boot.
func (r *rebooter) choose() {
	r.Helper()
	var err error
	r.running, err = r.firmware.boot(r.T, r.dir)
	r.must(err)
	if r.running != "a" && r.running != "b" {
		r.Fatalf("the boot loader started %q", r.running)
	}
	r.boots++
}

// reboots waits for a reboot that the agent asks for, and lets it happen.
func (r *rebooter) reboots(into string) {
	r.Helper()
	r.waitAsked()
	r.off()
	r.on()
	if r.running != into {
		r.Fatalf("system %s was started, not %s", r.running, into)
	}
}

func (r *rebooter) waitAsked() {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	select {
	case <-r.asked:
	case <-ctx.Done():
		s, _ := r.agent.Status(context.Background())
		r.Fatalf("no reboot was asked for: %+v", s)
	}
}

// system packs a system image, alone or, with a script, beside an app.
func (r *rebooter) system(version, script string, change func(*verify.Manifest)) string {
	r.Helper()
	r.counts++
	image := filepath.Join(r.TempDir(), "image")
	r.must(os.WriteFile(image, systemImage(version), 0o600))
	opts := pack.Options{Key: r.key, Images: []pack.Source{{Class: verify.ClassSystem, Kind: verify.KindDisk, Path: image}}}
	opts.Manifest = verify.Manifest{Product: "camera", Hardware: []string{"rev-a"}, Version: version, ReleaseCounter: r.counts}
	if script == "" {
		opts.Manifest.Trial = &verify.TrialTerms{Greenlight: verify.GreenlightAuto, DeadlineMS: 20_000, SoakMS: 50}
	} else {
		opts.Dir = r.TempDir()
		r.must(os.WriteFile(filepath.Join(opts.Dir, "app"), []byte(appHead+script+"\n# "+version+"\n"), 0o755))
		opts.Manifest.App = &verify.App{
			Exec: []string{"app"}, Streams: []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}},
			StartTimeoutMS: 10_000, DeadlineMS: 20_000, SoakMS: 50, StopTimeoutMS: 1000, RestartMax: 3, RestartWindow: 60_000,
		}
	}
	if change != nil {
		change(&opts.Manifest)
	}
	path, err := pack.BuildFile(r.Context(), r.TempDir(), opts)
	r.must(err)
	return path
}

func (r *rebooter) record() slots.Record {
	r.Helper()
	f, err := slots.OpenRecord(r.cfg.State)
	r.must(err)
	defer f.Close()
	record, err := f.Load()
	r.must(err)
	return record
}

// expect looks at what is permanent, for the record and for the boot loader.
func (r *rebooter) expect(system, live string) {
	r.Helper()
	record := r.record()
	if record.System != system || record.Live[system].Version != live {
		r.Errorf("the record says %+v, want system %s with %s", record, system, live)
	}
	r.wait("agreement of the boot loader", func(control.Status) bool {
		s, err := r.loader().State()
		return err == nil && s.Permanent == system && s.Trial == "" && s.Slots[system].Bootable
	})
	r.wait("permanent app", func(s control.Status) bool {
		return s.Permanent == live && slot(s, record.Live[system].Slot).App == "ready"
	})
}

func (r *rebooter) ended(outcome, reason string, reboots int) {
	r.Helper()
	r.wait("end of the trial", func(s control.Status) bool { return s.Phase == "idle" && s.Trial == nil })
	if got := r.last(); got.Outcome != outcome || got.Reason != reason || got.Reboots != reboots {
		r.Errorf("history: %+v", got)
	}
}

func TestSystemUpdate(t *testing.T) {
	r := newRebooter(t)
	r.begin(r.system("2.0.0", "", nil))
	r.reboots("b")
	r.ended(control.OutcomePermanent, "", 1)
	r.expect("b", "1.0.0")
	s := r.wait("systems", func(control.Status) bool { return true }).Systems
	for i := range s {
		s[i].Stored = nil // another test looks at that
	}
	if want := []control.System{{Name: "a"}, {Name: "b", State: control.StatePermanent, Version: "2.0.0", Running: true}}; !slices.Equal(s, want) {
		t.Errorf("systems: %+v", s)
	}
	if raw, err := os.ReadFile(r.partition("b")); err != nil || !bytes.HasPrefix(raw, []byte("system 2.0.0\n")) {
		t.Errorf("the partition begins with %.20q, %v", raw, err)
	}
	r.mustInstall("3.0.0") // an app alone, with the new system
	if live := r.record().Live; live["a"].Version != "1.0.0" || live["b"].Version != "3.0.0" {
		t.Errorf("the record says %+v", live)
	}
	r.begin(r.system("4.0.0", "", nil)) // and the other way
	r.reboots("a")
	r.ended(control.OutcomePermanent, "", 1)
	r.expect("a", "3.0.0")
	if got := r.stage(r.system("4.0.1", "", func(m *verify.Manifest) { m.ReleaseCounter = 4 })); got.Exit != control.ExitRefused {
		t.Errorf("a system at the floor: %+v", got)
	}
	if got := r.stage(r.pack("5.0.0", goodApp, func(m *verify.Manifest) { m.Requires = &verify.Requires{System: 99} })); got.Code != agent.CodeRequires {
		t.Errorf("a version that needs a newer system: %+v", got)
	}
}

func TestSystemWithItsApp(t *testing.T) {
	r := newRebooter(t)
	r.begin(r.system("2.0.0", goodApp, nil))
	r.reboots("b")
	r.ended(control.OutcomePermanent, "", 1)
	r.expect("b", "2.0.0")
	if live := r.record().Live; live["a"].Version != "1.0.0" || live["b"].Previous == nil || live["b"].Previous.Version != "1.0.0" {
		t.Errorf("the record says %+v", live)
	}
}

func TestSystemsThatAreReverted(t *testing.T) {
	tests := []struct {
		name, script, reason string
		change               func(*verify.Manifest)
	}{
		{"no greenlight", "", "deadline", func(m *verify.Manifest) {
			m.Trial.Greenlight, m.Trial.DeadlineMS = verify.GreenlightOperator, 2000
		}},
		{"no greenlight for its app", mute, "deadline", func(m *verify.Manifest) { m.App.StartTimeoutMS, m.App.DeadlineMS = 3000, 3000 }},
		{"its app crashes", `tell READY=1; sleep 0.2; exit 3`, "exit", nil},
		{"its app does not start", `exit 4`, "exit", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRebooter(t)
			r.begin(r.system("2.0.0", test.script, test.change))
			r.reboots("b")
			r.reboots("a") // by itself
			r.ended(control.OutcomeReverted, test.reason, 2)
			r.expect("a", "1.0.0")
			r.mustInstall("3.0.0")
		})
	}
}

// The power fails in each phase.
func TestPowerCutsOfASystemsTrial(t *testing.T) {
	reason := map[string]string{"rebooting": "boot", "starting": "power", "trial": "power"}
	for phase, way := range map[string]func(*rebooter){
		"rebooting": func(r *rebooter) { r.waitAsked(); r.off(); r.choose() }, // it dies at once
		"starting": func(r *rebooter) {
			r.reboots("b")
			r.wait("start", inPhase("starting"))
			r.off()
		},
		"trial": func(r *rebooter) { r.reboots("b"); r.wait("trial", inPhase("trial")); r.off() },
	} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			r := newRebooter(t)
			script := mute
			if phase == "starting" {
				script = `exec sleep 1000`
			}
			r.begin(r.system("2.0.0", script, nil))
			way(r)
			r.on()
			r.ended(control.OutcomeReverted, reason[phase], 1)
			r.expect("a", "1.0.0")
			if r.running != "a" {
				t.Errorf("system %s runs", r.running)
			}
		})
	}
}

// The record is written, and the boot loader was not told.
func TestPowerCutBetweenRecordAndBootLoader(t *testing.T) {
	r := newRebooter(t)
	r.begin(r.system("2.0.0", "", nil))
	r.reboots("b")
	r.ended(control.OutcomePermanent, "", 1)
	r.expect("b", "1.0.0")
	r.off()
	r.must(r.loader().Commit("a")) // as it was before
	r.on()
	if r.running != "a" {
		t.Fatalf("system %s runs", r.running)
	}
	r.reboots("b")
	r.expect("b", "1.0.0")
	r.off()
	r.running = "a" // it cannot be loaded
	r.boots++
	r.boot()
	r.waitAsked()
	r.off()
	r.boots++
	r.boot() // still not
	r.wait("the word that something is wrong", func(s control.Status) bool {
		return len(s.Problems) == 1 && strings.Contains(s.Problems[0], "system slot a runs, although b is the permanent one")
	})
	if got := r.stage(r.pack("3.0.0", goodApp, nil)); got.Code != agent.CodeSystem {
		t.Errorf("stage: %+v", got)
	}
	if len(r.asked) > 0 {
		t.Error("a second reboot was asked for")
	}
}

// A camera whose system slots are gone is still a camera.
func TestSystemSlotsThatAreGone(t *testing.T) {
	r := newRebooter(t)
	r.off()
	r.must(os.Remove(r.partition("b")))
	r.boot()
	r.wait("the word that something is wrong", func(s control.Status) bool {
		return len(s.Problems) == 1 && strings.Contains(s.Problems[0], "systems cannot be updated: ")
	})
	if got := r.stage(r.system("2.0.0", "", nil)); got.Exit != control.ExitError || got.Code != agent.CodeStage {
		t.Errorf("stage: %+v", got)
	}
	r.mustInstall("3.0.0")
}

// What is in the slot is not what was staged: the boot loader is not told.
func TestDamagedSystemIsNotTried(t *testing.T) {
	r := newRebooter(t)
	if got := r.stage(r.system("2.0.0", "", nil)); got.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", got)
	}
	if s, err := r.loader().State(); err != nil || s.Slots["b"].Bootable {
		t.Errorf("the boot loader would start what was just written: %+v, %v", s, err)
	}
	f, err := os.OpenFile(r.partition("b"), os.O_WRONLY, 0)
	r.must(err)
	_, err = f.WriteAt([]byte("X"), 1000)
	r.must(err)
	r.must(f.Close())
	got := r.agent.Activate(t.Context(), control.ActivateRequest{Wait: true})
	if got.Exit != control.ExitReverted || got.Record.Reason != "damaged" || !strings.Contains(got.Record.Detail, "does not hold what was staged") {
		t.Errorf("activate: %+v", got)
	}
	r.expect("a", "1.0.0")
	if len(r.asked) > 0 {
		t.Error("a reboot was asked for")
	}
}
