package testrig_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/agent/control"
	"slipstream/stream/publish"
)

// An agent that is to become another program waits for the trial's end, and then
// neither the app nor the forwarder nor a viewer notices.
func TestAgentBecomesTheInstalledProgram(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	v := r.watch("1.0")
	from := publish.Monotonic()
	two := release("2.0")
	two.Greenlight.AfterMS = 1500
	r.trialUnderWay(two)
	agent := string(readFile(t, filepath.Join(r.Config.Run, "agent.pid")))
	forwarder := string(readFile(t, filepath.Join(r.Config.Run, "proc", "forward.json")))
	app := r.app("b")

	cmd := exec.CommandContext(r.ctx, filepath.Join(r.bin, "slipstream"), "agent", "reexec", "--socket", r.Config.Socket())
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "is the installed program now") {
		t.Fatalf("reexec: %v\n%s", err, out)
	}
	r.agrees("2.0.0")
	if h := r.newest(); h.Outcome != control.OutcomePermanent {
		t.Errorf("history: %+v", h)
	}
	if got := r.app("b"); got != app || app == 0 {
		t.Errorf("the app was process %d and is %d", app, got)
	}
	for file, was := range map[string]string{"agent.pid": agent, "proc/forward.json": forwarder} {
		if is := string(readFile(t, filepath.Join(r.Config.Run, file))); is != was {
			t.Errorf("%s was %s and is %s", file, was, is)
		}
	}
	after := publish.Monotonic()
	r.sees(v, "2.0", after)
	clean(t, v, from, publish.Monotonic())

	r.mustBecome(r.build(release("3.0"))) // and it still updates
	r.sees(v, "3.0", after)
	clean(t, v, from, publish.Monotonic())
}

// app is the number of the app's process in a slot.
func (r *rig) app(slot string) int {
	r.t.Helper()
	s, err := r.Client.Status(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, one := range s.Slots {
		if one.Name == slot {
			return one.PID
		}
	}
	return 0
}
