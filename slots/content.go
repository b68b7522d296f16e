package slots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"slipstream/slots/verity"
)

// Kinds of images.
const (
	KindTree     = "tree"     // a directory, as one canonical ustar file
	KindErofs    = "erofs"    // a file system image, mounted read-only
	KindSquashfs = "squashfs" // likewise
	KindDisk     = "disk"     // whatever is in a partition
)

var kinds = []string{KindTree, KindErofs, KindSquashfs, KindDisk}

// Content is a version to be staged: an image whose signature was verified, as
// the chunks that it is made of.
type Content struct {
	Digest   string // package digest
	Version  string
	Kind     string
	Size     int64    // bytes of the image
	SHA256   [32]byte // signed hash of the image
	Chunks   []Chunk
	Image    Source
	Manifest []byte // the package's signed head, stored beside

	// Verity is where the hash tree of a file system image lies; nil if it has none.
	Verity *verity.Params
}

// Chunk is one piece of an image; they follow each other without gaps.
type Chunk struct {
	Length uint32
	SHA256 [32]byte
}

// Source is where the chunks come from that the device does not have: the
// package, on a disk or on a server. It need not be trusted: every chunk is
// hashed before it is used. A stage reads it from one goroutine, front to back,
// one range at a time.
type Source interface {
	// Range reads n bytes of the image from off on. The reader may fail before
	// it has given them all; it does not give more. The context ends the read.
	Range(ctx context.Context, off, n int64) (io.ReadCloser, error)
}

// File is a Source that is a file, a block device, or anything else that is near.
func File(r io.ReaderAt) Source { return file{r} }

type file struct{ r io.ReaderAt }

func (f file) Range(_ context.Context, off, n int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(f.r, off, n)), nil
}

// check judges what needs no image bytes.
func (c Content) check() error {
	switch {
	case !slices.Contains(kinds, c.Kind):
		return fmt.Errorf("%w: %q is unknown, known are %v", ErrKind, c.Kind, kinds)
	case len(c.Chunks) > MaxChunks:
		return fmt.Errorf("the image has %d chunks, allowed are %d", len(c.Chunks), MaxChunks)
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
	return c.checkVerity()
}
