package agent_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/agent/control"
)

// kill ends a slot's app and waits for what follows.
func (d *device) kill(name string) {
	d.Helper()
	s := d.wait("app of slot "+name, func(s control.Status) bool { return slot(s, name).PID > 0 })
	d.must(syscall.Kill(slot(s, name).PID, syscall.SIGKILL))
}

func TestAppsWriteBesideTheirData(t *testing.T) {
	d := newDevice(t)
	if r := d.install(d.pack("1.0.0", `echo "$SLIPSTREAM_ROLE" >>relative; `+goodApp, nil)); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	d.kill("a")
	d.wait("restart", func(s control.Status) bool { return slot(s, "a").App == "ready" && slot(s, "a").Restarts == 1 })
	got, err := os.ReadFile(filepath.Join(d.cfg.State, "data", "a", "relative"))
	if err != nil || string(got) != "trial\npermanent\n" {
		t.Errorf("file in the working directory: %q, %v", got, err)
	}
}

// spoil changes one byte of a slot's app.
func (d *device) spoil(name string) {
	d.Helper()
	path := filepath.Join(d.cfg.State, "slots", name, "root", "app")
	raw, err := os.ReadFile(path)
	d.must(err)
	d.must(os.WriteFile(path, append(raw, '#'), 0o755))
}

func TestDamagedVersionIsFollowedByTheOneBefore(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	two := d.pack("2.0.0", goodApp, nil)
	if r := d.install(two); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	d.wait("end of the old app", func(s control.Status) bool { return slot(s, "a").App == "stopped" })
	d.spoil("b")
	d.kill("b")
	d.wait("the version before", func(s control.Status) bool { return s.Permanent == "1.0.0" && slot(s, "a").App == "ready" })
	if r := d.last(); r.Outcome != control.OutcomeReverted || r.Reason != "damaged" || r.To != "2.0.0" || !strings.Contains(r.Detail, "1.0.0 runs in its place") {
		t.Errorf("history: %+v", r)
	}
	if got := record(t, d); got.Slot != "a" || got.Version != "1.0.0" || got.Counter != 2 {
		t.Errorf("active record, with the floor: %+v", got)
	}
	d.restart()
	d.wait("the version before", func(s control.Status) bool { return s.Permanent == "1.0.0" && slot(s, "a").App == "ready" })
	if r := d.install(two); r.Exit != control.ExitDone {
		t.Errorf("the damaged version, once more: %+v", r)
	}
}

func TestDamageWithoutAWayBackIsAProblem(t *testing.T) {
	d := newDevice(t)
	one := d.pack("1.0.0", goodApp, nil)
	if r := d.install(one); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	d.spoil("a")
	d.kill("a")
	s := d.wait("problem", func(s control.Status) bool { return len(s.Problems) > 0 })
	if p := s.Problems[0]; !strings.Contains(p, "1.0.0 in slot a is damaged") || !strings.Contains(p, "stage it") {
		t.Errorf("problem: %s", p)
	}
	if r := d.install(one); r.Exit != control.ExitDone {
		t.Fatalf("the damaged version, once more: %+v", r)
	}
	d.wait("end of the problem", func(s control.Status) bool { return len(s.Problems) == 0 && slot(s, "b").App == "ready" })
}

// The slots compare the files with the hash in their own note, which lies beside
// them. Who changes both is found out by the signed hash.
func TestASlotsOwnNoteIsNotBelieved(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	if r := d.stage(d.pack("2.0.0", goodApp, nil)); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	note := filepath.Join(d.cfg.State, "slots", "b", "state.json")
	raw, err := os.ReadFile(note)
	d.must(err)
	var st map[string]any
	d.must(json.Unmarshal(raw, &st))
	was := st["sha256"].(string)
	d.must(os.WriteFile(note, bytes.Replace(raw, []byte(was), []byte(strings.Repeat("0", len(was))), 1), 0o644))
	r := d.agent.Activate(t.Context(), control.ActivateRequest{Wait: true})
	if r.Exit != control.ExitReverted || !strings.Contains(r.Record.Detail, "does not hold the image that was signed") {
		t.Errorf("activate: %+v", r)
	}
}

func TestBothVersionsAreDamaged(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.mustInstall("2.0.0")
	d.wait("end of the old app", func(s control.Status) bool { return slot(s, "a").App == "stopped" })
	d.spoil("a")
	d.spoil("b")
	d.kill("b")
	s := d.wait("problem", func(s control.Status) bool {
		return len(s.Problems) > 0 && strings.Contains(s.Problems[0], "1.0.0 cannot take its place")
	})
	if got := record(t, d); s.Permanent != "2.0.0" || got.Version != "2.0.0" {
		t.Errorf("permanent: %s, %+v", s.Permanent, got)
	}
}

// Much may happen while a start waits for the forwarder, so the slot is checked
// after that, whatever was found before.
func TestASlotIsCheckedLast(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	forwarder := forwarderPID(t, d)
	d.must(syscall.Kill(forwarder, syscall.SIGSTOP))
	d.begin(d.pack("2.0.0", goodApp, nil))
	d.spoil("b")
	time.Sleep(time.Second) // longer than what was found before is believed
	d.must(syscall.Kill(forwarder, syscall.SIGCONT))
	d.wait("revert", inPhase("idle"))
	if r := d.last(); r.Reason != "damaged" || !strings.Contains(r.Detail, "does not hold what was staged") {
		t.Errorf("history: %+v", r)
	}
}

// What was found whole while the start waited may not be so any more.
func TestASlotIsCheckedOnceMore(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	forwarder := forwarderPID(t, d)
	d.must(syscall.Kill(forwarder, syscall.SIGSTOP))
	d.begin(d.pack("2.0.0", goodApp, nil))
	time.Sleep(time.Second) // in which it is found whole
	d.spoil("b")
	d.must(syscall.Kill(forwarder, syscall.SIGCONT))
	d.wait("revert", inPhase("idle"))
	if r := d.last(); r.Reason != "damaged" {
		t.Errorf("history: %+v", r)
	}
}
