package slots

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

const (
	maxRange = 16 << 20 // bytes asked of the source at once
	maxGap   = 64 << 10 // bytes that are fetched though they are here, to save asking twice
)

// supply gets the chunks of an image one after the other, each from the nearest
// place that has it, and lets none through that was not hashed.
type supply struct {
	content Content
	next    int   // chunk
	off     int64 // of that chunk

	target store // nil: it has nothing
	inUse  store // nil: there is none

	stream io.ReadCloser // range of the source being read
	upTo   int           // chunk after the last of that range
}

// store is a slot that may have chunks.
type store interface {
	// find says where a chunk that belongs to off may be. It only guesses.
	find(chunk Chunk, off int64) (at int64, ok bool)
	io.ReaderAt
	io.Closer
}

// fetch reads the next chunk into buf.
func (s *supply) fetch(ctx context.Context, buf []byte) (Origins, error) {
	chunk := s.content.Chunks[s.next]
	n := int64(chunk.Length)
	from, err := s.read(ctx, chunk, buf[:n])
	if err != nil {
		return Origins{}, err
	}
	s.next, s.off = s.next+1, s.off+n
	return from, nil
}

func (s *supply) read(ctx context.Context, chunk Chunk, buf []byte) (Origins, error) {
	n := int64(len(buf))
	if err := ctx.Err(); err != nil {
		return Origins{}, err
	}
	if s.next >= s.upTo {
		if readFrom(s.target, chunk, s.off, buf) {
			return Origins{Kept: n}, nil
		}
		if readFrom(s.inUse, chunk, s.off, buf) {
			return Origins{Copied: n}, nil
		}
		if err := s.ask(ctx); err != nil {
			return Origins{}, s.broken(ctx, err)
		}
	}
	if _, err := io.ReadFull(s.stream, buf); err != nil {
		return Origins{}, s.broken(ctx, err)
	}
	if sha256.Sum256(buf) != chunk.SHA256 {
		if err := s.readOnceMore(ctx, chunk, buf); err != nil {
			return Origins{}, err
		}
	}
	return Origins{Fetched: n}, nil
}

// readOnceMore asks for a chunk again that came otherwise than it was signed: a line or
// a memory may have flipped a bit, and a package is refused for good.
func (s *supply) readOnceMore(ctx context.Context, chunk Chunk, buf []byte) error {
	s.close()
	s.upTo = s.next + 1
	var err error
	if s.stream, err = s.content.Image.Range(ctx, s.off, int64(len(buf))); err != nil {
		s.stream = nil
		return s.broken(ctx, err)
	}
	if _, err := io.ReadFull(s.stream, buf); err != nil {
		return s.broken(ctx, err)
	}
	if sha256.Sum256(buf) != chunk.SHA256 {
		return fmt.Errorf("%w: chunk %d, %d bytes at %d, has another hash, and had when it was read before", ErrContent, s.next, len(buf), s.off)
	}
	return nil
}

// readFrom reads a chunk if the store has it indeed.
func readFrom(from store, chunk Chunk, off int64, buf []byte) bool {
	if from == nil {
		return false
	}
	at, ok := from.find(chunk, off)
	if !ok {
		return false
	}
	n, _ := from.ReadAt(buf, at)
	return n == len(buf) && sha256.Sum256(buf) == chunk.SHA256
}

// ask begins a range of the source: from this chunk to the last of those that
// no store may have.
func (s *supply) ask(ctx context.Context) error {
	s.close()
	upTo, n := s.missing()
	stream, err := s.content.Image.Range(ctx, s.off, n)
	if err != nil {
		return err
	}
	s.stream, s.upTo = stream, upTo
	return nil
}

// missing counts the chunks to ask for, and their bytes. A few bytes that are
// here already do not end a range: asking again costs more.
func (s *supply) missing() (upTo int, size int64) {
	off, gap := s.off, int64(0)
	for i := s.next; i < len(s.content.Chunks) && off-s.off < maxRange; i++ {
		chunk := s.content.Chunks[i]
		near := i > s.next && (mayHave(s.target, chunk, off) || mayHave(s.inUse, chunk, off))
		off += int64(chunk.Length)
		if !near {
			upTo, size, gap = i+1, off-s.off, 0
			continue
		}
		if gap += int64(chunk.Length); gap > maxGap {
			break
		}
	}
	return upTo, size
}

func mayHave(from store, chunk Chunk, off int64) bool {
	if from == nil {
		return false
	}
	_, ok := from.find(chunk, off)
	return ok
}

// broken tells a source that fails from a stage that is cancelled.
func (s *supply) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: at %d: %w", ErrSource, s.off, err)
}

// close ends the range being read. What it gave was hashed, so that how it ends is of
// no meaning.
func (s *supply) close() {
	if s.stream != nil {
		_ = s.stream.Close()
		s.stream = nil
	}
}

// add sums origins up.
func (o *Origins) add(p Origins) {
	o.Kept += p.Kept
	o.Copied += p.Copied
	o.Fetched += p.Fetched
}

func (o Origins) sum() int64 { return o.Kept + o.Copied + o.Fetched }
