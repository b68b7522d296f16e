package dist_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/agent/dist/debtest"
)

// debDir is where packages are built for all tests here, until they end.
var debDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "slippanel") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := debDir(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

func makeDeb(env ...string) (string, error) {
	dir, err := debDir()
	if err != nil {
		return "", err
	}
	out, err := os.MkdirTemp(dir, "deb")
	if err != nil {
		return "", err
	}
	arch, err := debtest.Arch()
	if err != nil {
		return "", err
	}
	return debtest.Make("deb/build", "slipstream-panel", "1.0", arch, out, env...)
}

var firstDeb = sync.OnceValues(func() (string, error) { return makeDeb() })

func deb(t *testing.T) string {
	t.Helper()
	path, err := firstDeb()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDebianPackage(t *testing.T) {
	t.Parallel()
	want := []string{
		"-rw-r--r-- root/root ./etc/slipstream-panel/panel.toml",
		"-rw-r--r-- root/root ./usr/lib/systemd/system/slipstream-panel-devices.socket",
		"-rw-r--r-- root/root ./usr/lib/systemd/system/slipstream-panel-people.socket",
		"-rw-r--r-- root/root ./usr/lib/systemd/system/slipstream-panel.service",
		"-rw-r--r-- root/root ./usr/lib/sysusers.d/slipstream-panel.conf",
		"-rw-r--r-- root/root ./usr/share/bash-completion/completions/slipstream-panel",
		"-rw-r--r-- root/root ./usr/share/doc/slipstream-panel/changelog.gz",
		"-rw-r--r-- root/root ./usr/share/doc/slipstream-panel/copyright",
		"-rw-r--r-- root/root ./usr/share/doc/slipstream-panel/examples/panel.toml",
		"-rw-r--r-- root/root ./usr/share/fish/vendor_completions.d/slipstream-panel.fish",
		"-rw-r--r-- root/root ./usr/share/zsh/vendor-completions/_slipstream-panel",
		"-rwxr-xr-x root/root ./usr/lib/slipstream-panel/slipstream-forward",
		"-rwxr-xr-x root/root ./usr/lib/slipstream-panel/slipstream-gateway",
		"-rwxr-xr-x root/root ./usr/lib/slipstream-panel/slipstream-panel",
		"drwxr-xr-x root/root ./etc/",
		"drwxr-xr-x root/root ./etc/slipstream-panel/",
		"lrwxrwxrwx root/root ./usr/bin/slipstream-panel -> ../lib/slipstream-panel/slipstream-panel",
	}
	if diff := cmp.Diff(want, debtest.Contents(t, deb(t))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	root := debtest.Extract(t, deb(t))
	if pages, _ := filepath.Glob(filepath.Join(root, "usr/share/man/man1/slipstream-panel-*.1.gz")); len(pages) < 40 {
		t.Errorf("only %d pages of the manual", len(pages))
	}
	if got := strings.TrimSpace(read(t, filepath.Join(root, "DEBIAN/conffiles"))); got != "/etc/slipstream-panel/panel.toml" {
		t.Errorf("dpkg asks about changes of %q", got)
	}
	// Another time zone, umask and time of the day: the same bytes.
	again, err := makeDeb("TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "TMPDIR="+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if read(t, deb(t)) != read(t, again) {
		t.Error("two builds of the same sources are not the same")
	}
}

// inside runs a program of an installed package.
func inside(t *testing.T, root string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "chroot", append([]string{root}, args...)...).CombinedOutput()
	return string(out), err
}

func TestInstallUpgradeRemovePurge(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("dpkg installs as root only")
	}
	t.Parallel()
	root := debtest.Root(t)
	before := debtest.Tree(t, root)
	at := func(path string) string { return filepath.Join(root, path) }
	debtest.Dpkg(t, root, "--install", deb(t))
	for file, want := range map[string]string{"etc/passwd": "\nslipstream-panel:", "etc/group": "\nslipstream-panel:", "etc/shadow": "slipstream-panel:!"} {
		if !strings.Contains(read(t, at(file)), want) {
			t.Errorf("no %q in %s", want, file)
		}
	}
	// The program runs where it lies, and takes the configuration that has come with it.
	if said, err := inside(t, root, "/usr/bin/slipstream-panel", "config", "check", "/etc/slipstream-panel/panel.toml"); err != nil || !strings.Contains(said, "panel.toml is right: people at 127.0.0.1:8080 ") {
		t.Errorf("config check: %v: %s", err, said)
	}
	config := at("etc/slipstream-panel/panel.toml")
	write(t, config, "names = [\"fleet.example\"]\n[lgo]\n")
	if said, err := inside(t, root, "/usr/bin/slipstream-panel", "config", "check", "/etc/slipstream-panel/panel.toml"); err == nil || !strings.Contains(said, `panel.toml:2: unknown key "lgo"`) {
		t.Errorf("config check of a wrong one: %v: %s", err, said)
	}
	write(t, config, "names = [\"fleet.example\"]\n")
	if said, err := inside(t, root, "/usr/bin/slipstream-panel", "setup-token", "--config", "/etc/slipstream-panel/panel.toml"); err != nil {
		t.Errorf("the panel makes no store: %v: %s", err, said)
	}
	store := at("var/lib/slipstream-panel/store.db")
	debtest.Dpkg(t, root, "--force-confold", "--install", debtest.Newer(t, deb(t)))
	debtest.Dpkg(t, root, "--remove", "slipstream-panel")
	for _, path := range []string{store, config} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("gone with the removal: %v", err)
		}
	}
	if !strings.Contains(read(t, config), "fleet.example") {
		t.Error("the upgrade has replaced a configuration that was edited")
	}
	write(t, at("etc/slipstream-panel/vendor.root.json"), "{}")
	if said := debtest.Dpkg(t, root, "--purge", "slipstream-panel"); !strings.Contains(said, "without a backup they have to be enrolled again") {
		t.Errorf("the purge does not say what it takes away:\n%s", said)
	}
	if _, err := os.Stat(store); !os.IsNotExist(err) {
		t.Errorf("the store after the purge: %v", err)
	}
	// What only a person can have put there stays.
	want := []string{fs.FileMode(0o600).String() + " 0 etc/slipstream-panel/vendor.root.json", "drwxr-xr-x 0 etc/slipstream-panel"}
	if diff := cmp.Diff(want, debtest.Left(t, root, before)); diff != "" {
		t.Errorf("left after the purge (-want +got):\n%s", diff)
	}
}
