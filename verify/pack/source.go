package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"slipstream/verify"
)

// Source is an image to pack.
type Source struct {
	Name  string // member name; "" for one made of class and kind
	Class string // slot class; "" for the live one
	Kind  string // image kind; "" for a tree if Path is a directory, else by what the file begins with
	Path  string // a directory, or a file with the image as flashed
}

// content gives the same bytes each time it is written.
type content interface {
	writeTo(ctx context.Context, w io.Writer) error
	Close() error
}

// image is a source that was opened and measured.
type image struct {
	Source
	measured
	content content
	secret  *verify.Encryption // nil: as flashed
	verity  *verify.Verity     // nil: without a hash tree
}

// entry is what the manifest says of the image.
func (i *image) entry() verify.Image {
	return verify.Image{
		Name: i.Name, Class: i.Class, Kind: i.Kind, Size: i.size, SHA256: i.sha256,
		Chunks: verify.ChunkIndex{SHA256: sum(i.index), Count: i.count}, Encryption: i.secret, Verity: i.verity,
	}
}

// ParseSource reads CLASS:KIND:PATH, or PATH for an image of the live slot.
func ParseSource(text string) (Source, error) {
	switch parts := strings.SplitN(text, ":", 3); len(parts) {
	case 1:
		return Source{Path: text}, nil
	case 3:
		return Source{Class: parts[0], Kind: parts[1], Path: parts[2]}, nil
	}
	return Source{}, fmt.Errorf("image %q must look like system:squashfs:rootfs.img, or be a path without a colon", text)
}

func (s Source) withDefaults() (Source, error) {
	info, err := os.Stat(s.Path)
	if err != nil {
		return s, fmt.Errorf("open image: %w", err)
	}
	setDefault(&s.Class, verify.ClassLive)
	if s.Kind == "" && info.IsDir() {
		s.Kind = verify.KindTree
	}
	if s.Kind == "" {
		if s.Kind, err = guessKind(s.Path); err != nil {
			return s, err
		}
	}
	if s.Name == "" && s.Class == verify.ClassLive {
		s.Name = "app." + s.Kind
	}
	setDefault(&s.Name, s.Class+"."+s.Kind)
	return s, nil
}

// Where the two file systems of the product name themselves.
const (
	squashfsMagic = "hsqs"
	erofsMagic    = "\xe2\xe1\xf5\xe0"
	erofsMagicAt  = 1024
)

// guessKind looks at what a file begins with.
func guessKind(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open image: %w", err)
	}
	defer f.Close()
	head := make([]byte, erofsMagicAt+len(erofsMagic))
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("read image: %w", err)
	}
	switch head = head[:n]; {
	case strings.HasPrefix(string(head), squashfsMagic):
		return verify.KindSquashfs, nil
	case n > erofsMagicAt && string(head[erofsMagicAt:]) == erofsMagic:
		return verify.KindErofs, nil
	}
	return "", fmt.Errorf("%s is neither squashfs nor erofs; say what it is: --image live:disk:%s", path, path)
}

// open returns the image's content. A directory becomes a tree or a file system.
func (s Source) open(ctx context.Context, app *verify.App) (content, error) {
	info, err := os.Stat(s.Path)
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	if !info.IsDir() {
		if s.Kind == verify.KindTree {
			return nil, fmt.Errorf("an image of kind tree is made of a directory, and %s is none", s.Path)
		}
		return openFileImage(s.Path)
	}
	t, err := openTree(s.Path)
	if err != nil {
		return nil, err
	}
	if s.Class == verify.ClassLive {
		err = checkProgram(s.Path, t, app)
	}
	if err != nil || s.Kind == verify.KindTree {
		return closeOnError(t, err)
	}
	made, err := makeFilesystem(ctx, s.Kind, t)
	return made, errors.Join(err, t.Close())
}

func closeOnError(t *tree, err error) (content, error) {
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// fileImage is an image that lies in a file.
type fileImage struct {
	f    *os.File
	size int64
}

func openFileImage(path string) (*fileImage, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open image: %s is not a regular file", path)
	}
	if err == nil && info.Size() == 0 {
		err = fmt.Errorf("open image: %s is empty", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &fileImage{f: f, size: info.Size()}, nil
}

func (i *fileImage) Close() error { return i.f.Close() }

func (i *fileImage) writeTo(ctx context.Context, w io.Writer) error {
	buf := make([]byte, copyBuffer)
	for at := int64(0); at < i.size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := i.f.ReadAt(buf[:min(int64(len(buf)), i.size-at)], at)
		if n == 0 && err != nil {
			return fmt.Errorf("read image %s: %w", i.f.Name(), err)
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}
