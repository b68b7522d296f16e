package agent_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent"
	"slipstream/agent/control"
	appcontrol "slipstream/stream/control"
	"slipstream/verify"
)

// sensor is an app that takes from a device which one process at a time may take from:
// it has the lock of a file in the meantime, and says when it has not got it.
func sensor() error {
	shared, version := os.Getenv("SLIPSTREAM_SHARED"), os.Getenv("SLIPSTREAM_VERSION")
	log, err := os.OpenFile(filepath.Join(shared, "sensor.log"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	say := func(format string, args ...any) { fmt.Fprintf(log, version+" "+format+"\n", args...) }
	if os.Getenv("LISTEN_FDNAMES") != "capture" {
		if err := store([]string{"capture", filepath.Join(shared, "turn"), "open"}); err != nil {
			return err
		}
		say("opened")
	}
	var turn *os.File
	capture := func(goes bool) {
		if turn != nil && !goes {
			turn.Close()
			turn = nil
			say("holds")
		}
		if turn != nil || !goes {
			return
		}
		if turn, err = os.OpenFile(filepath.Join(shared, "turn"), os.O_RDWR, 0); err == nil {
			err = unix.Flock(int(turn.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		}
		if err != nil {
			say("CLASH %v", err)
		}
		say("goes")
	}
	if err := tell("READY=1"); err != nil {
		return err
	}
	if marker := os.Getenv("SLIPSTREAM_GREENLIGHT"); marker != "" && version == "1.0.0" {
		if err := os.WriteFile(marker, nil, 0o644); err != nil {
			return err
		}
	}
	return appcontrol.Run(context.Background(), appcontrol.Handler{
		Capture: capture, Role: func(role string) { say("role %s", role) },
	})
}

// heard waits until the sensor's apps have said something after so many bytes, and
// returns how many it takes to there.
func (d *device) heard(line string, from int) int {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), patience)
	defer cancel()
	for {
		all := d.read(d.shared("sensor.log"))
		if strings.Contains(all, "CLASH") {
			d.Fatalf("two took at once:\n%s", all)
		}
		if i := strings.Index(all[from:], line+"\n"); i >= 0 {
			return from + i + len(line)
		}
		if !agent.Wait(ctx, 2*time.Millisecond) {
			d.Fatalf("nobody said %q:\n%s", line, all)
		}
	}
}

const sensorApp = `exec "$SLIPSTREAM_SHARED/tell" sensor`

func TestOneSensorForTwoVersions(t *testing.T) {
	for _, overlap := range []string{verify.OverlapFull, verify.OverlapFrozen} {
		t.Run(overlap, func(t *testing.T) {
			d := newDevice(t)
			for _, name := range []string{"turn", "sensor.log"} {
				d.must(os.WriteFile(d.shared(name), nil, 0o666))
				d.must(os.Chmod(d.shared(name), 0o666))
			}
			overlapping := func(m *verify.Manifest) { m.App.Overlap = overlap }
			if r := d.install(d.pack("1.0.0", sensorApp, overlapping)); r.Exit != control.ExitDone {
				t.Fatalf("install: %+v", r)
			}
			n := d.heard("1.0.0 role permanent", d.heard("1.0.0 goes", 0))
			before := slot(d.wait("app", func(s control.Status) bool { return slot(s, "a").App == "ready" }), "a").PID

			d.begin(d.pack("2.0.0", sensorApp, overlapping))
			n = d.heard("2.0.0 goes", d.heard("1.0.0 holds", n))
			d.wait("trial", inPhase("trial"))
			if r := d.agent.Revert(t.Context()); r.Exit != control.ExitDone {
				t.Fatalf("revert: %+v", r)
			}
			n = d.heard("1.0.0 goes", n)
			d.wait("idle", inPhase("idle"))

			d.begin(d.pack("3.0.0", sensorApp, overlapping))
			n = d.heard("3.0.0 goes", d.heard("1.0.0 holds", n))
			s := d.wait("trial", inPhase("trial"))
			d.must(syscall.Kill(slot(s, "b").PID, syscall.SIGKILL))
			n = d.heard("1.0.0 goes", n)
			d.wait("idle", inPhase("idle"))
			if now := slot(d.wait("app", func(s control.Status) bool { return slot(s, "a").App == "ready" }), "a").PID; now != before {
				t.Errorf("the old version was started again: process %d became %d", before, now)
			}

			d.begin(d.pack("4.0.0", sensorApp, overlapping))
			n = d.heard("4.0.0 goes", d.heard("1.0.0 holds", n))
			s = d.wait("trial", inPhase("trial"))
			d.restart()
			d.must(os.WriteFile(s.Trial.Marker, nil, 0o644))
			d.wait("commit", func(s control.Status) bool { return s.Phase == "idle" && s.Permanent == "4.0.0" })
			d.heard("4.0.0 role permanent", n)
			if all := d.read(d.shared("sensor.log")); strings.Count(all, "opened") != 1 {
				t.Errorf("the sensor was opened more than once:\n%s", all)
			}
		})
	}
}
