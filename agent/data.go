package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"slipstream/slots"
	"slipstream/verify"
)

// maxData bounds the data directory that a trial gets a copy of, in MiB, where its
// manifest names no other limit.
const maxData = 64

// maxDataFiles bounds how many files, directories and links such a copy has: each
// costs a flush, and the trial waits for all of them.
const maxDataFiles = 20_000

// allowance is how much may still be copied.
type allowance struct {
	bytes int64
	files int
}

// dataLimit is how much data a version takes.
func dataLimit(m verify.Manifest) allowance {
	return allowance{cmp.Or(m.App.DataMaxMB, maxData) << 20, maxDataFiles}
}

// dataDirs keeps one data directory a slot. A trial gets a copy of the permanent
// one's, in its own slot's place. So the active record, which names the
// permanent slot, also says which data is the true one: a commit moves no file
// and a revert loses none.
type dataDirs string

func (d dataDirs) of(slot string) string { return filepath.Join(string(d), slot) }

// prepare makes sure that a slot has a data directory: what its app flushes in
// there must not be lost with it.
func (d dataDirs) prepare(slot string, own func(dir string) error) error {
	if err := slots.MakeDir(d.of(slot)); err != nil {
		return err
	}
	return own(d.of(slot))
}

// snapshot replaces a slot's data by a copy of another's, "" for none, at most so
// much. Where the file system can, files share their blocks until one is
// written. The copy is flushed before it takes its place; what both versions must see belongs into
// the shared directory. A version that is writing meanwhile must replace its files
// atomically, as for a power cut.
func (d dataDirs) snapshot(ctx context.Context, from, to string, limit allowance, own func(dir string) error) error {
	if err := d.drop(to, from); err != nil {
		return err
	}
	draft := d.of("." + to)
	if err := errors.Join(os.RemoveAll(draft), os.MkdirAll(draft, 0o755)); err != nil {
		return fmt.Errorf("copy the data directory: %w", err)
	}
	if from != "" {
		left := limit
		err := copyTree(ctx, d.of(from), draft, &left)
		switch {
		case left.bytes < 0:
			err = fmt.Errorf("it holds more than the %d MiB that the new version takes: "+
				"empty it, or raise app.dataMaxMB in the manifest", limit.bytes>>20)
		case left.files < 0:
			err = fmt.Errorf("it holds more than the %d files, directories and links that a trial gets a copy of: "+
				"remove some, or keep them in the shared directory", limit.files)
		}
		if err != nil {
			os.RemoveAll(draft)
			return fmt.Errorf("copy the data directory: %w", err)
		}
	}
	if err := errors.Join(own(draft), syncTree(draft), os.Rename(draft, d.of(to))); err != nil {
		return fmt.Errorf("copy the data directory: %w", err)
	}
	return syncDir(string(d))
}

// drop removes a slot's data, but never the permanent version's, whoever asks.
func (d dataDirs) drop(slot, permanent string) error {
	if slot == permanent {
		return fmt.Errorf("the data in slot %s is the permanent version's", slot)
	}
	if err := os.RemoveAll(d.of(slot)); err != nil {
		return fmt.Errorf("drop a trial's data: %w", err)
	}
	return nil
}

// copyTree copies directories, regular files and symbolic links; sockets and
// pipes mean nothing to another process. A file that vanishes meanwhile was
// the running version's to remove. That version is not trusted: whatever it puts in
// the place of a name that was judged, nothing from outside is read.
func copyTree(ctx context.Context, from, to string, left *allowance) error {
	root, err := os.OpenRoot(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Join(err, ctx.Err()) != nil:
			return errors.Join(err, ctx.Err())
		}
		if left.files--; left.files < 0 {
			return errTooMuch
		}
		switch {
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case e.Type() == fs.ModeSymlink:
			target, err := root.Readlink(name)
			if err != nil {
				return err
			}
			return os.Symlink(target, filepath.Join(to, name))
		case !e.Type().IsRegular():
			return nil
		}
		err = copyFile(root, name, filepath.Join(to, name), &left.bytes)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func copyFile(from *os.Root, name, to string, left *int64) error {
	in, err := from.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would keep us waiting for its writer
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file any more", name)
	}
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	n, err := copyBytes(out, in, info.Size(), *left)
	if *left -= n; *left < 0 {
		err = errors.Join(err, errTooMuch)
	}
	return errors.Join(err, out.Close())
}

// errTooMuch ends a copy; who asked for it knows the limit.
var errTooMuch = errors.New("too much")

// copyBytes copies at most one byte more than are left, if not all blocks can be
// shared.
func copyBytes(out, in *os.File, size, left int64) (int64, error) {
	if size <= left && unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		info, err := out.Stat()
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	}
	return io.Copy(out, io.LimitReader(in, left+1))
}

// syncTree flushes a copy. Only that: flushing the file system would wait for all
// the film that the running version is recording.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
