package slots

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// disk is a directory that slots writes to, and the only way by which it does:
// tests put a disk in its place that fails or loses power at a chosen step.
// Names are relative, and none leads out of the directory.
type disk interface {
	Sub(name string) (disk, error)
	Mkdir(name string) error
	Create(name string, mode fs.FileMode) (diskFile, error) // never an existing one
	Append(name string) (diskFile, error)                   // only an existing one
	Log(name string) (diskFile, error)                      // what is appended to it is on storage when Write returns
	Image(name string) (diskImage, error)                   // made if it is missing
	Partition(path string) (diskImage, error)               // wherever it is
	Symlink(target, name string) error
	Rename(from, to string) error
	Remove(name string) error // with all below; fine if it is not there
	SyncDir(name string) error
	Close() error
}

// diskFile is a file being written.
type diskFile interface {
	Write(p []byte) (int, error)
	Sync() error
	Close() error
}

// diskImage is an image being written, at any place of it.
type diskImage interface {
	Resize(size int64) error // makes room, so that a full disk is noticed before the first byte
	WriteAt(p []byte, off int64) (int, error)
	Sync() error
	Close() error
}

// rootDisk is the real one.
type rootDisk struct{ root *os.Root }

var _ disk = rootDisk{}

func openDisk(dir string) (rootDisk, error) {
	root, err := os.OpenRoot(dir)
	return rootDisk{root}, err
}

func (d rootDisk) Sub(name string) (disk, error) {
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return rootDisk{root}, nil
}

// Mkdir gives the directory its mode whatever the umask is.
func (d rootDisk) Mkdir(name string) error {
	if err := d.root.Mkdir(name, dirMode); err != nil {
		return err
	}
	return d.root.Chmod(name, dirMode)
}

func (d rootDisk) Create(name string, mode fs.FileMode) (diskFile, error) {
	f, err := d.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(mode); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d rootDisk) Append(name string) (diskFile, error) {
	return openFile(d.root, name, os.O_WRONLY|os.O_APPEND)
}

func (d rootDisk) Log(name string) (diskFile, error) {
	return openFile(d.root, name, os.O_CREATE|os.O_WRONLY|os.O_APPEND|unix.O_DSYNC)
}

// openFile keeps a nil file from becoming an interface that is not nil.
func openFile(root *os.Root, name string, flag int) (diskFile, error) {
	f, err := root.OpenFile(name, flag, fileMode)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d rootDisk) Image(name string) (diskImage, error) {
	return openImage(func(flag int) (*os.File, error) {
		return d.root.OpenFile(name, flag|os.O_CREATE|os.O_RDWR, fileMode)
	})
}

func (d rootDisk) Partition(path string) (diskImage, error) {
	return openImage(func(flag int) (*os.File, error) {
		if flag == 0 {
			return openPartition(path, os.O_RDWR)
		}
		return os.OpenFile(path, flag|os.O_RDWR, 0)
	})
}

func (d rootDisk) Symlink(target, name string) error { return d.root.Symlink(target, name) }
func (d rootDisk) Rename(from, to string) error      { return d.root.Rename(from, to) }
func (d rootDisk) Remove(name string) error          { return d.root.RemoveAll(name) }
func (d rootDisk) Close() error                      { return d.root.Close() }

func (d rootDisk) SyncDir(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// writeFile writes and syncs a new file.
func writeFile(d disk, name string, mode fs.FileMode, data []byte) error {
	f, err := d.Create(name, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// fresh ends the name of a file that is about to replace another.
const fresh = ".new"

// replaceFile puts data in the place of a file. Whenever the power fails, the
// name means the old content or the new one, whole; when it returns nil, the new
// one.
func replaceFile(d disk, name string, data []byte) error {
	if err := prepareFile(d, name, data); err != nil {
		return err
	}
	return putFile(d, name)
}

// putFile replaces a file by what was prepared.
func putFile(d disk, name string) error {
	if err := d.Rename(name+fresh, name); err != nil {
		return err
	}
	return d.SyncDir(".")
}

// prepareFile does all of that but the replacing.
func prepareFile(d disk, name string, data []byte) error {
	if err := d.Remove(name + fresh); err != nil {
		return err
	}
	return writeFile(d, name+fresh, fileMode, data)
}
