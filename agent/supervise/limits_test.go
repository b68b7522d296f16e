package supervise_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/agent/supervise"
)

// put writes files of a cgroup that is only a directory: on a machine whose
// controllers are those of version 1 no real one has these.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLimitsAreSet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "app")
	put(t, dir, map[string]string{"cgroup.freeze": "", "memory.max": "", "memory.oom.group": "", "pids.max": "", "cpu.max": ""})
	g, err := supervise.OpenGroup(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.Limit(supervise.Limits{Memory: 64 << 20, Tasks: 20, CPUPercent: 150}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"memory.max": "67108864", "memory.oom.group": "1", "pids.max": "20", "cpu.max": "150000 100000"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "pids.max")); err != nil {
		t.Fatal(err)
	}
	if err := g.Limit(supervise.Limits{Tasks: 20}); err == nil || !strings.Contains(err.Error(), "pids.max") {
		t.Errorf("without the file: %v", err)
	}
}

func TestUsageIsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "app")
	put(t, dir, map[string]string{
		"cgroup.freeze": "", "memory.peak": "1234567\n", "memory.events": "low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 1\n",
		"pids.events": "max 7\n", "cpu.stat": "usage_usec 99\nnr_throttled 2\nthrottled_usec 1500000\n",
	})
	g, err := supervise.OpenGroup(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if got, want := g.Usage(), (supervise.Usage{PeakMemory: 1234567, OOMKills: 3, TasksHit: 7, Throttled: 1500 * time.Millisecond}); got != want {
		t.Errorf("usage %+v, want %+v", got, want)
	}
	put(t, dir, map[string]string{"memory.peak": "max\n", "memory.events": "oom_kill many\n"})
	if got := g.Usage(); got.PeakMemory != 0 || got.OOMKills != 0 {
		t.Errorf("of nonsense: %+v", got)
	}
}

// What a real place can limit is turned on, and what it cannot is said with its reason.
func TestWhatCanBeLimited(t *testing.T) {
	s := newGroups(t)
	g := newGroup(t, s, "app")
	for _, p := range s.Controls() {
		file := map[string]string{supervise.ProtectMemory: "memory.max", supervise.ProtectTasks: "pids.max", supervise.ProtectCPU: "cpu.max"}[p.Name]
		_, err := os.Stat(filepath.Join(g.Path(), file))
		if p.On != (err == nil) || p.On == (p.Why != "") {
			t.Errorf("%+v, and %s: %v", p, file, err)
		}
	}
}
