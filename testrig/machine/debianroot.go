package machine

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// debianMB is the size of the disk that has Debian's root file system, in MiB.
const debianMB = 768

// debianPackages are what a small Debian with systemd is made of, beside what these
// depend on. The essential ones have to be named: nothing says that it needs them.
var debianPackages = []string{
	"base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "diffutils", "dpkg", "findutils", "grep", "gzip",
	"init-system-helpers", "libc-bin", "mawk", "perl-base", "procps", "sed", "systemd-sysv", "sysvinit-utils", "tar", "util-linux",
}

// unread are directories that nobody reads in a machine.
var unread = []string{"usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/i18n/"}

// merged are the directories of /usr that the root has by another name, too.
var merged = []string{"bin", "sbin", "lib"}

// debianFiles are the rig's in Debian's root.
//
//go:embed all:debian
var debianFiles embed.FS

// debianRoot makes the disk of a Debian with a real systemd, once: its packages are
// unpacked, and noted as installed; none of their programs has run, and none has to. Its
// name says what of the rig's is in it.
func (k *Kit) debianRoot(ctx context.Context) (image string, err error) {
	sum, err := debianSum()
	if err != nil {
		return "", err
	}
	image = filepath.Join(k.dir, "debian-root-"+sum+".img")
	unlock, err := lock(filepath.Join(k.dir, ".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(image); err == nil {
		return image, nil
	}
	work, err := os.MkdirTemp(k.dir, "apt-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	archive, err := newArchive(ctx, k.Arch, work)
	if err != nil {
		return "", err
	}
	debs, err := archive.closure(ctx, debianPackages...)
	if err != nil {
		return "", err
	}
	r := &debianTree{dir: filepath.Join(work, "root")}
	if err := r.begin(); err != nil {
		return "", err
	}
	for _, deb := range debs {
		if err := r.install(ctx, deb); err != nil {
			return "", fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
		}
	}
	if err := r.finish(); err != nil {
		return "", err
	}
	if err := ext4(ctx, image+".new", debianMB, r.dir); err != nil {
		return "", err
	}
	return image, os.Rename(image+".new", image)
}

// debianSum stands for the rig's part of the root file system.
func debianSum() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, debianPackages, unread, merged)
	err := fs.WalkDir(debianFiles, "debian", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := debianFiles.ReadFile(path)
		fmt.Fprintf(h, "%s\n%s\n", path, text)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:6]), err
}

// debianTree is a root file system that is being made in a directory.
type debianTree struct{ dir string }

func (r *debianTree) path(name string) string { return filepath.Join(r.dir, name) }

// begin makes the directories that packages expect to be there.
func (r *debianTree) begin() error {
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "proc", "sys", "dev", "run", "tmp", "etc", "root"} {
		if err := os.MkdirAll(r.path(dir), 0o755); err != nil {
			return err
		}
	}
	for _, dir := range merged {
		if err := errors.Join(os.MkdirAll(r.path("usr/"+dir), 0o755), os.Symlink("usr/"+dir, r.path(dir))); err != nil {
			return err
		}
	}
	return nil
}

// install unpacks a package, and notes in dpkg's database that it is installed.
func (r *debianTree) install(ctx context.Context, deb string) error {
	var list strings.Builder
	err := members(ctx, deb, "--fsys-tarfile", func(files *tar.Reader) error {
		return eachMember(files, func(head *tar.Header) error {
			name := strings.TrimSuffix(strings.TrimPrefix(head.Name, "./"), "/")
			fmt.Fprintln(&list, "/"+cmp.Or(name, "."))
			return r.put(name, head, files)
		})
	})
	if err != nil {
		return err
	}
	return members(ctx, deb, "--ctrl-tarfile", func(files *tar.Reader) error {
		return eachMember(files, func(head *tar.Header) error {
			if strings.TrimPrefix(head.Name, "./") != "control" {
				return nil
			}
			control, err := io.ReadAll(files)
			if err != nil {
				return err
			}
			return r.note(string(control), list.String())
		})
	})
}

func eachMember(files *tar.Reader, take func(*tar.Header) error) error {
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := take(head); err != nil {
			return err
		}
	}
}

// put makes one member of a package; what is in a merged directory lies in /usr.
func (r *debianTree) put(name string, head *tar.Header, from io.Reader) error {
	for _, dir := range unread {
		if strings.HasPrefix(name+"/", dir) {
			return nil
		}
	}
	if name == "" {
		return nil
	}
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%s is not a path inside of a package", head.Name)
	}
	to := r.path(name)
	if head.Typeflag == tar.TypeDir {
		return os.MkdirAll(to, 0o755) // follows the links of merged ones
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	switch head.Typeflag {
	case tar.TypeReg:
		return copyTo(to, from, fs.FileMode(head.Mode).Perm())
	case tar.TypeSymlink:
		return os.Symlink(head.Linkname, to)
	case tar.TypeLink:
		return os.Link(r.path(strings.TrimPrefix(head.Linkname, "./")), to)
	}
	return fmt.Errorf("%s is of a kind that no package of this list has", head.Name)
}

// note writes a package's record. Of one that can be there for several architectures
// at once the list's name has this one.
func (r *debianTree) note(control, list string) error {
	fields := map[string]string{}
	for line := range strings.Lines(control) {
		if key, value, is := strings.Cut(line, ":"); is && !strings.HasPrefix(line, " ") {
			fields[key] = strings.TrimSpace(value)
		}
	}
	name := fields["Package"]
	if fields["Multi-Arch"] == "same" {
		name += ":" + fields["Architecture"]
	}
	status, err := os.OpenFile(r.path("var/lib/dpkg/status"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	rest := strings.TrimPrefix(control, "Package: "+fields["Package"]+"\n")
	_, err = fmt.Fprintf(status, "Package: %s\nStatus: install ok installed\n%s\n\n", fields["Package"], strings.TrimSpace(rest))
	return errors.Join(err, status.Close(), os.WriteFile(r.path("var/lib/dpkg/info/"+name+".list"), []byte(list), 0o644))
}

// finish does what packages' scripts would have done, and adds what is the rig's.
func (r *debianTree) finish() error {
	for from, to := range map[string]string{"passwd.master": "etc/passwd", "group.master": "etc/group"} {
		text, err := os.ReadFile(r.path("usr/share/base-passwd/" + from))
		if err != nil {
			return err
		}
		if err := os.WriteFile(r.path(to), text, 0o644); err != nil {
			return err
		}
	}
	for link, to := range map[string]string{
		"usr/bin/awk": "mawk", "usr/bin/sh": "dash",
		"etc/systemd/system/default.target":                           "/lib/systemd/system/multi-user.target",
		"etc/systemd/system/serial-getty@ttyAMA0.service":             "/dev/null", // the console is the rig's
		"etc/systemd/system/multi-user.target.wants/rig-hand.service": "../rig-hand.service",
	} {
		err := os.MkdirAll(filepath.Dir(r.path(link)), 0o755)
		if err := errors.Join(err, replaceLink(to, r.path(link))); err != nil {
			return err
		}
	}
	return fs.WalkDir(debianFiles, "debian", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := debianFiles.ReadFile(path)
		if err != nil {
			return err
		}
		to := r.path(strings.TrimPrefix(path, "debian/"))
		return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, text, 0o644))
	})
}

func replaceLink(to, link string) error {
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(to, link)
}
