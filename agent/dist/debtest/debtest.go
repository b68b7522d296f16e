// Package debtest builds Debian packages as `make deb` does, and installs them below a
// directory of the test's own, for the tests of what goes into them.
package debtest

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
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Make has a script of .ci/deb's kind build a package into a directory, but for the strength
// of xz, and returns the file.
func Make(script, name, version, arch, dir string, env ...string) (string, error) {
	cmd := exec.Command(script, dir, arch)
	cmd.Env = append(append(os.Environ(), "DEB_LEVEL=0", "DEB_VERSION="+version, "SOURCE_DATE_EPOCH=1700000000"), env...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", script, err, said)
	}
	return filepath.Join(dir, name+"_"+version+"_"+arch+".deb"), nil
}

// Arch is Debian's name of this machine's architecture.
func Arch() (string, error) {
	arch, err := exec.Command("dpkg", "--print-architecture").Output()
	return strings.TrimSpace(string(arch)), err
}

// Contents are a package's files but for the manual, one a line: mode, owner, name; and the
// directories below etc.
func Contents(t *testing.T, deb string) (files []string) {
	t.Helper()
	for line := range strings.Lines(Run(t, "dpkg-deb", "--contents", deb)) {
		f := strings.Fields(line)
		name := strings.Join(f[5:], " ")
		if !strings.HasSuffix(name, "/") && !strings.Contains(name, "/man1/") || strings.HasPrefix(name, "./etc") {
			files = append(files, f[0]+" "+f[1]+" "+name)
		}
	}
	slices.Sort(files)
	return files
}

// Extract unpacks a package with its control files, checks its sums, and that its programs
// are stripped and need no libraries. It returns the directory.
func Extract(t *testing.T, deb string) string {
	t.Helper()
	root := t.TempDir()
	Run(t, "dpkg-deb", "--raw-extract", deb, root)
	sums := exec.CommandContext(t.Context(), "md5sum", "--quiet", "--check", "DEBIAN/md5sums")
	sums.Dir = root
	if out, err := sums.CombinedOutput(); err != nil {
		t.Errorf("md5sums: %v\n%s", err, out)
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		Run(t, "dash", "-n", filepath.Join(root, "DEBIAN", script))
	}
	programs, err := filepath.Glob(filepath.Join(root, "usr/lib/slipstream*/*"))
	if err != nil || len(programs) == 0 {
		t.Errorf("no programs in it: %v", err)
	}
	for _, path := range programs {
		isStripped(t, path)
	}
	return root
}

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

// Newer is the same package with a higher version.
func Newer(t *testing.T, deb string) string {
	t.Helper()
	root := t.TempDir()
	Run(t, "dpkg-deb", "--raw-extract", deb, root)
	path := filepath.Join(root, "DEBIAN/control")
	control, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte(strings.Replace(string(control), "Version: 1.0", "Version: 1.1", 1)), 0o644))
	out := filepath.Join(t.TempDir(), "newer.deb")
	Run(t, "dpkg-deb", "--root-owner-group", "-Znone", "--build", root, out)
	return out
}

// Root is a directory with a shell, what dpkg wants to find, and systemd's tool that makes
// users. The package's scripts run inside and can reach nothing else.
func Root(t *testing.T) string {
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
		for word := range strings.FieldsSeq(Run(t, "ldd", path)) {
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

// Dpkg runs dpkg on such a directory, and returns what was said.
func Dpkg(t *testing.T, root string, args ...string) string {
	t.Helper()
	return Run(t, "dpkg", append([]string{"--root=" + root, "--force-depends", "--no-pager"}, args...)...)
}

// Tree is a directory's entries: mode, owner, name. A changed size or time does not make
// another entry.
func Tree(t *testing.T, root string) (all []string) {
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
		all = append(all, fmt.Sprintf("%v %d %s", info.Mode(), info.Sys().(*syscall.Stat_t).Uid, name))
		return nil
	}))
	slices.Sort(all)
	return all
}

// Left is what a directory has that it had not before, but for what dpkg and the tools that
// make users keep for themselves.
func Left(t *testing.T, root string, before []string) []string {
	t.Helper()
	return slices.DeleteFunc(Tree(t, root), func(line string) bool {
		return slices.Contains(before, line) || strings.Contains(line, "shadow") || strings.Contains(line, " var/lib/dpkg") ||
			strings.HasSuffix(line, "-") || strings.Contains(line, " var/log") || strings.HasSuffix(line, "etc/.pwd.lock")
	})
}

// Run returns what a command said; it must succeed.
func Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
