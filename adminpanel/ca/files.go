package ca

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"slipstream/adminpanel/small"
)

const (
	maxPart = 64 << 10 // bytes
	// lookAgain is how soon it is noticed what a command has changed in a directory.
	lookAgain = time.Second
)

// files keeps generations as directories of files, below one.
type files string

func (dir files) list() (map[int]parts, error) {
	entries, err := os.ReadDir(string(dir))
	if err != nil {
		return nil, err
	}
	all := map[int]parts{}
	for _, e := range entries {
		number, ok := numberOf(e.Name())
		if !ok {
			continue
		}
		if all[number], err = readParts(filepath.Join(string(dir), e.Name())); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Files names the files of an authority in a directory, below that; also those of
// generations that were retired.
func Files(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if _, ok := numberOf(strings.TrimPrefix(e.Name(), retired)); !ok {
			continue
		}
		for _, part := range []string{partRootKey, partRoot, partIssuingKey, partIssuing} {
			name := filepath.Join(e.Name(), part)
			_, err := os.Lstat(filepath.Join(dir, name))
			if errors.Is(err, fs.ErrNotExist) && part == partRootKey {
				continue // it is kept elsewhere
			}
			if err != nil {
				return nil, err
			}
			names = append(names, name)
		}
	}
	return names, err
}

func numberOf(name string) (int, bool) {
	number, err := strconv.Atoi(name)
	return number, err == nil && number > 0 && strconv.Itoa(number) == name
}

func readParts(dir string) (parts, error) {
	p := parts{}
	for _, name := range []string{partRootKey, partRoot, partIssuingKey, partIssuing} {
		text, err := small.File(filepath.Join(dir, name), maxPart)
		if errors.Is(err, fs.ErrNotExist) && name == partRootKey {
			continue // it is kept elsewhere
		}
		if err != nil {
			return nil, err
		}
		p[name] = text
	}
	return p, nil
}

func (dir files) add(number int, p parts) error {
	fresh, err := os.MkdirTemp(string(dir), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh) // of this name nothing is left after the rename
	for name, text := range p {
		if err := writeFile(filepath.Join(fresh, name), text); err != nil {
			return err
		}
	}
	if err := syncDir(fresh); err != nil {
		return err
	}
	err = os.Rename(fresh, filepath.Join(string(dir), strconv.Itoa(number)))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(string(dir))
}

func writeFile(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func (dir files) retire(number int) error {
	name := strconv.Itoa(number)
	err := os.Rename(filepath.Join(string(dir), name), filepath.Join(string(dir), retired+name))
	return errors.Join(err, syncDir(string(dir)))
}

// retired begins the name of a generation that vouches for nobody any more.
const retired = "retired-"

func (dir files) follow(ctx context.Context, look func(), _ func(error)) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			look()
		case <-ctx.Done():
			return
		}
	}
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
