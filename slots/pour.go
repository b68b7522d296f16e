package slots

import (
	"context"
	"fmt"
)

const (
	batchBytes = 1 << 20 // bytes written at once; a chunk has no more
	batches    = 3       // one being filled, one being written, one between
)

// batch is a piece of an image in memory, whole chunks that were hashed, to be
// written at once.
type batch struct {
	mem  []byte
	off  int64  // place of data in the image
	data []byte // in mem, at the place of a sector that off has
	from Origins
}

// begin makes room for data at off, beginning with what is given.
func (b *batch) begin(off int64, data []byte) {
	lead := off - sectorDown(off)
	b.off, b.from = off, Origins{}
	b.data = append(b.mem[lead:lead], data...)
}

// room is where the next n bytes go, nil if they do not fit.
func (b *batch) room(n int64) []byte {
	if int64(len(b.data))+n > batchBytes+sector {
		return nil
	}
	return b.data[len(b.data) : int64(len(b.data))+n]
}

func (b *batch) end() int64 { return b.off + int64(len(b.data)) }

// pipe carries batches from the one that hashes to the one that writes, and
// back.
type pipe struct {
	full, empty chan *batch
}

// pour writes an image: one goroutine gets chunks and hashes them while this
// one writes those before. Each batch that is written is told to done.
func pour(ctx context.Context, in *supply, out diskImage, done func(upTo int64, from Origins) error) error {
	p := pipe{full: make(chan *batch, batches), empty: make(chan *batch, batches)}
	for range batches {
		mem, err := newBuffer(batchBytes + sector)
		if err != nil {
			return fmt.Errorf("memory for the image: %w", err)
		}
		defer freeBuffer(mem)
		p.empty <- &batch{mem: mem}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	filled := make(chan error, 1)
	go func() {
		err := p.fill(ctx, in)
		in.close()
		filled <- err
		close(p.full)
	}()
	var failed error
	for b := range p.full {
		if failed == nil {
			if failed = write(b, out, done); failed != nil {
				cancel(failed)
			}
		}
		p.empty <- b
	}
	if err := <-filled; failed == nil {
		return err
	}
	return failed
}

func write(b *batch, out diskImage, done func(int64, Origins) error) error {
	if len(b.data) > 0 {
		if _, err := out.WriteAt(b.data, b.off); err != nil {
			return fmt.Errorf("write the image at %d: %w", b.off, err)
		}
	}
	return done(b.end(), b.from)
}

// fill hands over all chunks that the target does not have. What was got before
// an error is handed over too: it need not be got again.
func (p pipe) fill(ctx context.Context, in *supply) error {
	b := <-p.empty
	b.begin(0, nil)
	defer func() { p.full <- b }()
	for in.next < len(in.content.Chunks) {
		off, n := in.off, int64(in.content.Chunks[in.next].Length)
		room := b.room(n)
		if room == nil {
			b = p.split(b)
			room = b.room(n)
		}
		from, err := in.fetch(ctx, room)
		if err != nil {
			return err
		}
		if from.Kept == 0 {
			b.data = b.data[:int64(len(b.data))+n]
			b.from.add(from)
			continue
		}
		// The target has it: what is written next comes behind.
		if len(b.data) > 0 || b.from.Kept >= batchBytes {
			p.full <- b
			b = <-p.empty
			b.begin(off+n, nil)
			b.from.add(from)
			continue
		}
		kept := b.from
		b.begin(off+n, nil)
		b.from.add(kept)
		b.from.add(from)
	}
	return nil
}

// split hands a batch over up to its last whole sector and returns one that
// begins there, so that no sector is written twice.
func (p pipe) split(b *batch) *batch {
	next := <-p.empty
	cut := max(sectorDown(b.end()), b.off) - b.off
	next.begin(b.off+cut, b.data[cut:])
	b.data = b.data[:cut]
	p.full <- b
	return next
}
