package slots

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// source says where file contents are read from.
type source int

const (
	cached   source = iota // the page cache will do: it is what the app is started from
	fromDisk               // the kernel is asked to forget its copy first
)

// compare makes a tree's image from the slot's files again and compares its hash.
// Other images are read as they are.
func (s *Set) compare(ctx context.Context, name string, st state, from source) error {
	if st.Kind != KindTree {
		return s.compareImage(ctx, name, st)
	}
	root, err := s.openTree(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := list(root)
	if err != nil {
		return err
	}
	sum := sha256.New()
	if err := retar(ctx, root, entries, sum, from); err != nil {
		return err
	}
	if got := hexSum([32]byte(sum.Sum(nil))); got != st.SHA256 {
		return fmt.Errorf("%w: its image would have the hash %s, signed is %s", ErrDamaged, got, st.SHA256)
	}
	return nil
}

// list returns all entries below root in the order of the image.
func list(root *os.Root) ([]entry, error) {
	var entries []entry
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		e, err := look(root, name)
		if err != nil || name == "." {
			return err
		}
		if len(entries) == MaxEntries {
			return fmt.Errorf("%w: more than %d files", ErrDamaged, MaxEntries)
		}
		entries = append(entries, e)
		return nil
	})
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	return entries, err
}

// look accepts what extract makes and nothing else.
func look(root *os.Root, name string) (entry, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return entry{}, err
	}
	e := entry{path: name}
	switch mode := info.Mode(); {
	case mode == fs.ModeDir|dirMode:
		e.kind = tar.TypeDir
	case mode == fileMode || mode == execMode:
		e.kind, e.exec, e.size = tar.TypeReg, mode == execMode, info.Size()
	case mode.Type() == fs.ModeSymlink:
		e.kind = tar.TypeSymlink
		e.link, err = root.Readlink(name)
	default:
		err = fmt.Errorf("%w: %q has the mode %v", ErrDamaged, name, mode)
	}
	return e, err
}

// retar writes the image of the entries.
func retar(ctx context.Context, root *os.Root, entries []entry, w io.Writer, from source) error {
	out := tar.NewWriter(w)
	buf := make([]byte, copyBuffer)
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := out.WriteHeader(e.header()); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if e.kind != tar.TypeReg {
			continue
		}
		if err := retarFile(ctx, root, e, out, buf, from); err != nil {
			return err
		}
	}
	return out.Close()
}

func retarFile(ctx context.Context, root *os.Root, e entry, out io.Writer, buf []byte, from source) error {
	f, err := root.Open(e.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if from == fromDisk {
		// Clean pages are dropped, and after fsync all are clean. Only advice: a
		// file system without a disk has nothing to drop to.
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	in := io.LimitReader(contextReader{ctx, f}, e.size)
	n, err := io.CopyBuffer(struct{ io.Writer }{out}, in, buf)
	if err != nil {
		return fmt.Errorf("read %q: %w", e.path, err)
	}
	if n != e.size {
		return fmt.Errorf("%w: %q became shorter", ErrDamaged, e.path)
	}
	return nil
}

// contextReader stops reading when the context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
