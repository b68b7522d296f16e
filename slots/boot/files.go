package boot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile is the longest state in a plain file.
const maxFile = 4 << 10

// fresh ends the name of a file that is about to replace another.
const fresh = ".new"

// NewFile returns the boot loader state in a plain text file, for tests and for
// machines whose init reads it: the lines of the Trial dialect, as a shell
// reads them. It is replaced whole, by a rename. lock is a file that is locked
// meanwhile; empty: DefaultStateLock. disk may be nil.
func NewFile(name, lock string, disk Disk) Control {
	if lock == "" {
		lock = DefaultStateLock
	}
	if disk == nil {
		disk = realDisk{}
	}
	return control{worded{&file{name, lock, disk}, Trial{A: "a", B: "b"}}}
}

// file is the store in a plain file.
type file struct {
	name     string
	lockName string
	disk     Disk
}

var _ store = (*file)(nil)

func (f *file) load() (*vars, error) {
	raw, err := f.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoState
	}
	if err != nil {
		return nil, err
	}
	list := new(vars)
	for line := range strings.Lines(string(raw)) {
		list.lines = append(list.lines, strings.TrimSuffix(line, "\n"))
	}
	// The last line is there if all are.
	if list.get("st_good") == "" || list.lines[len(list.lines)-1] != lastLine {
		return nil, ErrNoState
	}
	list.lines = list.lines[:len(list.lines)-1]
	return list, nil
}

const lastLine = "# end"

func (f *file) read() ([]byte, error) {
	info, err := os.Stat(f.name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", f.name, maxFile)
	}
	return os.ReadFile(f.name)
}

func (f *file) save(list *vars) error {
	text := []byte(strings.Join(append(list.clone().lines, lastLine), "\n") + "\n")
	if len(text) > maxFile {
		return fmt.Errorf("%s would be longer than %d bytes", f.name, maxFile)
	}
	if err := replace(f.disk, f.name, text); err != nil {
		return err
	}
	back, err := readBack(f.name, len(text), 0)
	if err == nil && !bytes.Equal(back, text) {
		err = fmt.Errorf("%s did not keep what was written: its storage is failing", f.name)
	}
	return err
}

// replace puts data in the place of a file. Whenever the power fails, the name
// means the old content or the new one, whole.
func replace(disk Disk, name string, data []byte) error {
	if err := disk.Remove(name + fresh); err != nil {
		return err
	}
	if err := disk.WriteFile(name+fresh, data); err != nil {
		return err
	}
	if err := disk.Rename(name+fresh, name); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(name))
}

func (f *file) initial() (*vars, error) { return new(vars), nil }

func (f *file) lock() (func(), error) { return lockFile(f.lockName, DefaultWait) }
