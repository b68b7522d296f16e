package slots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Content is a version to be staged: an image whose signature was verified, as
// the chunks that it is made of.
type Content struct {
	Digest   string // package digest
	Version  string
	Kind     string
	Size     int64    // bytes of the image
	SHA256   [32]byte // signed hash of the image
	Chunks   []Chunk
	Image    io.ReaderAt // need not be trusted: every chunk is hashed before it is used
	Manifest []byte      // the signed bundle, stored beside
}

// Chunk is one piece of an image; they follow each other without gaps.
type Chunk struct {
	Length uint32
	SHA256 [32]byte
}

// Stage writes a version into a slot, replacing what it held. After nil the
// version is whole on disk. After an error the slot is empty, its space is free,
// and the other slot is untouched; a content that is refused for what it claims
// to be changes nothing at all.
//
// Progress, which may be nil, is told the bytes written so far and in total.
func (s *Set) Stage(ctx context.Context, name string, c Content, progress func(done, total int64)) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("slots: stage into slot %s: %w", name, err)
	}
	s.busy[name].Lock()
	defer s.busy[name].Unlock()
	if err := s.stage(ctx, name, c, progress); err != nil {
		return fmt.Errorf("slots: stage into slot %s: %w", name, errors.Join(err, s.empty(name)))
	}
	return nil
}

func (s *Set) stage(ctx context.Context, name string, c Content, progress func(done, total int64)) error {
	st := state{Digest: c.Digest, Version: c.Version, Kind: c.Kind, Size: c.Size, SHA256: hexSum(c.SHA256)}
	if err := s.markWriting(name, st); err != nil {
		return err
	}
	if err := s.removeFiles(name); err != nil {
		return err
	}
	if err := s.write(ctx, name, c, progress); err != nil {
		return err
	}
	if err := s.compare(ctx, name, st, fromDisk); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	return s.markStaged(name, st, time.Now())
}

// check judges what needs no image bytes.
func (c Content) check() error {
	switch {
	case c.Kind != KindTree:
		return fmt.Errorf("images of kind %q are not supported, only %q", c.Kind, KindTree)
	case c.Digest == "":
		return errors.New("the package digest is missing")
	case len(c.Manifest) == 0 || len(c.Manifest) > MaxManifest:
		return fmt.Errorf("the signed manifest has %d bytes, allowed are 1 to %d", len(c.Manifest), MaxManifest)
	case c.Size <= 0 || c.Size > MaxImage:
		return fmt.Errorf("the image has %d bytes, allowed are 1 to %d", c.Size, int64(MaxImage))
	}
	var total int64
	for i, chunk := range c.Chunks {
		if chunk.Length == 0 || chunk.Length > MaxChunk {
			return fmt.Errorf("chunk %d has %d bytes, allowed are 1 to %d", i, chunk.Length, MaxChunk)
		}
		total += int64(chunk.Length)
	}
	if total != c.Size {
		return fmt.Errorf("the chunks have %d bytes together, the image has %d", total, c.Size)
	}
	return nil
}

// write puts everything on disk and syncs it.
func (s *Set) write(ctx context.Context, name string, c Content, progress func(done, total int64)) error {
	slot, err := s.disk.Sub(name)
	if err != nil {
		return err
	}
	defer slot.Close()
	if err := slot.Mkdir(rootName); err != nil {
		return err
	}
	root, err := slot.Sub(rootName)
	if err != nil {
		return err
	}
	defer root.Close()
	image := newImageReader(ctx, c, progress)
	if err := extract(image, c.Size, root); err != nil {
		return err
	}
	if err := image.finish(); err != nil {
		return err
	}
	if err := s.syncDirs(name, root); err != nil {
		return err
	}
	if err := writeFile(slot, manifestName, fileMode, c.Manifest); err != nil {
		return err
	}
	return slot.SyncDir(".")
}

// syncDirs syncs every directory of the tree. The files were, one by one.
func (s *Set) syncDirs(name string, root disk) error {
	tree, err := s.openTree(name)
	if err != nil {
		return err
	}
	defer tree.Close()
	return fs.WalkDir(tree.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return root.SyncDir(path)
	})
}

func (s *Set) openTree(name string) (*os.Root, error) {
	return s.root.OpenRoot(name + "/" + rootName)
}
