package dist_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/agent/dist/debtest"
)

// makeDeb builds this machine's package of devices.
func makeDeb(version string, env ...string) (string, error) {
	dir, err := programs()
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
	return debtest.Make("deb/build", "slipstream", version, arch, out, env...)
}

// firstDeb is one package for all tests that need one.
var firstDeb = sync.OnceValues(func() (string, error) { return makeDeb("1.0") })

func TestDebianPackage(t *testing.T) {
	t.Parallel()
	deb, err := firstDeb()
	must(t, err)
	want := []string{
		"-rw-r--r-- root/root ./etc/slipstream/slipstream.toml",
		"-rw-r--r-- root/root ./usr/lib/systemd/system/slipstream.service",
		"-rw-r--r-- root/root ./usr/lib/sysusers.d/slipstream.conf",
		"-rw-r--r-- root/root ./usr/share/bash-completion/completions/slipstream",
		"-rw-r--r-- root/root ./usr/share/doc/slipstream/changelog.gz",
		"-rw-r--r-- root/root ./usr/share/doc/slipstream/copyright",
		"-rw-r--r-- root/root ./usr/share/doc/slipstream/examples/slipstream.toml",
		"-rw-r--r-- root/root ./usr/share/fish/vendor_completions.d/slipstream.fish",
		"-rw-r--r-- root/root ./usr/share/zsh/vendor-completions/_slipstream",
		"-rwxr-xr-x root/root ./usr/lib/slipstream/slipstream",
		"-rwxr-xr-x root/root ./usr/lib/slipstream/slipstream-forward",
		"-rwxr-xr-x root/root ./usr/lib/slipstream/slipstream-gateway",
		"-rwxr-xr-x root/root ./usr/lib/slipstream/slipstream-ingest",
		"-rwxr-xr-x root/root ./usr/lib/slipstream/slipstream-start",
		"-rwxr-xr-x root/root ./usr/share/doc/slipstream/examples/S90slipstream",
		"drwxr-xr-x root/root ./etc/",
		"drwxr-xr-x root/root ./etc/slipstream/",
		"drwxr-xr-x root/root ./etc/slipstream/slipstream.toml.d/",
		"lrwxrwxrwx root/root ./usr/bin/slipstream -> ../lib/slipstream/slipstream",
	}
	if diff := cmp.Diff(want, debtest.Contents(t, deb)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	info := run(t, "dpkg-deb", "--info", deb)
	arch, err := debtest.Arch()
	must(t, err)
	for _, line := range []string{"Package: slipstream", "Version: 1.0", "Architecture: " + arch, "Installed-Size: "} {
		if !strings.Contains(info, line) {
			t.Errorf("no %q in\n%s", line, info)
		}
	}
	root := debtest.Extract(t, deb)
	if pages, _ := filepath.Glob(filepath.Join(root, "usr/share/man/man1/slipstream-*.1.gz")); len(pages) < 10 {
		t.Errorf("only %d pages of the manual", len(pages))
	}
	// Another time zone, umask and time of the day: the same bytes.
	again, err := makeDeb("1.0", "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "TMPDIR="+t.TempDir())
	must(t, err)
	if read(t, deb) != read(t, again) {
		t.Error("two builds of the same sources are not the same")
	}
}

func TestInstallUpgradeRemovePurge(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("dpkg installs as root only")
	}
	t.Parallel()
	deb, err := firstDeb()
	must(t, err)
	root := debtest.Root(t)
	before := debtest.Tree(t, root)
	debtest.Dpkg(t, root, "--install", deb)
	if got := run(t, "dpkg-query", "--admindir="+root+"/var/lib/dpkg", "-W", "-f=${db:Status-Status}", "slipstream"); got != "installed" {
		t.Fatalf("after the installation it is %q", got)
	}
	for file, want := range map[string]string{"etc/passwd": "\nslip-a:", "etc/group": "\nslipstream:", "etc/shadow": "slip-b:!"} {
		if !strings.Contains(read(t, filepath.Join(root, file)), want) {
			t.Errorf("no %q in %s", want, file)
		}
	}
	// The programs are those of a whole device: they run where they lie.
	said := run(t, "chroot", root, "/usr/bin/slipstream", "config", "check", "/usr/share/doc/slipstream/examples/slipstream.toml")
	if !strings.Contains(said, "is right") {
		t.Errorf("config check: %s", said)
	}

	config := filepath.Join(root, "etc/slipstream/slipstream.toml")
	must(t, os.WriteFile(config, []byte("device = \"cam-7\"\n"), 0o644))
	for _, path := range []string{"var/lib/slipstream/slots/a/image", "var/lib/slipstream/journal.db", "run/slipstream/agent.pid", "etc/slipstream/viewers", "etc/slipstream/trust.pem"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, path), nil, 0o644))
	}
	debtest.Dpkg(t, root, "--force-confold", "--install", debtest.Newer(t, deb))
	debtest.Dpkg(t, root, "--remove", "slipstream")
	for _, path := range []string{"var/lib/slipstream/journal.db", "etc/slipstream/slipstream.toml", "etc/slipstream/viewers"} {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Errorf("gone with the removal: %v", err)
		}
	}
	if !strings.Contains(read(t, config), "cam-7") {
		t.Error("the upgrade has replaced a configuration that was edited")
	}
	debtest.Dpkg(t, root, "--purge", "slipstream")
	left := debtest.Left(t, root, before)
	// What only a person can have put there stays, and the users do.
	if !strings.Contains(read(t, filepath.Join(root, "etc/passwd")), "\nslip-a:") {
		t.Error("the users are gone with the purge")
	}
	want := []string{"-rw-r--r-- 0 etc/slipstream/trust.pem", "drwxr-xr-x 0 etc/slipstream"}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("left after the purge (-want +got):\n%s", diff)
	}
}
