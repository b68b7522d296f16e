package pack

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// MaxEntries bounds the files, directories and links of a tree image.
const MaxEntries = 65_536

// tree is a directory as listed once. Contents are read when it is written.
type tree struct {
	root    *os.Root
	entries []entry
	folded  map[string]string // paths by their spelling without regard to case
}

type entry struct {
	path string // slash-separated, relative
	kind byte   // tar.TypeDir, tar.TypeReg or tar.TypeSymlink
	exec bool
	size int64
	link string
}

// openTree lists the directory. It reads through os.Root, so nothing outside of
// it can get into a package, not even by a link that appears meanwhile.
func openTree(dir string) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	t := &tree{root: root, folded: map[string]string{}}
	if err := fs.WalkDir(root.FS(), ".", t.add); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	slices.SortFunc(t.entries, func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	return t, nil
}

func (t *tree) Close() error { return t.root.Close() }

func (t *tree) add(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return fmt.Errorf("list directory: %w", err)
	}
	if name == "." {
		return nil
	}
	if len(t.entries) == MaxEntries {
		return fmt.Errorf("the directory holds more than %d files", MaxEntries)
	}
	if other, taken := t.folded[strings.ToLower(name)]; taken {
		return fmt.Errorf("%s and %s differ in the case of their letters only, which devices refuse: rename one", other, name)
	}
	t.folded[strings.ToLower(name)] = name
	info, err := d.Info()
	if err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	e := entry{path: name}
	switch mode := info.Mode(); {
	case mode.IsDir():
		e.kind = tar.TypeDir
	case mode.IsRegular() && mode&(fs.ModeSetuid|fs.ModeSetgid) == 0:
		e.kind, e.exec, e.size = tar.TypeReg, mode&0o111 != 0, info.Size()
	case mode.Type() == fs.ModeSymlink:
		e.kind = tar.TypeSymlink
		if e.link, err = t.root.Readlink(name); err != nil {
			return fmt.Errorf("read link %s: %w", name, err)
		}
		if !staysInside(name, e.link) {
			return fmt.Errorf("link %s points to %q: only clean relative links that stay inside are allowed", name, e.link)
		}
	default:
		return fmt.Errorf("%s is a %v: only plain files, directories and links are allowed", name, mode)
	}
	t.entries = append(t.entries, e)
	return nil
}

// staysInside judges a link by its text: clean, ".." only in front and at most
// as often as the link is deep. A ".." behind a name could follow another link
// up and out.
func staysInside(name, link string) bool {
	if path.IsAbs(link) || path.Clean(link) != link {
		return false
	}
	return !strings.HasPrefix(path.Join(path.Dir(name), link)+"/", "../")
}

// find returns the entry at a clean path.
func (t *tree) find(name string) (entry, bool) {
	i, ok := slices.BinarySearchFunc(t.entries, name, func(e entry, name string) int { return cmp.Compare(e.path, name) })
	if !ok {
		return entry{}, false
	}
	return t.entries[i], true
}

// writeTo writes the canonical ustar file.
func (t *tree) writeTo(ctx context.Context, w io.Writer) error {
	out := tar.NewWriter(w)
	buf := make([]byte, copyBuffer)
	for _, e := range t.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := out.WriteHeader(e.header()); err != nil {
			return fmt.Errorf("%s does not fit the tree format (ASCII, at most about 250 letters): %w", e.path, err)
		}
		if e.kind != tar.TypeReg {
			continue
		}
		if err := t.copyFile(out, e, buf); err != nil {
			return err
		}
	}
	return out.Close()
}

// copyBuffer is how much of a file is in memory, in bytes.
const copyBuffer = 256 << 10

func (t *tree) copyFile(out io.Writer, e entry, buf []byte) error {
	f, err := t.root.Open(e.path)
	if err != nil {
		return fmt.Errorf("read file: %w", err)
	}
	defer f.Close()
	n, err := io.CopyBuffer(out, io.LimitReader(f, e.size), buf)
	if err != nil {
		return fmt.Errorf("read file %s: %w", e.path, err)
	}
	if info, err := f.Stat(); err != nil || n != e.size || info.Size() != e.size {
		return fmt.Errorf("file %s changed while it was packed", e.path)
	}
	return nil
}

func (e entry) header() *tar.Header {
	h := &tar.Header{Format: tar.FormatUSTAR, Typeflag: e.kind, Name: e.path, ModTime: time.Unix(0, 0)}
	switch {
	case e.kind == tar.TypeDir:
		h.Name, h.Mode = e.path+"/", 0o755
	case e.kind == tar.TypeSymlink:
		h.Linkname, h.Mode = e.link, 0o777
	case e.exec:
		h.Size, h.Mode = e.size, 0o755
	default:
		h.Size, h.Mode = e.size, 0o644
	}
	return h
}
