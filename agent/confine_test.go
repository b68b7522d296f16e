package agent_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/agent/control"
)

// withUsers is a device that runs its slots' apps as users of their own.
func withUsers(t *testing.T) *device {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	d := newDevice(t)
	dir := filepath.Dir(d.cfg.State)
	d.must(os.Chmod(dir, 0o755))
	self, err := os.Executable()
	d.must(err)
	tell := filepath.Join(d.cfg.State, "shared", "tell")
	program := filepath.Join(dir, "bin", "tell-everybody")
	d.must(os.Link(self, program)) // the test's own directory is closed to them
	d.must(os.Remove(tell))
	d.must(os.Remove(filepath.Join(dir, "bin", "tell")))
	d.must(os.Rename(program, filepath.Join(dir, "bin", "tell")))
	d.must(os.Symlink(filepath.Join(dir, "bin", "tell"), tell))
	d.cfg.Apps = config.Apps{UserA: "54321:54331", UserB: "54322:54332"}
	d.restart()
	return d
}

func uidOf(t *testing.T, path string) int {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return int(st.Uid)
}

// Each slot's app runs as its own user, makes its own marker, takes over the data of
// the version before, and shares a directory with it.
func TestEachSlotHasItsUser(t *testing.T) {
	t.Parallel()
	d := withUsers(t)
	const script = `echo "$(id -u)" > mine; echo "$SLIPSTREAM_VERSION" >> kept; echo x > "$SLIPSTREAM_SHARED/by-$SLIPSTREAM_SLOT"
cat "$SLIPSTREAM_SHARED"/by-* > seen; echo x > "$TMPDIR/t" && echo "tmp and $HOME" > at; `
	for i, version := range []string{"1.0.0", "2.0.0", "3.0.0"} {
		if r := d.install(d.pack(version, script+goodApp, nil)); r.Exit != control.ExitDone {
			t.Fatalf("install %s: %+v", version, r)
		}
		name, uid := []string{"a", "b"}[i%2], 54321+i%2
		data := filepath.Join(d.cfg.State, "data", name)
		if pid := slot(d.wait("app", inPhase("idle")), name).PID; uidOf(t, "/proc/"+strconv.Itoa(pid)) != uid {
			t.Errorf("version %s runs as user %d", version, uidOf(t, "/proc/"+strconv.Itoa(pid)))
		}
		for file, want := range map[string]string{
			"mine": strconv.Itoa(uid) + "\n", "kept": strings.Join([]string{"1.0.0", "2.0.0", "3.0.0"}[:i+1], "\n") + "\n",
			"seen": strings.Repeat("x\n", min(i+1, 2)), "at": "tmp and " + data + "\n",
		} {
			got, err := os.ReadFile(filepath.Join(data, file))
			if err != nil || string(got) != want {
				t.Errorf("version %s: %s holds %q, %v; want %q", version, file, got, err, want)
			}
			if owner := uidOf(t, filepath.Join(data, file)); owner != uid {
				t.Errorf("version %s: %s belongs to %d", version, file, owner)
			}
		}
	}
}

// What the operator decides, the app cannot, whoever it runs as.
func TestAppCannotMakeTheOperatorsMarker(t *testing.T) {
	t.Parallel()
	d := withUsers(t)
	d.mustInstall("1.0.0")
	d.begin(d.pack("2.0.0", `touch "$SLIPSTREAM_GREENLIGHT" || tell "STATUS=refused"; `+mute, byOperator))
	d.wait("refusal", func(s control.Status) bool { return slot(s, "b").Status == "refused" })
	s := d.wait("trial", inPhase("trial"))
	if s.Trial.Latched || uidOf(t, filepath.Dir(s.Trial.Marker)) != 0 {
		t.Errorf("latched %v, and the directory is of user %d", s.Trial.Latched, uidOf(t, filepath.Dir(s.Trial.Marker)))
	}
	if r := d.agent.Greenlight(d.Context()); r.Exit != control.ExitDone {
		t.Errorf("greenlight: %+v", r)
	}
	d.wait("commit", func(s control.Status) bool { return s.Permanent == "2.0.0" })
}

// Under one user for all, Landlock still keeps an app from what is not its own.
func TestAppIsKeptFromTheAgentsFiles(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	const script = `for f in "$SLIPSTREAM_DATA/../../journal.db" "$SLIPSTREAM_ROOT/app"; do
  (echo x >> "$f") 2>/dev/null && echo "wrote $f" >> broken; done
cat "$SLIPSTREAM_DATA/../b/mine" 2>/dev/null >> broken; : > done; `
	if r := d.install(d.pack("1.0.0", script+goodApp, nil)); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	s, err := d.agent.Status(t.Context())
	d.must(err)
	on := func(p control.Protection) bool { return p.Name == "landlock" && p.On }
	if !slices.ContainsFunc(s.Protections, on) {
		t.Skipf("no Landlock here: %+v", s.Protections)
	}
	data := filepath.Join(d.cfg.State, "data", "a")
	if _, err := os.Stat(filepath.Join(data, "done")); err != nil {
		t.Error(err)
	}
	if broken, err := os.ReadFile(filepath.Join(data, "broken")); len(broken) > 0 {
		t.Errorf("it can: %s, %v", broken, err)
	}
}

func TestUsersOfAppsAreChecked(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	for _, test := range []struct {
		apps config.Apps
		want string
	}{
		{config.Apps{UserA: "nobody-such", UserB: "5:5"}, `apps.user_a: there is no user "nobody-such"`},
		{config.Apps{UserA: "5:5", UserB: "root"}, "who is no user for apps"},
		{config.Apps{UserA: "5:5", UserB: "5:6"}, "each slot needs a user of its own"},
		{config.Apps{UserA: "5:5", UserB: "6:x"}, "neither a name nor UID:GID"},
		{config.Apps{UserA: "5:5", UserB: "6:6", Groups: []string{"no-such"}}, `no group "no-such"`},
	} {
		dir := t.TempDir()
		_, err := agent.New(config.Config{State: dir + "/state", Run: dir + "/run", Apps: test.apps}, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v", test.apps, err)
		}
	}
}
