package dist_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// nextProgram is the agent in another version.
var nextProgram = sync.OnceValues(func() (string, error) {
	dir, err := programs()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "next")
	out, err := exec.Command("go", "build", "-ldflags", "-X slipstream/agent.release=2.0", "-o", path, "slipstream/agent/cmd/slipstream").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// put replaces the agent's program as dpkg does, by a rename.
func (o *overseen) put(from string) {
	o.Helper()
	path := o.program("slipstream")
	must(o.T, os.Link(from, path+".dpkg-new"))
	must(o.T, os.Rename(path+".dpkg-new", path))
}

// putScript replaces it by a program that is none.
func (o *overseen) putScript(text string) {
	o.Helper()
	path := filepath.Join(o.dir, "script")
	must(o.T, os.WriteFile(path, []byte(text), 0o755))
	o.put(path)
	must(o.T, os.Remove(path))
}

func (o *overseen) log() string { return read(o.T, filepath.Join(o.dir, "agent.log")) }

// An agent becomes the program that takes its place, in its own process, and touches
// nothing that it has started.
func TestTheAgentBecomesTheInstalledProgram(t *testing.T) {
	t.Parallel()
	next, err := nextProgram()
	must(t, err)
	o := startOverseen(t)
	o.hears("READY=1")
	poll(t, "the forwarder", func() bool { return o.forwarder() != 0 })
	agent, forwarder := o.pid("agent.pid"), o.forwarder()

	o.putScript("#!/bin/sh\necho it does not run here >&2\nexit 1\n")
	poll(t, "a program that is not usable", func() bool { return strings.Contains(o.log(), "it does not run here") })
	// One that goes away between the trial and the deed.
	o.putScript("#!/bin/sh\nrm -f \"$0\"\n")
	must(t, o.cmd.Process.Signal(unix.SIGUSR2))
	o.hears("RELOADING=1")
	o.hears("READY=1")
	if !strings.Contains(o.log(), "goes on as it is") || o.version() == "2.0" || o.version() == "" {
		t.Errorf("version %q after a program that was taken away\n%s", o.version(), o.log())
	}

	must(t, os.Link(next, o.program("slipstream"))) // seen by itself
	o.hears("RELOADING=1")
	if usec := o.hears("MONOTONIC_USEC="); usec == "" {
		t.Error("RELOADING=1 without its time")
	}
	o.hears("READY=1")
	o.hears("WATCHDOG=1")
	if got := o.version(); got != "2.0" {
		t.Errorf("version %q", got)
	}
	if out := run(t, o.program("slipstream"), "agent", "reexec", "--config", filepath.Join(o.dir, "slipstream.toml")); !strings.Contains(out, "2.0") {
		t.Errorf("reexec: %s", out)
	}
	if o.pid("agent.pid") != agent || o.cmd.Process.Pid != agent || o.forwarder() != forwarder {
		t.Errorf("agent %d, forwarder %d; before: %d, %d", o.pid("agent.pid"), o.forwarder(), agent, forwarder)
	}

	// It is still the forwarder's parent: it is told how that ends, and leaves no zombie.
	must(t, unix.Kill(forwarder, unix.SIGKILL))
	poll(t, "another forwarder", func() bool { return o.forwarder() != 0 && o.forwarder() != forwarder })
	poll(t, "how a child of before has ended", func() bool { return strings.Contains(o.log(), "killed by signal 9") })
	poll(t, "no zombie", func() bool {
		_, err := os.Stat("/proc/" + strconv.Itoa(forwarder))
		return err != nil
	})
}
