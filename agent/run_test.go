package agent_test

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/verify"
)

func TestGoodUpdatesBecomePermanent(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.mustInstall("2.0.0")
	r := d.last()
	if r.Outcome != control.OutcomePermanent || r.From != "1.0.0" || r.To != "2.0.0" || r.Proof == nil || len(r.Proof.Switch) != 1 {
		t.Errorf("history: %+v", r)
	}
	s := d.wait("end of the old app", func(s control.Status) bool { return slot(s, "a").App == "stopped" })
	if s.Permanent != "2.0.0" || slot(s, "b").State != control.StatePermanent || slot(s, "a").State != control.StatePrevious {
		t.Errorf("status: %+v", s)
	}
	if got := record(t, d); got.Slot != "b" || got.Version != "2.0.0" || got.Previous == nil || got.Previous.Version != "1.0.0" {
		t.Errorf("active record: %+v", got)
	}
}

func record(t *testing.T, d *device) slots.Live {
	t.Helper()
	f, err := slots.OpenRecord(d.cfg.State)
	d.must(err)
	defer f.Close()
	r, err := f.Load()
	d.must(err)
	return r.Live["a"]
}

func TestRevertsAndTheirEvidence(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	tests := []struct {
		name, script  string
		change        func(*verify.App)
		reason        string
		detail, lines string
	}{
		{"crash", `tell READY=1; echo last words; sleep 0.2; exit 3`, nil, "exit", "exited with status 3", "last words"},
		{"signal", `tell READY=1; sleep 0.2; kill -SEGV $$`, nil, "exit", "signal 11", ""},
		{"crash before ready", `exit 4`, nil, "exit", "exited with status 4", "version"},
		{"never ready", `exec sleep 1000`, func(a *verify.App) { a.StartTimeoutMS = 200 }, "start", "not ready within 200ms", ""},
		{"silence", mute, func(a *verify.App) { a.StartTimeoutMS, a.DeadlineMS = 3000, 3000 }, "deadline", "no greenlight within 3s", ""},
		{"no watchdog", mute, func(a *verify.App) { a.WatchdogMS = 300 }, "watchdog", "no WATCHDOG=1 for 300ms", ""},
		{"symlink for a marker", `ln -s /etc/passwd "$SLIPSTREAM_GREENLIGHT"; ` + mute,
			func(a *verify.App) { a.StartTimeoutMS, a.DeadlineMS = 3000, 3000 }, "deadline", "", ""},
		{"no program", ``, func(a *verify.App) { a.Exec = []string{"/does/not/exist"} }, "start", "not started", ""},
	}
	before := record(t, d)
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			version := "2.0." + string(rune('0'+i))
			r := d.install(d.pack(version, test.script, func(m *verify.Manifest) {
				if test.change != nil {
					test.change(m.App)
				}
			}))
			if r.Exit != control.ExitReverted || r.Record == nil {
				t.Fatalf("install: %+v", r)
			}
			got := *r.Record
			if got.Reason != test.reason || !strings.Contains(got.Detail, test.detail) || !strings.Contains(strings.Join(got.Evidence, "\n"), test.lines) {
				t.Errorf("history: %+v", got)
			}
			if now := record(t, d); now.Digest != before.Digest {
				t.Errorf("active record: %+v", now)
			}
			s := d.wait("idle", inPhase("idle"))
			if slot(s, "b").State != control.StateReverted || slot(s, "b").App != "stopped" || slot(s, "a").App != "ready" {
				t.Errorf("slots: %+v", s.Slots)
			}
			if entries, _ := os.ReadDir(filepath.Join(d.cfg.Run, "trial")); len(entries) != 0 {
				t.Errorf("left of the trial: %v", entries)
			}
		})
	}
	if r := d.stage(d.pack("1.0.1", goodApp, func(m *verify.Manifest) { m.ReleaseCounter = 1 })); r.Exit != control.ExitRefused {
		t.Errorf("a package at the floor: %+v", r)
	}
}

