package agent_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// store stores a file's content as a memfd of a name, sealed if it is to be.
func store(args []string) error {
	name, path, sealed := args[0], args[1], args[2] == "sealed"
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, content); err != nil {
		return err
	}
	if sealed {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK); err != nil {
			return err
		}
	}
	return tell("FDSTORE=1\nFDNAME="+name, fd)
}

// counter is an app that counts its starts in its state and in its data, and leaves
// what it was given where the test finds it.
const counter = `
out="$SLIPSTREAM_SHARED/$SLIPSTREAM_VERSION.$SLIPSTREAM_ROLE"
rm -f "$out.given"
if [ -n "$LISTEN_FDS" ]; then cat <&3 >"$out.given"; fi
echo "$LISTEN_FDNAMES $SLIPSTREAM_STATE_SCHEMA" >"$out.names"
cp "$out.given" "$SLIPSTREAM_DATA/next" 2>/dev/null
if [ -e "$SLIPSTREAM_SHARED/seed" ]; then cat "$SLIPSTREAM_SHARED/seed" >>"$SLIPSTREAM_DATA/next"; fi
"$SLIPSTREAM_SHARED/tell" store state "$SLIPSTREAM_DATA/next" sealed
`

func stateful(schema string, accepts ...string) func(*verify.Manifest) {
	return func(m *verify.Manifest) { m.App.State = &verify.State{Schema: schema, Accepts: accepts} }
}

func (d *device) shared(name string) string { return filepath.Join(d.cfg.State, "shared", name) }

func (d *device) read(path string) string {
	d.Helper()
	raw, err := os.ReadFile(path)
	d.must(err)
	return string(raw)
}

// heldFor is the state of a slot as the next agent would find it, and whether there is
// one.
func (d *device) heldFor(slot string) (state string, found bool) {
	d.Helper()
	kept, err := orders.TakeKept(filepath.Join(d.cfg.Run, "orders.sock"), patience)
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); { // the agent comes back at once, and takes our place
		kept, err = orders.TakeKept(filepath.Join(d.cfg.Run, "orders.sock"), patience)
	}
	d.must(err)
	for name, fds := range kept {
		f := os.NewFile(uintptr(fds[0]), name)
		if strings.HasPrefix(name, "state/"+slot+"/") {
			raw, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
			d.must(err)
			state, found = string(raw), true
		}
		f.Close()
	}
	return state, found
}

func (d *device) held(slot string) string {
	d.Helper()
	state, found := d.heldFor(slot)
	if !found {
		d.Fatalf("there is no state of slot %s", slot)
	}
	return state
}

// One version counts, the next one tries to, and the first goes on with its own state
// and data to the last bit, also after a crash and under a new agent.
func TestTryingAVersionLeavesStateAndDataBitForBit(t *testing.T) {
	d := newDevice(t)
	random := rand.NewChaCha8([32]byte{6})
	seed := make([]byte, 1+random.Uint64()%100_000)
	random.Read(seed)
	d.must(os.WriteFile(d.shared("seed"), seed, 0o644))
	if r := d.install(d.pack("1.0.0", counter+goodApp, stateful("count-1"))); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	for round := range 3 {
		state, data := d.held("a"), d.files("data/a")
		random.Read(seed)
		d.must(os.WriteFile(d.shared("seed"), seed, 0o644))
		trial := fmt.Sprintf("2.0.%d", round)
		r := d.install(d.pack(trial, counter+`tell READY=1; exit 1`, stateful("count-2", "count-1")))
		if r.Exit != control.ExitReverted {
			t.Fatalf("install: %+v", r)
		}
		if given := d.read(d.shared(trial + ".trial.given")); given != state {
			t.Errorf("round %d: the trial was given %d bytes, not the %d of the state", round, len(given), len(state))
		}
		if names := d.read(d.shared(trial + ".trial.names")); names != "state count-1\n" {
			t.Errorf("round %d: names and schema: %q", round, names)
		}
		if now := d.held("a"); now != state {
			t.Errorf("round %d: the state was changed by the trial", round)
		}
		if now := d.files("data/a"); len(now) != len(data) || slices.ContainsFunc(sortedKeys(data), func(k string) bool { return now[k] != data[k] }) {
			t.Errorf("round %d: the data was changed by the trial", round)
		}
		if _, found := d.heldFor("b"); found {
			t.Errorf("round %d: the trial's state is still there", round)
		}
		if round == 1 {
			d.restart()
		}
		pid := slot(d.wait("app", func(s control.Status) bool { return slot(s, "a").App == "ready" }), "a").PID
		d.must(syscall.Kill(pid, syscall.SIGKILL))
		d.wait("restart", func(s control.Status) bool { return slot(s, "a").App == "ready" && slot(s, "a").PID != pid })
		if given := d.read(d.shared("1.0.0.permanent.given")); given != state {
			t.Errorf("round %d: after its crash the old version was given %d bytes, not the %d of its state", round, len(given), len(state))
		}
	}
}

