package pack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"slipstream/verify"
)

// filesystem is a program that makes a file system out of a directory. It is given
// a copy that is made from the tree's canonical form: names, modes, owners and
// times are the same wherever the directory lies, so that only the program's own
// version is left to differ.
type filesystem struct {
	program string
	debian  string // package that has it
	args    func(dir, out string) []string
}

// erofsUUID stands where mkfs.erofs would put a random one.
const erofsUUID = "5e1f57ab-1e00-4000-8000-000000000000"

var filesystems = map[string]filesystem{
	verify.KindSquashfs: {"mksquashfs", "squashfs-tools", func(dir, out string) []string {
		return []string{dir, out, "-comp", "zstd", "-all-time", "0", "-mkfs-time", "0", "-all-root",
			"-reproducible", "-noappend", "-no-xattrs", "-no-progress", "-quiet"}
	}},
	verify.KindErofs: {"mkfs.erofs", "erofs-utils", func(dir, out string) []string {
		return []string{"-d0", "-x-1", "-T0", "-U", erofsUUID, "--all-root", out, dir}
	}},
}

// makeFilesystem returns a file without a name: it is gone when it is closed.
func makeFilesystem(ctx context.Context, kind string, t *tree) (_ content, err error) {
	fsys, ok := filesystems[kind]
	if !ok {
		return nil, fmt.Errorf("an image of kind %s cannot be made of a directory: give the image's file", kind)
	}
	if _, err := exec.LookPath(fsys.program); err != nil {
		return nil, fmt.Errorf("making %s needs the program %s (Debian: %s)", kind, fsys.program, fsys.debian)
	}
	temp, err := os.MkdirTemp("", "slipstream-pack-*")
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", kind, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	dir, out := filepath.Join(temp, "root"), filepath.Join(temp, "image")
	if err := t.copyTo(ctx, dir); err != nil {
		return nil, fmt.Errorf("make %s: %w", kind, err)
	}
	cmd := exec.CommandContext(ctx, fsys.program, fsys.args(dir, out)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TZ=UTC", "LC_ALL=C"}
	if words, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make %s: %s: %w: %s", kind, fsys.program, err, strings.TrimSpace(string(words)))
	}
	return openFileImage(out)
}

// copyTo makes the directory anew elsewhere, with the modes of the canonical form.
func (t *tree) copyTo(ctx context.Context, dir string) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	for _, e := range t.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.copyEntry(e, filepath.Join(dir, e.path)); err != nil {
			return fmt.Errorf("copy %s: %w", e.path, err)
		}
	}
	return nil
}

func (t *tree) copyEntry(e entry, to string) error {
	switch e.kind {
	case tar.TypeDir:
		return makeDir(to)
	case tar.TypeSymlink:
		return os.Symlink(e.link, to)
	}
	mode := os.FileMode(e.header().Mode)
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = t.copyFile(out, e, make([]byte, copyBuffer))
	return errors.Join(err, out.Chmod(mode), out.Close()) // whatever the umask
}

func makeDir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}