// The same content is known under any number; a corrected manifest is tried.
func TestRevertedContentIsKnownAgain(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	hasty := func(m *verify.Manifest) { m.App.StartTimeoutMS = 50 }
	const slow = `sleep 0.3; ` + goodApp
	if r := d.install(d.packContent("2.0.0", slow, hasty)); r.Exit != control.ExitReverted {
		t.Fatalf("2.0.0: %+v", r)
	}
	r := d.install(d.packContent("2.0.1", slow, hasty))
	if r.Exit != control.ExitRefused || r.Code != agent.CodeReverted || !strings.Contains(r.Message, "2.0.1 has the same content as 2.0.0") {
		t.Errorf("the same under another number: %+v", r)
	}
	if r := d.install(d.packContent("2.0.2", slow, nil)); r.Exit != control.ExitDone {
		t.Errorf("with a corrected start timeout: %+v", r)
	}
}

func TestOperatorsGreenlightAndRevert(t *testing.T) {
	d := newDevice(t)
	byOperator := func(m *verify.Manifest) { m.App.Greenlight = verify.GreenlightOperator }
	d.begin(d.pack("1.0.0", mute, byOperator))
	if r := d.agent.Greenlight(t.Context()); r.Exit != control.ExitDone {
		t.Fatalf("greenlight: %+v", r)
	}
	d.wait("commit", func(s control.Status) bool { return s.Phase == "idle" && s.Permanent == "1.0.0" })

	d.begin(d.pack("2.0.0", mute, byOperator))
	d.wait("trial", inPhase("trial"))
	if r := d.agent.Revert(t.Context()); r.Exit != control.ExitDone || r.Record == nil || r.Record.Reason != "operator" {
		t.Fatalf("revert: %+v", r)
	}
	if r := d.agent.Revert(t.Context()); r.Exit != control.ExitNothing {
		t.Errorf("revert without a trial: %+v", r)
	}
}

func TestAgentRestartTouchesNothing(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.begin(d.pack("2.0.0", mute, nil))
	before := d.wait("trial", inPhase("trial"))
	d.restart()
	after := d.wait("trial", inPhase("trial"))
	for _, name := range []string{"a", "b"} {
		if slot(before, name).PID != slot(after, name).PID || slot(after, name).PID == 0 {
			t.Errorf("slot %s: process %d became %d", name, slot(before, name).PID, slot(after, name).PID)
		}
	}
	d.must(os.WriteFile(after.Trial.Marker, nil, 0o644))
	d.wait("commit", func(s control.Status) bool { return s.Phase == "idle" && s.Permanent == "2.0.0" })
}

func TestTrialCrashesWhileTheAgentIsAway(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.begin(d.pack("2.0.0", mute, nil))
	s := d.wait("trial", inPhase("trial"))
	d.end()
	<-d.ended
	d.must(syscall.Kill(slot(s, "b").PID, syscall.SIGKILL))
	d.boot()
	d.wait("revert", inPhase("idle"))
	if r := d.last(); r.Outcome != control.OutcomeReverted || r.Reason != "exit" {
		t.Errorf("history: %+v", r)
	}
}

func TestEverythingDies(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.begin(d.pack("2.0.0", mute, nil))
	d.wait("trial", inPhase("trial"))
	d.must(d.agent.StopAll(t.Context()))
	d.boot()
	s := d.wait("the old version", func(s control.Status) bool { return slot(s, "a").App == "ready" })
	if r := d.last(); r.Outcome != control.OutcomeReverted || r.Reason != "agent" || s.Permanent != "1.0.0" {
		t.Errorf("history: %+v", r)
	}
}

func TestForwarderDiesInATrial(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.begin(d.pack("2.0.0", mute, nil))
	d.wait("trial", inPhase("trial"))
	d.must(syscall.Kill(forwarderPID(t, d), syscall.SIGKILL))
	d.wait("revert", inPhase("idle"))
	if r := d.last(); r.Reason != "forwarder" {
		t.Errorf("history: %+v", r)
	}
	d.mustInstall("3.0.0") // with the new forwarder
}

