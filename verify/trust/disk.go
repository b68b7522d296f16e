package trust

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// disk is the directory of the state, and the only way by which it is written:
// tests put one in its place that loses power at a chosen step.
type disk interface {
	Read(name string) ([]byte, error)
	Write(name string, data []byte) error // and sync it
	Rename(from, to string) error
	Sync() error // what was renamed
}

// osDisk is the real one. It makes the directory when it first writes.
type osDisk struct{ dir string }

var _ disk = osDisk{}

func (d osDisk) Read(name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(d.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func (d osDisk) Write(name string, data []byte) error {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func (d osDisk) Rename(from, to string) error {
	return os.Rename(filepath.Join(d.dir, from), filepath.Join(d.dir, to))
}

// Sync also makes the directory's own name last, which may be new.
func (d osDisk) Sync() error {
	return errors.Join(syncDir(d.dir), syncDir(filepath.Dir(d.dir)))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// replace puts data in the place of a file: whenever the power fails, the name
// means the old content or the new one, whole; after nil, the new one.
func replace(d disk, name string, data []byte) error {
	const fresh = ".new"
	if err := d.Write(name+fresh, data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := d.Rename(name+fresh, name); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
