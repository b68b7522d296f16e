package agent_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/agent/control"
	"slipstream/agent/supervise"
	"slipstream/verify"
)

// inVain is a trial that waits for its greenlight as long as a slow machine needs to
// start it.
func inVain(m *verify.Manifest) { m.App.StartTimeoutMS, m.App.DeadlineMS = 6000, 6000 }

// What lies at the marker's place and is none does not count, and the device says why.
func TestFaultsOfMarkers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, script, detail string }{
		{"a symbolic link", `ln -s /etc/passwd "$SLIPSTREAM_GREENLIGHT"`, "it is not a regular file"},
		{"a directory", `mkdir "$SLIPSTREAM_GREENLIGHT"`, "it is not a regular file"},
		{"a FIFO", `mkfifo "$SLIPSTREAM_GREENLIGHT"`, "it is not a regular file"},
		{"a hard link", `touch "$SLIPSTREAM_DATA/x" "${SLIPSTREAM_GREENLIGHT%/*}/y"; ln "${SLIPSTREAM_GREENLIGHT%/*}/y" "$SLIPSTREAM_GREENLIGHT"`, "it has more than one link"},
		{"another trial's", `d=${SLIPSTREAM_GREENLIGHT%/*}; touch "${d%/*}/greenlight" "${d}0/greenlight"`, ""},
		{"it is nowhere", `true`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			d.mustInstall("1.0.0")
			d.revertsInVain(d.pack("2.0.0", test.script+"; "+mute, inVain), test.detail)
		})
	}
}

// revertsInVain installs a package whose marker does not count, and says why.
func (d *device) revertsInVain(path, why string) {
	d.Helper()
	r := d.install(path)
	d.wait("idle", inPhase("idle"))
	want := "no greenlight within 6s"
	if why != "" {
		want += "; what lies at the marker's place does not count: " + why
	}
	if last := d.last(); r.Exit != control.ExitReverted || last.Reason != "deadline" || !strings.HasPrefix(last.Detail, want) || why == "" && last.Detail != want {
		d.Errorf("install: %+v, history: %+v; want %q", r, last, want)
	}
}

// Without its directory a trial has no marker, also not by a link to a directory
// elsewhere that has one. Landlock does not let an app do that; where there is none, it
// may.
func TestTheTrialsDirectoryIsRemoved(t *testing.T) {
	t.Parallel()
	for name, linked := range map[string]bool{"removed": false, "led elsewhere": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			d.mustInstall("1.0.0")
			d.begin(d.pack("2.0.0", mute, inVain))
			dir := filepath.Dir(d.wait("trial", inPhase("trial")).Trial.Marker)
			d.must(os.Remove(dir))
			if linked {
				there := t.TempDir()
				d.must(os.WriteFile(filepath.Join(there, "greenlight"), nil, 0o644))
				d.must(os.Symlink(there, dir))
			}
			d.wait("revert", inPhase("idle"))
			if r := d.last(); r.Reason != "deadline" || !strings.Contains(r.Detail, "the trial's directory is gone") {
				t.Errorf("history: %+v", r)
			}
			d.mustInstall("3.0.0")
		})
	}
	t.Run("by the app", func(t *testing.T) {
		t.Parallel()
		d := newDevice(t)
		d.mustInstall("1.0.0")
		s, err := d.agent.Status(t.Context())
		d.must(err)
		why := "the trial's directory is gone"
		if has(s, supervise.ProtectLandlock) {
			why = ""
		}
		d.revertsInVain(d.pack("2.0.0", `rm -r "${SLIPSTREAM_GREENLIGHT%/*}"; `+mute, inVain), why)
	})
}

// A marker that was taken has counted, whatever becomes of it; one that is gone before
// anybody looked was never there.
func TestMarkersThatAreRemoved(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.begin(d.pack("2.0.0", mute, func(m *verify.Manifest) { m.App.SoakMS = 2000 }))
	s := d.wait("trial", inPhase("trial"))
	d.must(os.WriteFile(s.Trial.Marker, nil, 0o644))
	d.wait("latch", func(now control.Status) bool { return now.Trial == nil || now.Trial.Latched })
	d.must(os.Remove(s.Trial.Marker))
	d.wait("commit", func(s control.Status) bool { return s.Phase == "idle" && s.Permanent == "2.0.0" })

	d.begin(d.pack("3.0.0", mute, inVain))
	s = d.wait("trial", inPhase("trial"))
	d.end() // nobody looks
	<-d.ended
	d.must(os.WriteFile(s.Trial.Marker, nil, 0o644))
	d.must(os.Remove(s.Trial.Marker))
	d.boot()
	d.wait("revert", inPhase("idle"))
	if r := d.last(); r.Outcome != control.OutcomeReverted || r.Reason != "deadline" || r.To != "3.0.0" {
		t.Errorf("history: %+v", r)
	}
}

