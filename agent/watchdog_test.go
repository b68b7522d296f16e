package agent_test

import (
	"strings"
	"testing"

	"slipstream/agent/control"
	"slipstream/agent/watchdog/watchdogtest"
	"slipstream/verify"
)

// guarded is a device with two systems and a watchdog, which nobody holds yet.
func guarded(t *testing.T, dog *watchdogtest.Device, always bool) *rebooter {
	t.Helper()
	r := newRebooter(t)
	r.off()
	r.host.Watchdog = dog.Open
	r.cfg.System.Watchdog, r.cfg.System.WatchdogS, r.cfg.System.WatchdogAlways = "/dev/watchdog0", 1, always
	r.boot()
	<-r.agent.Up()
	return r
}

// stands waits until the watchdog is as it is to be.
func (r *rebooter) stands(dog *watchdogtest.Device, held, running bool) {
	r.Helper()
	r.wait("watchdog", func(control.Status) bool { return dog.Held() == held && dog.Running() == running })
}

// From before the reboot until the end of the trial nothing but that stops the watchdog.
func TestWatchdogOfASystemsTrial(t *testing.T) {
	t.Parallel()
	var dog watchdogtest.Device
	r := guarded(t, &dog, false)
	if dog.Arms() > 0 {
		t.Error("armed while no system is on trial")
	}
	r.begin(r.system("2.0.0", "", func(m *verify.Manifest) { m.Trial.Greenlight = verify.GreenlightOperator }))
	r.waitAsked()
	if !dog.Held() || !dog.Running() {
		t.Error("the reboot was asked for before the watchdog was armed")
	}
	r.off()
	if dog.Held() || !dog.Running() {
		t.Error("the end of the old system's agent has stopped it")
	}
	r.on()
	r.wait("trial", inPhase("trial"))
	r.stands(&dog, true, true)
	fed := dog.Fed()
	r.wait("food", func(control.Status) bool { return dog.Fed() > fed+2 })
	if got := r.agent.Greenlight(t.Context()); got.Exit != control.ExitDone {
		t.Errorf("greenlight: %+v", got)
	}
	r.ended(control.OutcomePermanent, "", 1)
	r.stands(&dog, false, false)

	r.begin(r.system("3.0.0", "", func(m *verify.Manifest) {
		m.Trial.Greenlight, m.Trial.DeadlineMS = verify.GreenlightOperator, 3000
	}))
	r.reboots("a")
	r.reboots("b") // by itself
	r.ended(control.OutcomeReverted, "deadline", 2)
	r.stands(&dog, false, false)
}

func TestWatchdogThatSomebodyElseHolds(t *testing.T) {
	t.Parallel()
	var dog watchdogtest.Device
	if _, err := dog.Open(""); err != nil {
		t.Fatal(err)
	}
	r := guarded(t, &dog, false)
	r.begin(r.system("2.0.0", "", nil))
	r.waitAsked() // the update goes on
	r.wait("the word that it is held", func(s control.Status) bool {
		return len(s.Problems) == 1 && strings.Contains(s.Problems[0], "watchdog /dev/watchdog0 was not armed: another process holds it; if that is systemd, RuntimeWatchdogSec=")
	})
}

func TestWatchdogThatIsAlwaysHeld(t *testing.T) {
	t.Parallel()
	var dog watchdogtest.Device
	r := guarded(t, &dog, true)
	r.stands(&dog, true, true)
	fed := dog.Fed()
	r.wait("food", func(control.Status) bool { return dog.Fed() > fed+2 })
	r.off() // in peace
	if dog.Held() || dog.Running() {
		t.Error("an agent that was told to end has left it running")
	}
	r.boot()
	r.stands(&dog, true, true)
}