// forwarderPID finds the fake forwarder of this device among the machine's processes.
func forwarderPID(t *testing.T, d *device) int {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		raw, _ := os.ReadFile(f)
		if words := strings.Split(string(raw), "\x00"); slices.Contains(words, d.cfg.Run) && strings.HasSuffix(words[0], "slipstream-forward") {
			var pid int
			for _, digit := range filepath.Base(filepath.Dir(f)) {
				pid = pid*10 + int(digit-'0')
			}
			return pid
		}
	}
	t.Fatal("no forwarder runs")
	return 0
}

func TestPermanentAppIsRestarted(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	old := slot(d.wait("app", func(s control.Status) bool { return slot(s, "a").PID > 0 }), "a").PID
	d.must(syscall.Kill(old, syscall.SIGKILL))
	d.wait("restart", func(s control.Status) bool { return slot(s, "a").App == "ready" && slot(s, "a").PID != old })
}

func TestNothingRunsThatWasNotVerified(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	if r := d.stage(d.pack("2.0.0", goodApp, nil)); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	app := filepath.Join(d.cfg.State, "slots", "b", "root", "app")
	d.must(os.WriteFile(app, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755))
	r := d.agent.Activate(t.Context(), control.ActivateRequest{Wait: true})
	if r.Exit != control.ExitReverted || r.Record.Reason != "damaged" || !strings.HasPrefix(r.Record.Detail, "not started") {
		t.Errorf("activate: %+v", r)
	}
}

func TestRefusedPackagesChangeNothing(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	good := d.pack("2.0.0", goodApp, nil)
	raw, err := os.ReadFile(good)
	d.must(err)
	flipped := slices.Clone(raw)
	flipped[len(flipped)-2000] ^= 1
	home := d.key
	d.key = newKey(t)
	stranger := d.pack("2.0.1", goodApp, nil)
	d.key = home
	tests := []struct{ name, path, code string }{
		{"signed by a stranger", stranger, verify.CodeUntrusted},
		{"cut off", write(t, raw[:len(raw)-5000]), verify.CodeTruncated},
		{"one byte of the image flipped", write(t, flipped), verify.CodeCorrupt},
		{"for other hardware", d.pack("2.0.3", goodApp, func(m *verify.Manifest) { m.Hardware = []string{"rev-b"} }), verify.CodeWrongHardware},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := d.files("slots", agent.TrustDir)
			r := d.stage(test.path)
			// A corrupt image is found while the spare slot is written, when the head
			// was believed.
			if diff := cmp.Diff(before, d.files("slots", agent.TrustDir)); diff != "" && test.code != verify.CodeCorrupt {
				t.Errorf("what is kept (-before +after):\n%s", diff)
			}
			if r.Exit != control.ExitRefused || r.Code != test.code || r.Message == "" || strings.Contains(r.Message, "\n") {
				t.Errorf("stage: %+v", r)
			}
			if got := d.last(); got.Outcome != control.OutcomeRefused || got.Reason != test.code {
				t.Errorf("history: %+v", got)
			}
			if now := record(t, d); now.Version != "1.0.0" {
				t.Errorf("active record: %+v", now)
			}
		})
	}
	if r := d.install(good); r.Exit != control.ExitDone {
		t.Errorf("the good one: %+v", r)
	}
}

// files is what lies in directories of the state, with its content.
func (d *device) files(dirs ...string) map[string]string {
	d.Helper()
	list := map[string]string{}
	for _, dir := range dirs {
		d.must(filepath.WalkDir(filepath.Join(d.cfg.State, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			list[path] = string(data)
			return err
		}))
	}
	if len(list) == 0 {
		d.Fatalf("no files in %v", dirs)
	}
	return list
}

