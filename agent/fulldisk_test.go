package agent_test

import (
	"strconv"
	"syscall"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/slots/powercut"
)

// At some operation of an update the disk is full, and some failures later there is room
// again. Whatever the operator is told then is so, with this agent and with the next one,
// and the device can be updated.
func TestADiskThatFillsUpInAnUpdate(t *testing.T) {
	t.Parallel()
	const rounds, failures = 9, 4
	o := newOutage(t)
	o.update(1)
	o.must(o.disk.Fail(powercut.Fault{})) // counts from here
	o.update(2)
	whole, err := o.disk.Steps()
	o.must(err)
	permanent, outcomes := 2, map[int]int{}
	for i := range rounds {
		v, at := i+3, 1+whole*i/rounds
		path := o.version(v, goodApp)
		o.must(o.disk.Fail(powercut.Fault{At: at, Errno: syscall.ENOSPC, Stays: true}))
		ended := make(chan control.Result, 1)
		go func() { ended <- o.install(path) }()
		r := o.freed(at+failures, ended)
		outcomes[r.Exit]++
		if r.Exit == control.ExitDone {
			permanent = v
		} else if r.Message == "" {
			t.Errorf("full from operation %d on: %+v", at, r)
		}
		for _, which := range []string{"this", "the next"} {
			if which == "the next" {
				o.device.restart()
			}
			o.wait("rest", func(s control.Status) bool {
				return s.Trial == nil && runsAs(s, control.StatePermanent) != ""
			})
			s, err := o.agent.Status(t.Context())
			o.must(err)
			if got := record(t, o.device).Version; got != versionName(permanent) || s.Permanent != got {
				t.Fatalf("full from operation %d on: %+v; for %s agent %s is permanent, and the record names %s", at, r, which, s.Permanent, got)
			}
		}
	}
	t.Logf("full at one of %d operations: exit codes %v", whole, outcomes)
	if len(outcomes) < 2 {
		t.Errorf("every update ended alike: %v", outcomes)
	}
	o.update(rounds + 3)
}

// freed makes room on the disk when so many operations were tried, or when the update has
// ended, and returns its end.
func (o *outage) freed(steps int, ended chan control.Result) control.Result {
	o.Helper()
	defer func() { o.must(o.disk.Fail(powercut.Fault{})) }()
	for {
		select {
		case r := <-ended:
			return r
		case <-time.After(5 * time.Millisecond):
		}
		if n, err := o.disk.Steps(); err != nil {
			o.Fatal(err)
		} else if n >= steps {
			o.must(o.disk.Fail(powercut.Fault{}))
			return <-ended
		}
	}
}

func versionName(v int) string { return strconv.Itoa(v) + ".0.0" }
