package slots

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path"
)

// partName is a file that is going to replace one of a tree.
const partName = "part"

func inRoot(name string) string { return rootName + "/" + name }

// removeBefore removes what was there before a path in the order of the image
// and has no place in the tree; with no path, all that is left.
func (x *extractor) removeBefore(name string) error {
	for ; x.at < len(x.old) && (name == "" || x.old[x.at].path < name); x.at++ {
		if err := x.remove(x.old[x.at]); err != nil {
			return err
		}
	}
	return nil
}

// reach returns what was there at a path; without a path: nothing.
func (x *extractor) reach(name string) entry {
	if x.at == len(x.old) || x.old[x.at].path != name {
		return entry{}
	}
	x.at++
	return x.old[x.at-1]
}

// remove removes what was there. What was in a directory that is gone is gone
// too; its path may lead elsewhere by now, through a link.
func (x *extractor) remove(e entry) error {
	if e.path == "" {
		return nil
	}
	if e.kind == tar.TypeDir {
		x.gone[e.path] = true
	}
	if x.gone[path.Dir(e.path)] {
		return nil
	}
	return x.out.Remove(inRoot(e.path))
}

// keeper writes a file, unless that is what the file holds already. It goes on
// with one that was interrupted, and replaces another when it is whole.
type keeper struct {
	x    *extractor
	e    entry
	old  *os.File // what is there; nil: nothing, or not the same
	size int64    // of old
	pos  int64    // up to where old is right
	out  diskFile // nil: nothing had to be written yet
	part bool     // out replaces what is there
}

func (x *extractor) openKeeper(e, old entry) (*keeper, error) {
	k := &keeper{x: x, e: e}
	if old.kind != tar.TypeReg {
		if err := x.remove(old); err != nil {
			return nil, err
		}
		return k, k.create(inRoot(e.path))
	}
	if old.exec != e.exec || old.size > e.size {
		return k, k.replace()
	}
	f, err := x.read.Open(e.path)
	if err != nil {
		return nil, err
	}
	k.old, k.size = f, old.size
	return k, nil
}

func (k *keeper) create(name string) error {
	out, err := k.x.out.Create(name, k.e.mode())
	if err == nil {
		k.out = out
	}
	return err
}

// replace begins a file that will replace what is there.
func (k *keeper) replace() error {
	if err := k.x.out.Remove(partName); err != nil {
		return err
	}
	k.part = true
	return k.create(partName)
}

func (k *keeper) write(p []byte) error {
	if k.out == nil {
		same, err := k.compare(p)
		if err != nil || len(same) == len(p) {
			return err
		}
		p = p[len(same):]
	}
	_, err := k.out.Write(p)
	return err
}

// compare returns how much of p is there. If that is not all, out is ready for
// the rest.
func (k *keeper) compare(p []byte) ([]byte, error) {
	there := make([]byte, min(int64(len(p)), k.size-k.pos))
	if _, err := k.old.ReadAt(there, k.pos); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.Equal(there, p[:len(there)]) {
		if err := k.replace(); err != nil {
			return nil, err
		}
		_, err := io.CopyBuffer(struct{ io.Writer }{k.out}, io.NewSectionReader(k.old, 0, k.pos), make([]byte, copyBuffer))
		return nil, err
	}
	k.pos += int64(len(there))
	if len(there) == len(p) {
		return p, nil
	}
	return there, k.extend()
}

// extend goes on at the end of what is there.
func (k *keeper) extend() error {
	out, err := k.x.out.Append(inRoot(k.e.path))
	if err == nil {
		k.out = out
	}
	return err
}

// finish brings the file to storage.
func (k *keeper) finish() error {
	if k.out == nil {
		if !k.x.unsafe {
			return nil
		}
		if err := k.extend(); err != nil {
			return err
		}
	}
	if err := k.out.Sync(); err != nil || !k.part {
		return err
	}
	return k.x.out.Rename(partName, inRoot(k.e.path))
}

func (k *keeper) close() error {
	var errs []error
	if k.old != nil {
		errs = append(errs, k.old.Close())
	}
	if k.out != nil {
		errs = append(errs, k.out.Close())
	}
	return errors.Join(errs...)
}
