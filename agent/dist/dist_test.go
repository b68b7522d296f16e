package dist_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/agent/config"
)

// patience bounds every wait of these tests; nothing is expected to take it.
const patience = time.Minute

// programs are those of a device, built once for all tests here.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "slipdist")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+"/",
		"slipstream/agent/cmd/slipstream", "slipstream/agent/cmd/slipstream-start", "slipstream/stream/cmd/slipstream-forward").CombinedOutput()
	if err != nil {
		return dir, errors.New(string(out))
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := programs(); dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

func built(t *testing.T) string {
	t.Helper()
	dir, err := programs()
	must(t, err)
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

// run returns what a command printed; it must succeed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// poll waits for what no event announces.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// systemd itself judges the unit and the users' file.
func TestSystemdTakesTheUnit(t *testing.T) {
	t.Parallel()
	unit := read(t, "slipstream.service")
	dir := t.TempDir()
	program := filepath.Join(built(t), "slipstream")
	path := filepath.Join(dir, "slipstream.service")
	must(t, os.WriteFile(path, []byte(strings.NewReplacer("/usr/bin/slipstream", program, "/usr/lib/slipstream/", built(t)+"/").Replace(unit)), 0o644))
	if out := run(t, "systemd-analyze", "verify", "--man=no", path); strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
	for _, want := range []string{"Type=notify", "KillMode=process", "RuntimeDirectoryPreserve=yes", "Delegate=yes", "Environment=SLIPSTREAM_STEP_ASIDE=1", "ExecStopPost=-/usr/bin/slipstream agent make-room", "OOMPolicy=continue", "Restart=always", "WatchdogSec=30s"} {
		if !strings.Contains(unit, "\n"+want+"\n") {
			t.Errorf("the unit does not say %s", want)
		}
	}
	// Each of these gives the agent a mount namespace: see the package's comment.
	for _, bad := range []string{"Protect", "Private", "ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "BindPaths", "TemporaryFileSystem", "RootDirectory", "MountFlags"} {
		if strings.Contains(unit, "\n"+bad) {
			t.Errorf("the unit has %s…, with which mounts would be lost at a restart", bad)
		}
	}
	if strings.Contains(unit, "\nRestrictSUIDSGID") {
		t.Error("the unit has RestrictSUIDSGID, with which the agent could not make the apps' common directory")
	}
	root := filepath.Join(dir, "root")
	must(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	run(t, "systemd-sysusers", "--root="+root, abs(t, "slipstream.sysusers"))
	users := read(t, filepath.Join(root, "etc/passwd"))
	groups := read(t, filepath.Join(root, "etc/group"))
	if !strings.Contains(users, "\nslip-b:") || !strings.Contains("\n"+users, "\nslip-a:") || !strings.Contains("\n"+groups, "\nslipstream:") {
		t.Errorf("users:\n%s\ngroups:\n%s", users, groups)
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	must(t, err)
	return path
}

// The configuration that is installed is right once its three keys are set, and
// without them each is named.
func TestConfigurationToBeginWith(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "slipstream.toml")
	must(t, os.WriteFile(path, []byte(read(t, "slipstream.toml")), 0o644))
	_, err := config.Load(path)
	for _, key := range []string{"device", "product", "hardware"} {
		if err == nil || !strings.Contains(err.Error(), key+" is not set") {
			t.Errorf("without %s: %v", key, err)
		}
	}
	text := read(t, path)
	for _, key := range []string{"device", "product", "hardware"} {
		text = strings.Replace(text, "#"+key+" = ", key+" = ", 1)
	}
	must(t, os.WriteFile(path, []byte(text), 0o644))
	if _, err := config.Load(path); err != nil {
		t.Error(err)
	}
}
