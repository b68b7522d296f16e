package supervise_test

import (
	"os"
	"testing"

	"slipstream/agent/supervise"
)

// grouped starts an app's shell in a cgroup of its own, with this program as $0 and the
// socket of another one.
func grouped(t *testing.T, run, name, script, other string) (p *supervise.Process, socket string) {
	t.Helper()
	spec := withSocket(t, shell(name, script))
	spec.Group = newGroup(t, newGroupsOf(t, run), name)
	spec.Args = append(spec.Args, os.Args[0])
	spec.Env = append(os.Environ(), "SUPERVISE_TEST_ROLE=notify", "OTHER="+other)
	return start(t, newSupervisor(t, run), spec), spec.NotifySocket
}

// A helper that has left its parent and its session still speaks for its slot.
func TestWordsOfADoubleForkedHelperCount(t *testing.T) {
	t.Parallel()
	p, _ := grouped(t, t.TempDir(), "a-1", `( setsid "$0" STATUS=heard & ); exec sleep 1000`, "")
	collect(t, p, "heard")
}

// Whatever a slot's processes do, they do not speak for the other one.
func TestWordsForTheOtherSlotDoNotCount(t *testing.T) {
	t.Parallel()
	run := t.TempDir()
	p, socket := grouped(t, run, "a-1", "exec sleep 1000", "")
	other, _ := grouped(t, run, "b-1", `NOTIFY_SOCKET=$OTHER; ( setsid "$0" READY=1 & ); "$0" READY=1 & SUPERVISE_TEST_ROLE=barrier; exec "$0"`, socket)
	printed(t, other, "through")
	p.Kill()
	for n := range p.Notifications() {
		t.Errorf("the other slot was heard: %+v", n)
	}
}
