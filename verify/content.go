package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"sync"
)

// blocks is how many pieces of an image are in memory at once: one being read, one
// being hashed, one waiting.
const blocks = 3

// whole is the hash of an image, taken in a goroutine of its own beside the hashes
// of the chunks: each byte is hashed twice, and on two cores in the time of once.
type whole struct {
	sum   hash.Hash
	full  chan []byte // read, to be hashed
	empty chan []byte // hashed, to be read into
	done  sync.WaitGroup
}

func newWhole() *whole {
	w := &whole{sum: sha256.New(), full: make(chan []byte, blocks), empty: make(chan []byte, blocks)}
	for range blocks {
		w.empty <- make([]byte, MaxChunk)
	}
	w.done.Go(func() {
		for data := range w.full {
			w.sum.Write(data)
			w.empty <- data[:cap(data)]
		}
	})
	return w
}

// end waits until everything is hashed.
func (w *whole) end() string {
	close(w.full)
	w.done.Wait()
	return hex.EncodeToString(w.sum.Sum(nil))
}

// check compares the hash of every chunk and of the image. It reads r once, from
// the image's first byte to its last.
func (p *Payload) check(ctx context.Context, r io.ReaderAt) error {
	w := newWhole()
	err := p.checkChunks(ctx, r, w)
	sum := w.end()
	if err != nil {
		return err
	}
	if sum != p.Image.SHA256 {
		return refuse(CodeCorrupt, "the package is damaged: image %s as a whole has the wrong content", p.Image.Name)
	}
	return nil
}

func (p *Payload) checkChunks(ctx context.Context, r io.ReaderAt, w *whole) error {
	for next := 0; next < len(p.Chunks); {
		if err := ctx.Err(); err != nil {
			return err
		}
		block := <-w.empty
		n, end := p.fill(next, len(block))
		block = block[:n]
		if err := readAt(r, p.Offset+p.Chunks[next].Offset, block); err != nil {
			return err
		}
		w.full <- block
		for rest := block; next < end; next++ {
			c := p.Chunks[next]
			if sha256.Sum256(rest[:c.Length]) != c.SHA256 {
				return refuse(CodeCorrupt, "the package is damaged: chunk %d of image %s has the wrong content", next, p.Image.Name)
			}
			rest = rest[c.Length:]
		}
	}
	return nil
}

// fill says how many bytes the chunks from first to end-1 have, as many of them as
// fit into room.
func (p *Payload) fill(first, room int) (n, end int) {
	for end = first; end < len(p.Chunks) && int(p.Chunks[end].Length) <= room-n; end++ {
		n += int(p.Chunks[end].Length)
	}
	return n, end
}