// On a full disk nobody can make a marker, and the operator is told so. When there is
// room again the word counts.
func TestMarkersOnAFullDisk(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.begin(d.pack("2.0.0", mute, byOperator))
	s := d.wait("trial", inPhase("trial"))
	dir := filepath.Dir(s.Trial.Marker)
	d.must(unix.Mount("none", dir, "tmpfs", 0, "nr_inodes=1"))
	full := true
	t.Cleanup(func() {
		if full {
			unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	if r := d.agent.Greenlight(t.Context()); r.Exit != control.ExitError || !strings.Contains(r.Message, "no space left on device") {
		t.Errorf("greenlight on a full disk: %+v", r)
	}
	if s := d.wait("status", func(control.Status) bool { return true }); s.Trial == nil || s.Trial.Latched {
		t.Fatalf("the trial: %+v", s.Trial)
	}
	d.must(unix.Unmount(dir, unix.MNT_DETACH))
	full = false
	if r := d.agent.Greenlight(t.Context()); r.Exit != control.ExitDone {
		t.Errorf("greenlight: %+v", r)
	}
	d.wait("commit", func(s control.Status) bool { return s.Phase == "idle" && s.Permanent == "2.0.0" })
}

// ownMounts runs the test in a process of its own, whose mounts nobody else has. It
// returns false to the one that waits for it.
func ownMounts(t *testing.T) (here bool) {
	const inside = "SLIPSTREAM_OWN_MOUNTS"
	if os.Getenv(inside) == t.Name() {
		if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("a disk of its own is mounted, which needs root")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+flag.Lookup("test.timeout").Value.String())
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

// crashes are when an app ends, from some time before its marker to some time after it
// may be permanent. Which of both it becomes is a matter of chance.
var crashes = []string{"before", "0", "0.001", "0.002", "0.004", "0.006", "0.008", "0.010", "0.012", "0.015", "0.020", "0.030", "0.060"}

// However near to its marker an app crashes: what the history says, what the record
// says, and what runs are the same, and all of it stays so with another agent.
func TestCrashesAroundTheMarker(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	permanent, outcomes := "1.0.0", map[string]int{}
	for i, when := range slices.Concat(crashes, crashes, crashes) {
		version := fmt.Sprintf("2.0.%d", i)
		script := `if [ "$SLIPSTREAM_ROLE" = permanent ]; then tell READY=1; exec sleep 1000; fi
(sleep ` + when + `; kill -SEGV $$) & touch "$SLIPSTREAM_GREENLIGHT"; exec sleep 1000`
		if when == "before" {
			script = `if [ "$SLIPSTREAM_ROLE" = permanent ]; then tell READY=1; exec sleep 1000; fi
(sleep 0.001; touch "$SLIPSTREAM_GREENLIGHT") & kill -SEGV $$`
		}
		r := d.install(d.pack(version, "tell READY=1; "+script, func(m *verify.Manifest) { m.App.SoakMS = 1 }))
		d.wait("idle", inPhase("idle"))
		last := d.last()
		outcomes[last.Outcome]++
		switch {
		case last.To != version || last.From != permanent:
			t.Errorf("%s: the history has %+v", when, last)
		case last.Outcome == control.OutcomePermanent && r.Exit == control.ExitDone:
			permanent = version
		case last.Outcome != control.OutcomeReverted || r.Exit != control.ExitReverted || last.Reason != "exit" || !strings.Contains(last.Detail, "killed by signal 11"):
			t.Errorf("%s: install: %+v, history: %+v", when, r, last)
		}
		if got := record(t, d).Version; got != permanent {
			t.Errorf("%s: the record names %s, want %s; history: %+v", when, got, permanent, last)
		}
		if i%4 == 3 {
			d.restart()
		}
		s := d.wait("the permanent version", func(s control.Status) bool {
			return s.Phase == "idle" && runsAs(s, control.StatePermanent) == permanent
		})
		if s.Permanent != permanent {
			t.Errorf("%s: %s runs, and %s is permanent", when, permanent, s.Permanent)
		}
	}
	t.Logf("outcomes: %v", outcomes)
	if outcomes[control.OutcomeReverted] == 0 {
		t.Error("no crash came before the commit")
	}
}

// runsAs is the version whose app is ready in a slot of this state.
func runsAs(s control.Status, state string) string {
	for _, slot := range s.Slots {
		if slot.State == state && slot.App == "ready" {
			return slot.Version
		}
	}
	return ""
}
