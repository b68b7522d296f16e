package dist_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// initDevice is a device whose agent is started by the init script, in a busybox's
// shell that finds busybox's commands alone.
type initDevice struct {
	*testing.T
	dir, script, applets string
}

func newInitDevice(t *testing.T) *initDevice {
	t.Helper()
	dir, err := os.MkdirTemp("", "slip") // a socket's path must be short
	must(t, err)
	d := &initDevice{T: t, dir: dir, script: filepath.Join(dir, "S90slipstream"), applets: filepath.Join(dir, "bin")}
	must(t, os.Mkdir(d.applets, 0o755))
	busybox, err := exec.LookPath("busybox")
	must(t, err)
	run(t, busybox, "--install", "-s", d.applets)
	must(t, os.Remove(filepath.Join(d.applets, "logger"))) // this machine's log is not ours
	bin := filepath.Join(dir, "programs")
	must(t, os.Mkdir(bin, 0o755))
	for _, name := range []string{"slipstream", "slipstream-forward", "slipstream-start"} {
		must(t, os.Link(filepath.Join(built(t), name), filepath.Join(bin, name)))
	}
	cfg := filepath.Join(dir, "slipstream.toml")
	must(t, os.WriteFile(cfg, []byte(`device = "cam-1"
product = "cam"
hardware = "rev-a"
state = "`+dir+`/state"
run = "`+dir+`/run"
trust = "`+dir+`/trust.pem"
[gateway]
http = ""
rtsp = ""
`), 0o644))
	text := strings.NewReplacer(
		"#!/bin/sh", "#!"+filepath.Join(d.applets, "sh"),
		"AGENT=/usr/bin/slipstream", "AGENT="+filepath.Join(bin, "slipstream"),
		"START=/usr/lib/slipstream/", "START="+bin+"/",
		"CONFIG=/etc/slipstream/slipstream.toml", "CONFIG="+cfg,
		"RUN=/run/slipstream", "RUN="+filepath.Join(dir, "run"),
		"/etc/default/slipstream", filepath.Join(dir, "default"),
	).Replace(read(t, "S90slipstream"))
	must(t, os.WriteFile(d.script, []byte(text), 0o755))
	t.Cleanup(func() {
		if out, code := d.try("stop-all"); code != 0 {
			t.Errorf("stop-all: %d\n%s", code, out)
		}
		os.RemoveAll(dir)
	})
	return d
}

// try runs the script as init does, and returns what it printed and its exit code.
func (d *initDevice) try(verb string) (string, int) {
	d.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience) // the test's own is over at its end
	defer cancel()
	cmd := exec.CommandContext(ctx, d.script, verb)
	cmd.Env = []string{"PATH=" + d.applets}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return string(out), exit.ExitCode()
	case err != nil:
		d.Fatalf("%s: %v\n%s", verb, err, out)
	}
	return string(out), 0
}

func (d *initDevice) must(verb string) string {
	d.Helper()
	out, code := d.try(verb)
	if code != 0 {
		d.Fatalf("%s: exit code %d\n%s", verb, code, out)
	}
	return out
}

// pid is the number in a file of the run directory; 0 if nothing of that number runs.
func (d *initDevice) pid(file string) int {
	raw, err := os.ReadFile(filepath.Join(d.dir, "run", file))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
	return living(pid)
}

func living(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if _, rest, _ := strings.Cut(string(stat), ") "); err != nil || strings.HasPrefix(rest, "Z") {
		return 0
	}
	return pid
}

// forwarder is the number of the forwarder that runs.
func (d *initDevice) forwarder() int {
	raw, err := os.ReadFile(filepath.Join(d.dir, "run", "proc", "forward.json"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), `"pid":`)
	number, _, _ := strings.Cut(rest, ",")
	pid, _ := strconv.Atoi(number)
	return living(pid)
}

func TestInitScript(t *testing.T) {
	t.Parallel()
	d := newInitDevice(t)
	if out, code := d.try("status"); code != 3 || !strings.Contains(out, "does not run") {
		t.Fatalf("status before: %d %s", code, out)
	}
	d.must("start")
	poll(t, "the forwarder", func() bool { return d.forwarder() != 0 })
	forwarder, agent := d.forwarder(), d.pid("agent.pid")
	if out := d.must("status"); !strings.Contains(out, "cam-1") {
		t.Errorf("status: %s", out)
	}
	if out := d.must("start"); !strings.Contains(out, "already") || d.pid("agent.pid") != agent {
		t.Errorf("a second start: %s", out)
	}

	must(t, unix.Kill(agent, unix.SIGKILL))
	poll(t, "another agent after a crash", func() bool { p := d.pid("agent.pid"); return p != 0 && p != agent })
	d.must("restart")
	keeper := d.pid("keeper.pid")
	d.must("reload")
	if keeper == 0 || d.pid("keeper.pid") != keeper {
		t.Error("reload has ended the loop")
	}
	d.must("stop")
	if d.pid("agent.pid") != 0 || d.pid("keeper.pid") != 0 {
		t.Error("an agent or its loop runs after stop")
	}
	if d.forwarder() != forwarder {
		t.Error("the forwarder has not outlived crash, restart, reload and stop of its agent")
	}
	d.must("start")
	if d.forwarder() != forwarder {
		t.Error("the forwarder was not adopted")
	}
	d.must("stop-all")
	if living(forwarder) != 0 {
		t.Error("the forwarder runs after stop-all")
	}
}

// A mistake is said at once, and nothing is started that would fail for ever.
func TestInitScriptRefusesAWrongConfiguration(t *testing.T) {
	t.Parallel()
	d := newInitDevice(t)
	cfg := filepath.Join(d.dir, "slipstream.toml")
	text := read(t, cfg)
	must(t, os.WriteFile(cfg, []byte("nonsense = 1\n"), 0o644))
	if out, code := d.try("start"); code == 0 || !strings.Contains(out, "slipstream.toml:1") {
		t.Errorf("start: %d %s", code, out)
	}
	if out, code := d.try("sturt"); code != 2 || !strings.Contains(out, "usage") {
		t.Errorf("an unknown verb: %d %s", code, out)
	}
	must(t, os.WriteFile(cfg, []byte(text), 0o644))
}
