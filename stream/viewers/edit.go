package viewers

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Add enters a viewer and returns the secret made for it. The file is made if
// there is none.
func Add(path, name string) (secret string, err error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	secret = rand.Text()
	return secret, edit(path, func(text []byte, all []Viewer) ([]byte, error) {
		if has(all, name) {
			return nil, ErrKnown
		}
		if len(all) == MaxViewers {
			return nil, fmt.Errorf("there are %d viewers already, as many as there may be", MaxViewers)
		}
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		return append(text, name+":"+secret+"\n"...), nil
	})
}

// Remove takes a viewer out, and leaves all other lines as they are.
func Remove(path, name string) error {
	return edit(path, func(text []byte, all []Viewer) ([]byte, error) {
		if !has(all, name) {
			return nil, ErrUnknown
		}
		var kept []byte
		for line := range bytes.Lines(text) {
			if !strings.HasPrefix(strings.TrimSpace(string(line)), name+":") {
				kept = append(kept, line...)
			}
		}
		return kept, nil
	})
}

func has(all []Viewer, name string) bool {
	for _, v := range all {
		if v.Name == name {
			return true
		}
	}
	return false
}

// edit replaces the file by what change makes of it. Two edits at once come one
// after the other.
func edit(path string, change func(text []byte, all []Viewer) ([]byte, error)) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	text, info, err := current(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	all, err := Parse(text)
	if err != nil {
		return fmt.Errorf("%s:%w", path, err)
	}
	if text, err = change(text, all); err != nil {
		return err
	}
	if len(text) > MaxFile {
		return fmt.Errorf("%s would be larger than %d bytes", path, MaxFile)
	}
	return replace(dir, path, text, info)
}

// current reads the file as it is; info is nil if there is none.
func current(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return readFile(f)
}

// replace puts a whole new file in place of the old one, whose mode and owner it
// takes over.
func replace(dir *os.File, path string, text []byte, old fs.FileInfo) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".viewers-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it is gone already once it was renamed
	if old != nil {
		owner := old.Sys().(*syscall.Stat_t)
		err = errors.Join(f.Chown(int(owner.Uid), int(owner.Gid)), f.Chmod(old.Mode().Perm()))
	}
	if err == nil {
		_, err = f.Write(text)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return dir.Sync()
}