func write(t *testing.T, data []byte) string {
	path := filepath.Join(t.TempDir(), "package.slip")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestJournalLost(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.end()
	<-d.ended
	d.must(os.WriteFile(filepath.Join(d.cfg.State, "journal.db"), []byte(strings.Repeat("no database ", 10_000)), 0o600))
	d.boot()
	s := d.wait("app", func(s control.Status) bool { return slot(s, "a").App == "ready" })
	if s.Permanent != "1.0.0" {
		t.Errorf("permanent: %q", s.Permanent)
	}
	d.mustInstall("2.0.0")
	if r := d.last(); len(r.Trial) < 8 {
		t.Errorf("trial id %s may have been used before", r.Trial)
	}
}

func TestDataOfATrial(t *testing.T) {
	d := newDevice(t)
	keep := `echo "$SLIPSTREAM_VERSION" >>"$SLIPSTREAM_DATA/versions"; `
	if r := d.install(d.pack("1.0.0", keep+goodApp, nil)); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	if r := d.install(d.pack("2.0.0", keep+`exit 1`, nil)); r.Exit != control.ExitReverted {
		t.Fatalf("install: %+v", r)
	}
	if r := d.install(d.pack("3.0.0", keep+goodApp, nil)); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	got, err := os.ReadFile(filepath.Join(d.cfg.State, "data", "b", "versions"))
	if err != nil || string(got) != "1.0.0\n3.0.0\n" {
		t.Errorf("data of the permanent version: %q, %v", got, err)
	}
}

// What somebody must put right stands in the status, with the way to do it.
func TestProblemsAreShown(t *testing.T) {
	d := newDevice(t)
	d.must(os.Rename(d.cfg.Trust, d.cfg.Trust+".away"))
	d.cfg.Gateway.HTTP = "127.0.0.1:1"
	d.restart()
	problem := func(words ...string) func(control.Status) bool {
		return func(s control.Status) bool {
			return slices.ContainsFunc(s.Problems, func(p string) bool {
				return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(p, w) })
			})
		}
	}
	d.wait("missing program", problem("slipstream-gateway not found in "+d.cfg.Bin, "set `bin`"))
	d.wait("missing keys", problem("no trusted keys at "+d.cfg.Trust, "copy the release's public key there"))
	if r := d.stage(filepath.Join(d.cfg.State, "journal.db")); r.Exit != control.ExitError || !strings.HasPrefix(r.Message, "no trusted keys at ") {
		t.Errorf("stage without keys: %+v", r)
	}

	script := "#!/bin/sh\necho starting\necho 'slipstream-gateway: gateway: listen tcp 127.0.0.1:1: address already in use'\nexit 1\n"
	gateway := filepath.Join(d.cfg.Bin, "slipstream-gateway")
	d.must(os.WriteFile(gateway, []byte(script), 0o755))
	d.wait("port in use", problem("the gateway does not run: listen tcp 127.0.0.1:1: address already in use; change [gateway] in the configuration"))

	d.must(os.WriteFile(gateway+".new", []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755))
	d.must(os.Rename(gateway+".new", gateway))
	d.must(os.Rename(d.cfg.Trust+".away", d.cfg.Trust))
	d.wait("end of the problems", func(s control.Status) bool { return len(s.Problems) == 0 })
}

func TestSecondAgentIsTurnedAway(t *testing.T) {
	d := newDevice(t)
	other := d.cfg
	other.State = t.TempDir()
	for name, cfg := range map[string]config.Config{"same device": d.cfg, "another state": other} {
		_, err := agent.New(cfg, slog.New(slog.DiscardHandler))
		if want := fmt.Sprintf("another agent already runs here (process %d)", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other = d.cfg
	other.Run = t.TempDir()
	if _, err := agent.New(other, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another agent already runs here") {
		t.Errorf("another run directory: %v", err)
	}
}

func TestCrashesOfThePermanentAppAreShown(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	app := slot(d.wait("app", func(s control.Status) bool { return slot(s, "a").PID > 0 }), "a")
	if app.Restarts != 0 || app.LastExit != "" {
		t.Errorf("before any crash: %+v", app)
	}
	d.must(syscall.Kill(app.PID, syscall.SIGSEGV))
	s := d.wait("restart", func(s control.Status) bool { return slot(s, "a").App == "ready" && slot(s, "a").Restarts == 1 })
	if app := slot(s, "a"); !strings.Contains(app.LastExit, "signal 11") || app.LastExitAt.IsZero() {
		t.Errorf("after one crash: %+v", app)
	}
}
