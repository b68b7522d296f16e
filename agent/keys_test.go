package agent_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"slipstream/agent/control"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// Keys that are gone, broken or rotated are a matter for the next start. Nobody
// who watches a running app may notice.
func TestKeysGoWhileAnAppRuns(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	watched := func(s control.Status) bool {
		return slices.ContainsFunc(s.Streams, func(s control.StreamStatus) bool { return s.Version == "1.0.0" })
	}
	before := slot(d.wait("stream", watched), "a")
	keys, err := os.ReadFile(d.cfg.Trust)
	d.must(err)
	rotated, err := pack.PublicPEM(&newKey(t).PublicKey)
	d.must(err)
	d.must(os.WriteFile(d.cfg.Trust, rotated, 0o644))
	d.restart()
	d.wait("problem", func(s control.Status) bool {
		return watched(s) && slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "could not be started again") })
	})
	for _, bad := range []string{"", "no keys"} {
		d.must(os.WriteFile(d.cfg.Trust, []byte(bad), 0o644))
		d.restart()
		if after := slot(d.wait("stream", watched), "a"); after.PID != before.PID || after.App != "ready" {
			t.Errorf("slot after a restart: %+v, before: %+v", after, before)
		}
	}
	d.must(os.Remove(d.cfg.Trust))
	d.restart()
	d.wait("stream", watched)
	d.kill("a")
	s := d.wait("back-off", func(s control.Status) bool { return strings.Contains(slot(s, "a").LastExit, "not started") })
	if !slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, d.cfg.Trust) }) || s.Permanent != "1.0.0" {
		t.Errorf("status: %+v", s)
	}
	if slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "damaged") }) {
		t.Errorf("missing keys pass for damage: %q", s.Problems)
	}
	d.must(os.WriteFile(d.cfg.Trust, keys, 0o644))
	d.wait("start with the keys", func(s control.Status) bool { return slot(s, "a").App == "ready" })
}

func publishRTSP(m *verify.Manifest) { m.App.PublishRTSP = true }

// ingestPID reads it from the record by which the next agent would adopt it.
func ingestPID(d *device) int {
	d.Helper()
	files, err := filepath.Glob(filepath.Join(d.cfg.Run, "proc", "ingest-*.json"))
	d.must(err)
	if len(files) != 1 {
		d.Fatalf("records of an ingest: %v", files)
	}
	raw, err := os.ReadFile(files[0])
	d.must(err)
	var record struct{ PID int }
	d.must(json.Unmarshal(raw, &record))
	return record.PID
}

func TestIngestGoesWhileTheAgentIsAway(t *testing.T) {
	d := newDevice(t)
	path := d.pack("1.0.0", `touch "$SLIPSTREAM_GREENLIGHT"; exec sleep 1000`, publishRTSP)
	if r := d.install(path); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	before := slot(d.wait("app", func(s control.Status) bool { return slot(s, "a").App == "ready" }), "a")
	d.end()
	<-d.ended
	d.must(syscall.Kill(ingestPID(d), syscall.SIGKILL))
	d.boot()
	d.wait("restart", func(s control.Status) bool {
		return slot(s, "a").App == "ready" && slot(s, "a").PID != before.PID
	})
}
