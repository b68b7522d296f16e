package agent_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"slipstream/agent/control"
)

// forwarders are the notes of all forwarders that have served, in order.
func forwarders(d *device) []string {
	d.Helper()
	raw, err := os.ReadFile(filepath.Join(d.cfg.Run, "forwarders"))
	d.must(err)
	return strings.Split(strings.TrimSpace(string(raw)), "\n")
}

// reconnected waits until the forwarder of a process has its orders: it then shows
// the stream that they name.
func reconnected(d *device, version string) {
	d.Helper()
	d.wait("streams", func(s control.Status) bool { return len(s.Streams) == 1 && s.Streams[0].Version == version })
}

func TestForwarderIsReplaced(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	before := forwarderPID(t, d)
	for round := range 3 { // the names take turns
		if r := d.agent.ReplaceForwarder(t.Context()); r.Exit != control.ExitDone {
			t.Fatalf("replace: %+v", r)
		}
		after := forwarderPID(t, d)
		if after == before {
			t.Fatalf("round %d: process %d still serves", round, after)
		}
		before = after
	}
	want := []string{"succeeded=false inherited=", "succeeded=true inherited=", "succeeded=true inherited=", "succeeded=true inherited="}
	if got := forwarders(d); !slices.Equal(got, want) {
		t.Errorf("forwarders: %q", got)
	}
	if s := d.wait("no problem", func(s control.Status) bool { return len(s.Problems) == 0 }); s.Permanent != "1.0.0" {
		t.Errorf("status: %+v", s)
	}
	d.mustInstall("2.0.0") // with the new forwarder
	if r := d.last(); r.Outcome != control.OutcomePermanent {
		t.Errorf("history: %+v", r)
	}
}

func TestForwarderThatCannotBeReplacedGoesOn(t *testing.T) {
	t.Parallel()
	tests := []struct{ wrong, says string }{
		{successorFails, "the records are of an unknown kind"},
		{successorDies, "signal 9"},
		{successorHangs, "did not take over within"},
	}
	for _, test := range tests {
		t.Run(test.wrong, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			d.mustInstall("1.0.0")
			before := forwarderPID(t, d)
			d.must(os.WriteFile(filepath.Join(d.cfg.Run, "successor"), []byte(test.wrong), 0o600))
			r := d.agent.ReplaceForwarder(t.Context())
			if r.Exit != control.ExitError || !strings.Contains(r.Message, test.says) {
				t.Errorf("replace: %+v", r)
			}
			if now := forwarderPID(t, d); now != before {
				t.Errorf("process %d serves in place of %d", now, before)
			}
			d.wait("the problem", func(s control.Status) bool {
				return len(s.Problems) == 1 && strings.Contains(s.Problems[0], "slipstream forwarder replace")
			})
			d.must(os.Remove(filepath.Join(d.cfg.Run, "successor")))
			if r := d.agent.ReplaceForwarder(t.Context()); r.Exit != control.ExitDone {
				t.Fatalf("replace again: %+v", r)
			}
			d.wait("no problem", func(s control.Status) bool { return len(s.Problems) == 0 })
		})
	}
}

// A new program was installed while the agent was away.
func TestInstalledForwarderReplacesTheOld(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	before := forwarderPID(t, d)
	d.restart()
	reconnected(d, "1.0.0")
	if now := forwarderPID(t, d); now != before {
		t.Fatal("the same program was replaced")
	}
	installForwarder(d)
	d.begin(d.pack("2.0.0", mute, nil))
	trial := d.wait("trial", inPhase("trial"))
	d.restart()
	d.wait("trial again", inPhase("trial"))
	if now := forwarderPID(t, d); now != before {
		t.Fatal("the forwarder was replaced during a trial")
	}
	d.must(os.WriteFile(trial.Trial.Marker, nil, 0o644))
	d.wait("commit", func(s control.Status) bool { return s.Phase == "idle" && s.Permanent == "2.0.0" })
	d.wait("successor", func(s control.Status) bool { return len(forwarders(d)) == 2 })
	reconnected(d, "2.0.0")
	if r := d.last(); r.Outcome != control.OutcomePermanent {
		t.Errorf("history: %+v", r)
	}
}

// installForwarder puts a copy of the program in the place of the one that runs.
func installForwarder(d *device) {
	d.Helper()
	path := filepath.Join(d.cfg.Bin, "slipstream-forward")
	in, err := os.Open(path)
	d.must(err)
	defer in.Close()
	out, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY, 0o755)
	d.must(err)
	_, err = io.Copy(out, in)
	d.must(err)
	d.must(out.Close())
	d.must(os.Rename(path+".new", path))
}

// The forwarder's descriptors outlive it, and the agent's death before that.
func TestForwarderInheritsAfterACrash(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	reconnected(d, "1.0.0")
	d.must(syscall.Kill(forwarderPID(t, d), syscall.SIGKILL))
	d.wait("the next forwarder", func(control.Status) bool { return len(forwarders(d)) == 2 })
	reconnected(d, "1.0.0")
	d.restart()
	reconnected(d, "1.0.0")
	d.must(syscall.Kill(forwarderPID(t, d), syscall.SIGKILL))
	d.wait("the third forwarder", func(control.Status) bool { return len(forwarders(d)) == 3 })
	want := []string{"succeeded=false inherited=", "succeeded=false inherited=ledger", "succeeded=false inherited=ledger"}
	if got := forwarders(d); !slices.Equal(got, want) {
		t.Errorf("forwarders: %q", got)
	}
}

// A forwarder that ends because of what it was given is started without.
func TestForwarderIsStartedWithoutWhatItDiesOf(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	reconnected(d, "1.0.0")
	d.must(os.WriteFile(filepath.Join(d.cfg.Run, "poison"), nil, 0o600))
	d.must(syscall.Kill(forwarderPID(t, d), syscall.SIGKILL))
	d.wait("the next forwarder", func(control.Status) bool { return len(forwarders(d)) == 2 })
	reconnected(d, "1.0.0")
	if got := forwarders(d)[1]; got != "succeeded=false inherited=" {
		t.Errorf("the next forwarder: %s", got)
	}
}
