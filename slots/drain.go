package slots

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"
)

// missing gives the absence of an image, or of its end, the name that it has.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// drain reads an image from front to back, one goroutine ahead of the one that
// calls use.
func drain(ctx context.Context, r *directReader, size int64, use func(p []byte)) error {
	type piece struct{ mem, data []byte }
	full, empty := make(chan piece, batches), make(chan piece, batches)
	for range batches {
		mem, err := newBuffer(batchBytes)
		if err != nil {
			return fmt.Errorf("memory for reading: %w", err)
		}
		defer freeBuffer(mem)
		empty <- piece{mem: mem}
	}
	failed := make(chan error, 1)
	go func() {
		defer close(full)
		for off := int64(0); off < size; off += batchBytes {
			p := <-empty
			var err error
			if err = ctx.Err(); err == nil {
				p.data, err = r.span(p.mem, off, min(batchBytes, size-off))
			}
			if err != nil {
				failed <- err
				return
			}
			full <- p
		}
		failed <- nil
	}()
	for p := range full {
		use(p.data)
		empty <- p
	}
	return missing(<-failed)
}

// compareChunks reads an image whose list of chunks is known to be that of the
// signed hash, with all processors, and while they hash the disk reads on.
func (w *writing) compareChunks(ctx context.Context) error {
	var group sync.WaitGroup
	runs := runsOf(w.content.Chunks)
	workers := min(2*runtime.GOMAXPROCS(0), maxReaders, len(runs))
	failed := make([]error, workers)
	var next atomic.Int64
	for i := range workers {
		group.Go(func() { failed[i] = w.compareRuns(ctx, runs, &next) })
	}
	group.Wait()
	return errors.Join(failed...)
}

// maxReaders bounds the memory of compareChunks: each has a batch.
const maxReaders = 2 * batches

// run is a row of chunks that is read at once.
type run struct {
	off, size int64
	chunks    []Chunk
}

func runsOf(chunks []Chunk) []run {
	var runs []run
	var r run
	for i, from := 0, 0; i < len(chunks); i++ {
		n := int64(chunks[i].Length)
		if r.size+n > batchBytes {
			runs = append(runs, r)
			r, from = run{off: r.off + r.size}, i
		}
		r.size, r.chunks = r.size+n, chunks[from:i+1]
	}
	return append(runs, r)
}

func (w *writing) compareRuns(ctx context.Context, runs []run, next *atomic.Int64) error {
	r, err := w.openImageReader(w.name)
	if err != nil {
		return missing(err)
	}
	defer r.Close()
	mem, err := newBuffer(batchBytes)
	if err != nil {
		return err
	}
	defer freeBuffer(mem)
	for i := next.Add(1) - 1; int(i) < len(runs); i = next.Add(1) - 1 {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := r.span(mem, runs[i].off, runs[i].size)
		if err != nil {
			return missing(err)
		}
		for _, chunk := range runs[i].chunks {
			if sha256.Sum256(data[:chunk.Length]) != chunk.SHA256 {
				return fmt.Errorf("%w: other bytes than were written, within %d bytes at %d", ErrDamaged, runs[i].size, runs[i].off)
			}
			data = data[chunk.Length:]
		}
	}
	return nil
}
