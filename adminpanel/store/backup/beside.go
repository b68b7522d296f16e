package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// File is one beside the store. Its name says what it is, whatever the panel's directories
// are: ca/…, orders/… or releases/….
type File struct {
	Name string
	Path string
}

// piece is how much of a file is in a line.
const piece = 1 << 20

// nameForm keeps who has made a backup from writing anywhere else than where these are.
var nameForm = regexp.MustCompile(`^(?:ca/(?:retired-)?[1-9][0-9]{0,8}/(?:root|issuing)\.(?:key|pem)|orders/[A-Za-z0-9][A-Za-z0-9._-]{0,99}|releases/[0-9a-f]{32}\.slip)$`)

// Files names the files that go along. It is asked when the store is written: what its
// records speak of is there then.
type Files func(context.Context) ([]File, error)

// besides writes the files.
func (w *writer) besides(ctx context.Context, files Files) error {
	if files == nil {
		return nil
	}
	list, err := files(ctx)
	for _, f := range list {
		if err == nil {
			err = w.file(ctx, f)
		}
	}
	return err
}

func (w *writer) file(ctx context.Context, f File) error {
	if !nameForm.MatchString(f.Name) {
		return fmt.Errorf("%q is no name of a file in a backup", f.Name)
	}
	in, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	w.files++
	buf := make([]byte, piece)
	for first := true; ; first = false {
		n, err := io.ReadFull(in, buf)
		if n > 0 || first {
			w.put(line{File: f.Name, Value: buf[:n]})
			w.parts++
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return w.err
		case err != nil || w.err != nil || ctx.Err() != nil:
			return errors.Join(err, w.err, ctx.Err())
		}
	}
}

// Place says where a file of a name belongs.
type Place func(name string) string

// placer writes files, one after the other. What is there already is not replaced.
type placer struct {
	place Place
	name  string
	to    *os.File
}

// free refuses a file whose place is taken.
func (p *placer) free(name string) error {
	path := p.place(name)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s is there already: a backup is restored where nothing is", path), err)
	}
	return nil
}

func (p *placer) add(l line) error {
	if l.File != p.name {
		if err := p.close(); err != nil {
			return err
		}
		path := p.place(l.File)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		p.name, p.to = l.File, f
	}
	_, err := p.to.Write(l.Value)
	return err
}

// close ends a file, which is on the disk then.
func (p *placer) close() error {
	if p.to == nil {
		return nil
	}
	err := errors.Join(p.to.Sync(), p.to.Close(), syncDir(filepath.Dir(p.to.Name())))
	p.name, p.to = "", nil
	return err
}