func sortedKeys(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// What the new version has counted on becomes the state with its commit.
func TestStateFollowsTheCommit(t *testing.T) {
	d := newDevice(t)
	d.must(os.WriteFile(d.shared("seed"), []byte("x"), 0o644))
	for i, version := range []string{"1.0.0", "2.0.0", "3.0.0"} {
		if r := d.install(d.pack(version, counter+goodApp, stateful("count"))); r.Exit != control.ExitDone {
			t.Fatalf("install: %+v", r)
		}
		if got, want := d.held([]string{"a", "b"}[i%2]), strings.Repeat("x", i+1); got != want {
			t.Errorf("state after version %s: %q, want %q", version, got, want)
		}
	}
	if r := d.install(d.pack("4.0.0", counter+goodApp, nil)); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	if names := d.read(d.shared("4.0.0.trial.names")); names != " \n" {
		t.Errorf("a version without state was given %q", names)
	}
}

func TestStateOfAForeignSchemaIsRefusedBeforeTheStart(t *testing.T) {
	d := newDevice(t)
	d.must(os.WriteFile(d.shared("seed"), []byte("x"), 0o644))
	if r := d.install(d.pack("1.0.0", counter+goodApp, stateful("count-1"))); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	before := slot(d.wait("app", func(s control.Status) bool { return slot(s, "a").App == "ready" }), "a").PID
	if r := d.stage(d.pack("2.0.0", counter+goodApp, stateful("count-3", "count-2"))); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	r := d.agent.Activate(t.Context(), control.ActivateRequest{Force: true, Wait: true})
	if r.Exit != control.ExitRefused || r.Code != agent.CodeState || !strings.Contains(r.Message, `version 2.0.0 does not take the state of schema "count-1"`) {
		t.Errorf("activate: %+v", r)
	}
	s := d.wait("status", func(control.Status) bool { return true })
	if s.Phase != "staged" || slot(s, "a").PID != before {
		t.Errorf("after the refusal: %+v", s)
	}
	if _, err := os.Stat(d.shared("2.0.0.trial.names")); err == nil {
		t.Error("the refused version was started")
	}
}

// An app that hands over what cannot be taken loses nothing that it had.
func TestBadStatesAreRefusedAndSaid(t *testing.T) {
	tests := []struct{ name, size, how, want string }{
		{"not sealed", "10", "open", "not sealed"},
		{"too large", "16777217", "sealed", "allowed are 16777216"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			d.must(os.WriteFile(d.shared("seed"), []byte("good"), 0o644))
			bad := fmt.Sprintf(`head -c %s /dev/zero >"$SLIPSTREAM_DATA/bad"; "$SLIPSTREAM_SHARED/tell" store state "$SLIPSTREAM_DATA/bad" %s; `, test.size, test.how)
			if r := d.install(d.pack("1.0.0", counter+bad+goodApp, stateful("count"))); r.Exit != control.ExitDone {
				t.Fatalf("install: %+v", r)
			}
			d.wait("the problem", func(s control.Status) bool {
				return slices.ContainsFunc(s.Problems, func(p string) bool {
					return strings.Contains(p, "app a-1") && strings.Contains(p, test.want)
				})
			})
			if got := d.held("a"); got != "good" {
				t.Errorf("state: %d bytes, want the one before", len(got))
			}
		})
	}
}

// What an app makes use of is shown, for people to see what it loses.
func TestTheContractOfAnAppIsShown(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.must(os.WriteFile(d.shared("seed"), []byte("x"), 0o644))
	shows := func(version, script string, change func(*verify.Manifest), want control.Contract) {
		t.Helper()
		if r := d.install(d.pack(version, script, change)); r.Exit != control.ExitDone {
			t.Fatalf("install: %+v", r)
		}
		d.restart() // the next agent knows it, too
		for _, s := range d.wait("idle", inPhase("idle")).Slots {
			if s.Version == version && (s.Contract == nil || *s.Contract != want) {
				t.Errorf("%s: got %+v, want %+v", version, s.Contract, want)
			}
			if s.Version != version && s.App == "stopped" && s.Contract != nil {
				t.Errorf("the stopped %s has %+v", s.Version, s.Contract)
			}
		}
	}
	shows("1.0.0", goodApp, nil, control.Contract{})
	shows("2.0.0", goodApp, stateful("count"), control.Contract{State: "count"})
	shows("3.0.0", goodApp, func(m *verify.Manifest) { m.App.PublishRTSP = true }, control.Contract{RTSP: true})
}

// Descriptors of other names go to the trial as they are, not as copies.
func TestOtherDescriptorsAreShared(t *testing.T) {
	d := newDevice(t)
	d.must(os.WriteFile(d.shared("seed"), []byte("first"), 0o644))
	give := `"$SLIPSTREAM_SHARED/tell" store capture "$SLIPSTREAM_SHARED/seed" open; `
	if r := d.install(d.pack("1.0.0", give+goodApp, nil)); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	use := `echo "$LISTEN_FDNAMES" >"$SLIPSTREAM_SHARED/names"; readlink /proc/self/fd/3 >"$SLIPSTREAM_SHARED/link"; `
	if r := d.install(d.pack("2.0.0", use+goodApp, nil)); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	if names, link := d.read(d.shared("names")), d.read(d.shared("link")); names != "capture\n" || !strings.Contains(link, "memfd:capture") {
		t.Errorf("the trial was given %q, which is %q", names, link)
	}
	pid := slot(d.wait("the end of the old", func(s control.Status) bool { return slot(s, "a").App == "stopped" }), "b").PID
	d.must(os.Remove(d.shared("names")))
	d.must(syscall.Kill(pid, syscall.SIGKILL))
	d.wait("restart", func(s control.Status) bool { return slot(s, "b").App == "ready" && slot(s, "b").PID != pid })
	if names := d.read(d.shared("names")); !bytes.Equal([]byte(names), []byte("capture\n")) {
		t.Errorf("after its crash it was given %q", names)
	}
}
