package dist_test

import (
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// makeDeb builds this machine's package as make deb does, but for the strength of xz.
func makeDeb(version, arch string, env ...string) (string, error) {
	dir, err := programs()
	if err != nil {
		return "", err
	}
	out, err := os.MkdirTemp(dir, "deb")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("deb/build", out, arch)
	cmd.Env = append(append(os.Environ(), "DEB_LEVEL=0", "DEB_VERSION="+version, "SOURCE_DATE_EPOCH=1700000000"), env...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("deb/build: %w\n%s", err, said)
	}
	return filepath.Join(out, "slipstream_"+version+"_"+arch+".deb"), nil
}

// firstDeb is one package for all tests that need one.
var firstDeb = sync.OnceValues(func() (string, error) {
	arch, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		return "", err
	}
	return makeDeb("1.0", strings.TrimSpace(string(arch)))
})

func debArch(t *testing.T) string { return strings.TrimSpace(run(t, "dpkg", "--print-architecture")) }

// contents are a package's files but for the manual, one a line: mode, owner, name.
func contents(t *testing.T, deb string) (files []string) {
	t.Helper()
	for line := range strings.Lines(run(t, "dpkg-deb", "--contents", deb)) {
		f := strings.Fields(line)
		name := strings.Join(f[5:], " ")
		if !strings.HasSuffix(name, "/") && !strings.Contains(name, "/man1/") || strings.HasPrefix(name, "./etc") {
			files = append(files, f[0]+" "+f[1]+" "+name)
		}
	}
	slices.Sort(files)
	return files
}

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
	if diff := cmp.Diff(want, contents(t, deb)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	info := run(t, "dpkg-deb", "--info", deb)
	for _, line := range []string{"Package: slipstream", "Version: 1.0", "Architecture: " + debArch(t), "Installed-Size: "} {
		if !strings.Contains(info, line) {
			t.Errorf("no %q in\n%s", line, info)
		}
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		run(t, "dash", "-n", "deb/"+script)
	}
	root := t.TempDir()
	run(t, "dpkg-deb", "--raw-extract", deb, root)
	for _, name := range []string{"slipstream", "slipstream-forward", "slipstream-gateway", "slipstream-ingest", "slipstream-start"} {
		isStripped(t, filepath.Join(root, "usr/lib/slipstream", name))
	}
	if pages, _ := filepath.Glob(filepath.Join(root, "usr/share/man/man1/slipstream-*.1.gz")); len(pages) < 10 {
		t.Errorf("only %d pages of the manual", len(pages))
	}
	sums := exec.CommandContext(t.Context(), "md5sum", "--quiet", "--check", "DEBIAN/md5sums")
	sums.Dir = root
	if out, err := sums.CombinedOutput(); err != nil {
		t.Errorf("md5sums: %v\n%s", err, out)
	}
	// Another time zone, umask and time of the day: the same bytes.
	again, err := makeDeb("1.0", debArch(t), "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "TMPDIR="+t.TempDir())
	must(t, err)
	if read(t, deb) != read(t, again) {
		t.Error("two builds of the same sources are not the same")
	}
}

// isStripped also says that a program needs no libraries.
func isStripped(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	must(t, err)
	defer f.Close()
	if f.Section(".symtab") != nil || f.Section(".debug_info") != nil {
		t.Errorf("%s is not stripped", path)
	}
	if libs, _ := f.ImportedLibraries(); len(libs) > 0 {
		t.Errorf("%s needs %v", path, libs)
	}
}

// throwawayRoot has a shell, what dpkg wants to find, and systemd's tool that makes users.
// The package's scripts run inside and can reach nothing else.
func throwawayRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"bin", "dev", "etc", "tmp", "usr/bin", "var/lib/dpkg/info", "var/lib/dpkg/updates", "run"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644))
	for _, program := range []string{"busybox", "rm", "systemd-sysusers"} {
		path, err := exec.LookPath(program)
		must(t, err)
		copyIn(t, root, path, "/usr/bin/"+program)
		for word := range strings.FieldsSeq(run(t, "ldd", path)) {
			if strings.HasPrefix(word, "/") {
				copyIn(t, root, word, word)
			}
		}
	}
	must(t, unix.Mknod(filepath.Join(root, "dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	for _, applet := range []string{"sh", "rmdir", "awk", "umount"} {
		must(t, os.Symlink("/usr/bin/busybox", filepath.Join(root, "bin", applet)))
	}
	must(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(root, "etc/group"), []byte("root:x:0:\n"), 0o644))
	return root
}

func copyIn(t *testing.T, root, from, to string) {
	t.Helper()
	to = filepath.Join(root, to)
	must(t, os.MkdirAll(filepath.Dir(to), 0o755))
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	must(t, err)
	_, err = io.Copy(out, in)
	must(t, err)
	must(t, out.Close())
}

func TestInstallUpgradeRemovePurge(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("dpkg installs as root only")
	}
	t.Parallel()
	deb, err := firstDeb()
	must(t, err)
	root := throwawayRoot(t)
	before := tree(t, root)
	dpkg := func(args ...string) {
		t.Helper()
		run(t, "dpkg", append([]string{"--root=" + root, "--force-depends", "--no-pager"}, args...)...)
	}
	dpkg("--install", deb)
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
	dpkg("--force-confold", "--install", newer(t, deb))
	dpkg("--remove", "slipstream")
	for _, path := range []string{"var/lib/slipstream/journal.db", "etc/slipstream/slipstream.toml", "etc/slipstream/viewers"} {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Errorf("gone with the removal: %v", err)
		}
	}
	if !strings.Contains(read(t, config), "cam-7") {
		t.Error("the upgrade has replaced a configuration that was edited")
	}
	dpkg("--purge", "slipstream")
	left := slices.DeleteFunc(tree(t, root), func(line string) bool { return slices.Contains(before, line) })
	// What only a person can have put there stays, and the users do.
	if !strings.Contains(read(t, filepath.Join(root, "etc/passwd")), "\nslip-a:") {
		t.Error("the users are gone with the purge")
	}
	want := []string{
		"-rw------- 0 etc/.pwd.lock", "-rw-r--r-- 0 etc/slipstream/trust.pem", "drwxr-xr-x 0 etc/slipstream",
	}
	left = slices.DeleteFunc(left, func(line string) bool {
		return strings.Contains(line, "shadow") || strings.Contains(line, " var/lib/dpkg") || strings.HasSuffix(line, "-") || strings.Contains(line, " var/log")
	})
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("left after the purge (-want +got):\n%s", diff)
	}
}

// newer is the same package with a higher version.
func newer(t *testing.T, deb string) string {
	t.Helper()
	root := t.TempDir()
	run(t, "dpkg-deb", "--raw-extract", deb, root)
	control := filepath.Join(root, "DEBIAN/control")
	must(t, os.WriteFile(control, []byte(strings.Replace(read(t, control), "Version: 1.0", "Version: 1.1", 1)), 0o644))
	out := filepath.Join(t.TempDir(), "newer.deb")
	run(t, "dpkg-deb", "--root-owner-group", "-Znone", "--build", root, out)
	return out
}

// tree is a directory's entries: mode, owner, name. A changed size or time does not
// make another entry.
func tree(t *testing.T, root string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		line := fmt.Sprintf("%v %d %s", info.Mode(), info.Sys().(*syscall.Stat_t).Uid, name)
		all = append(all, line)
		return nil
	}))
	slices.Sort(all)
	return all
}
