package machine

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// aptHooks are parts of apt's configuration that must not hold for a directory of our
// own: programs to run after an update, and lists that nobody reads.
var aptHooks = []string{"Invoke", "IndexTargets", "APT::Architectures"}

// archive is apt with a state of its own, for packages of another architecture: this
// machine's own lists, caches and architectures stay as they are.
type archive struct {
	arch Arch
	dir  string
}

func newArchive(ctx context.Context, arch Arch, dir string) (*archive, error) {
	a := &archive{arch, dir}
	for _, name := range []string{"lists/partial", "archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	has, err := run(ctx, "", "apt-config", "dump")
	if err != nil {
		return nil, err
	}
	var conf strings.Builder
	for line := range strings.Lines(has) {
		if !containsAny(line, aptHooks) {
			conf.WriteString(line)
		}
	}
	fmt.Fprintf(&conf, `APT::Architecture "%[1]s";
APT::Architectures { "%[1]s"; };
Dir::State "%[2]s";
Dir::State::lists "%[2]s/lists";
Dir::State::status "%[2]s/status";
Dir::Cache "%[2]s";
Dir::Cache::archives "%[2]s/archives";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Debug::NoLocking "1";
APT::Sandbox::User "";
Acquire::Retries "5";
`, arch.debian, dir)
	return a, errors.Join(
		os.WriteFile(filepath.Join(dir, "status"), nil, 0o644),
		os.WriteFile(a.config(), []byte(conf.String()), 0o644))
}

func containsAny(text string, words []string) bool {
	for _, word := range words {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

func (a *archive) config() string { return filepath.Join(a.dir, "apt.conf") }

func (a *archive) apt(ctx context.Context, program string, args ...string) (string, error) {
	path, err := find(program)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "APT_CONFIG="+a.config(), "LC_ALL=C")
	cmd.Dir = filepath.Join(a.dir, "debs")
	return output(cmd, "")
}

// fetch downloads packages and returns their files. A package that only stands for
// another one, as a kernel's does, is that one.
func (a *archive) fetch(ctx context.Context, names ...string) (debs []string, err error) {
	// Mirrors that are in the middle of an update make this fail, and what is needed is
	// there all the same: the download says whether it is.
	_, stale := a.apt(ctx, "apt-get", "-q", "update")
	for _, name := range names {
		if name == a.arch.kernel {
			if name, err = a.versioned(ctx, name); err != nil {
				return nil, errors.Join(err, stale)
			}
		}
		if _, err := a.apt(ctx, "apt-get", "-q", "download", name); err != nil {
			return nil, errors.Join(fmt.Errorf("fetch the Debian package %s of %s: %w", name, a.arch.debian, err), stale)
		}
		found, _ := filepath.Glob(filepath.Join(a.dir, "debs", name+"_*.deb"))
		if len(found) == 0 {
			return nil, fmt.Errorf("apt-get downloaded no file of the package %s", name)
		}
		debs = append(debs, found[len(found)-1])
	}
	return debs, nil
}

// closure downloads packages with all that they depend on, and returns their files.
func (a *archive) closure(ctx context.Context, names ...string) (debs []string, err error) {
	_, stale := a.apt(ctx, "apt-get", "-q", "update") // as above
	args := []string{"-q", "-y", "--download-only", "--no-install-recommends", "install"}
	if _, err := a.apt(ctx, "apt-get", append(args, names...)...); err != nil {
		return nil, errors.Join(fmt.Errorf("fetch Debian packages of %s: %w", a.arch.debian, err), stale)
	}
	return filepath.Glob(filepath.Join(a.dir, "archives", "*.deb"))
}

// versioned is the package that a metapackage depends on: kernels' names change.
func (a *archive) versioned(ctx context.Context, name string) (string, error) {
	out, err := a.apt(ctx, "apt-cache", "depends", name)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if of, is := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); is {
			return of, nil
		}
	}
	return "", fmt.Errorf("the Debian package %s of %s is not in the lists of apt's sources", name, a.arch.debian)
}

// extract writes the regular files of a package that keep names, below dir.
func extract(ctx context.Context, deb, dir string, keep func(name string) (to string, ok bool)) error {
	return members(ctx, deb, "--fsys-tarfile", func(files *tar.Reader) error { return unpack(files, dir, keep) })
}

// members reads one of the two archives of a package.
func members(ctx context.Context, deb, which string, take func(*tar.Reader) error) error {
	path, err := find("dpkg-deb")
	if err != nil {
		return err
	}
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, path, which, deb)
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = take(tar.NewReader(out))
	if err != nil {
		out.Close() // dpkg-deb may write still
	}
	if ended := cmd.Wait(); err == nil && ended != nil {
		err = fmt.Errorf("%w: %s", ended, bytes.TrimSpace(complaint.Bytes()))
	}
	if err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
	}
	return nil
}

func unpack(files *tar.Reader, dir string, keep func(string) (string, bool)) error {
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		to, ok := keep(strings.TrimPrefix(head.Name, "./"))
		if !ok || head.Typeflag != tar.TypeReg {
			continue
		}
		if !filepath.IsLocal(to) {
			return fmt.Errorf("%s is not a path inside of a package", head.Name)
		}
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := copyTo(to, files, fs.FileMode(head.Mode).Perm()); err != nil {
			return err
		}
	}
}

// copyTo makes a file of what is read.
func copyTo(to string, from io.Reader, perm fs.FileMode) error {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	return errors.Join(err, out.Close())
}
