package agent_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/agent/control"
	"slipstream/agent/supervise"
	"slipstream/verify"
)

// faults are apps that do what no app should, and how the trial of each ends. What
// needs a cgroup's limits of memory or tasks runs where the kernel gives them to cgroups
// of version 2: on a machine without, the rig plays the same with a whole camera (limits-memory
// and limits-pids of testrig/scenarios).
var faults = []struct {
	name, script string
	limits       verify.Limits
	needs        string // a protection
	reason       string // "": it becomes permanent
	detail       string // part of it, or of the evidence
	change       func(*verify.Manifest)
}{
	{name: "exit 0 at once", script: `exit 0`, reason: "exit", detail: "exited with status 0"},
	{name: "crash before the marker", script: `tell READY=1; kill -SEGV $$`, reason: "exit", detail: "killed by signal 11"},
	{name: "crash after the marker", script: `tell READY=1; touch "$SLIPSTREAM_GREENLIGHT"; kill -SEGV $$`, reason: "exit", detail: "killed by signal 11", change: soaksLong},
	{name: "deaf to SIGTERM", script: `trap "" TERM; tell READY=1; tell WATCHDOG=trigger; while :; do sleep 1; done`, reason: "watchdog", detail: "WATCHDOG=trigger"},
	{name: "all descriptors closed", script: `tell READY=1; exec 0<&- 1>&- 2>&- 3<&-; touch "$SLIPSTREAM_GREENLIGHT"; exec sleep 1000`},
	{name: "floods of words and lines", script: `tell READY=1; yes "a line without end" & "$SLIPSTREAM_SHARED/tell" flood; touch "$SLIPSTREAM_GREENLIGHT"; wait`},
	{name: "READY that is a lie", script: `tell READY=1; tell "STATUS=ready, really"; sleep 0.2; exit 4`, reason: "exit", detail: "exited with status 4"},
	{name: "the watchdog stops", script: `tell READY=1; exec sleep 1000`, reason: "watchdog", detail: "no WATCHDOG=1", change: func(m *verify.Manifest) { m.App.WatchdogMS = 300 }},
	{name: "double fork and a new session", script: `(setsid sh -c 'echo $$ > "$SLIPSTREAM_DATA/../../shared/escaped"; exec env -i sleep 1000' &) ; while [ ! -s "$SLIPSTREAM_SHARED/escaped" ]; do sleep 0.01; done; tell READY=1; exit 5`, reason: "exit", detail: "exited with status 5"},
	{name: "garbage for the store", script: `tell READY=1; timeout 0.2 "$SLIPSTREAM_SHARED/tell" FDSTORE=1; tell "$(printf 'FDSTORE=1\nFDNAME=a:b')"; tell "$(printf 'FDSTOREREMOVE=1\nFDNAME=state')"; touch "$SLIPSTREAM_GREENLIGHT"; exec sleep 1000`},
	{name: "words in the other slot's name", script: `tell READY=1; for s in "${NOTIFY_SOCKET%/*}"/a-*; do NOTIFY_SOCKET="$s" timeout 1 "$SLIPSTREAM_SHARED/tell" WATCHDOG=trigger; done; touch "$SLIPSTREAM_GREENLIGHT"; exec sleep 1000`},
	{name: "an errno and the end", script: `tell ERRNO=28; tell STOPPING=1; exit 9`, reason: "exit", detail: "ERRNO=28: no space left on device"},
	{name: "memory to its limit", limits: verify.Limits{MemoryMB: 16}, needs: supervise.ProtectMemory, script: `tell READY=1; exec tail /dev/zero`, reason: "oom", detail: "limit of memory"},
	{name: "fork bomb", limits: verify.Limits{Pids: 30}, needs: supervise.ProtectTasks, script: `tell READY=1; f() { f | f & }; f; sleep 1; exit 6`, reason: "exit", detail: "no further process"},
}

// soaksLong keeps a marker from being the end of a trial, on however slow a machine.
func soaksLong(m *verify.Manifest) {
	m.App.SoakMS, m.App.DeadlineMS = 4*patience.Milliseconds(), 8*patience.Milliseconds()
}

func TestFaultsOfApps(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			d.mustInstall("1.0.0")
			s, err := d.agent.Status(t.Context())
			d.must(err)
			if f.needs != "" && !has(s, f.needs) {
				t.Skipf("for the rig, in scenarios limits-memory and limits-pids: %s", why(s, f.needs))
			}
			before := slot(s, "a").PID
			r := d.install(d.pack("2.0.0", f.script, func(m *verify.Manifest) {
				m.App.Limits = &f.limits
				if f.change != nil {
					f.change(m)
				}
			}))
			s = d.wait("end", inPhase("idle"))
			last := d.last()
			if last.Reason != f.reason || (f.reason == "") != (r.Exit == control.ExitDone) {
				t.Errorf("install: %+v, history: %+v", r, last)
			}
			if said := last.Detail + strings.Join(last.Evidence, "\n"); !strings.Contains(said, f.detail) {
				t.Errorf("%q is nowhere in %q", f.detail, said)
			}
			if f.reason != "" && (s.Permanent != "1.0.0" || slot(s, "a").PID != before) {
				t.Errorf("the version before did not go on: %+v", s)
			}
			if raw, err := os.ReadFile(filepath.Join(d.cfg.State, "shared", "escaped")); err == nil {
				line, _ := os.ReadFile("/proc/" + strings.TrimSpace(string(raw)) + "/cmdline") // a zombie has none
				if len(line) > 0 && len(d.agentGroups()) > 0 {
					t.Errorf("process %s has escaped", raw)
				}
			}
		})
	}
}

func has(s control.Status, protection string) bool { return why(s, protection) == "" }

// why a protection is off.
func why(s control.Status, protection string) string {
	for _, p := range s.Protections {
		if p.Name == protection && p.On {
			return ""
		} else if p.Name == protection {
			return p.Why
		}
	}
	return "there are no cgroups"
}

// agentGroups is empty where this machine has no cgroups of version 2.
func (d *device) agentGroups() []control.Protection {
	s, err := d.agent.Status(d.Context())
	d.must(err)
	for i, p := range s.Protections {
		if p.Name == supervise.ProtectMemory {
			return s.Protections[i:]
		}
	}
	return nil
}

// A declared socket stays open from version to version and over the agent's restart.
func TestListeningSocketsOutliveVersions(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	address := freeAddress(t)
	listens := func(m *verify.Manifest) {
		m.App.Listen = []verify.Listen{{Name: "web", Network: "tcp", Address: address}}
	}
	const script = `test "$LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES" = "$$ 1 web" || exit 8; `
	for _, version := range []string{"1.0.0", "2.0.0"} {
		if r := d.install(d.pack(version, script+goodApp, listens)); r.Exit != control.ExitDone {
			t.Fatalf("install %s: %+v", version, r)
		}
		c, err := net.Dial("tcp", address)
		d.must(err)
		c.Close()
		d.restart()
	}
	if r := d.install(d.pack("3.0.0", script+goodApp, listens)); r.Exit != control.ExitDone {
		t.Fatalf("install after the agent's restart: %+v", r)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	d.must(err)
	defer taken.Close()
	r := d.install(d.pack("4.0.0", goodApp, func(m *verify.Manifest) {
		m.App.Listen = []verify.Listen{{Name: "web", Network: "tcp", Address: taken.Addr().String()}}
	}))
	if want := "the app's socket web cannot be opened at " + taken.Addr().String() + ": address already in use"; r.Exit != control.ExitReverted || !strings.Contains(d.last().Detail, want) {
		t.Errorf("install: %+v, history %+v", r, d.last())
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
