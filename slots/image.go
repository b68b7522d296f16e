package slots

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// imageReader reads an image chunk by chunk and lets nothing through that was
// not hashed. It keeps one chunk in memory.
type imageReader struct {
	ctx      context.Context
	content  Content
	progress func(Progress)
	report   *Report
	next     int    // chunk
	offset   int64  // of that chunk
	buf      []byte // room for one chunk
	rest     []byte // of the chunk being read
	sum      hash.Hash
}

func newImageReader(ctx context.Context, c Content, progress func(Progress), report *Report) *imageReader {
	if progress == nil {
		progress = func(Progress) {}
	}
	return &imageReader{ctx: ctx, content: c, progress: progress, report: report, sum: sha256.New()}
}

func (r *imageReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if err := r.fetch(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// fetch takes the next chunk in. What was read before it has been written, since
// whoever reads writes before reading on.
func (r *imageReader) fetch() error {
	r.progress(Progress{Done: r.offset, Total: r.content.Size, Origins: r.report.Origins})
	if r.next == len(r.content.Chunks) {
		return io.EOF
	}
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	chunk := r.content.Chunks[r.next]
	if int(chunk.Length) > cap(r.buf) {
		r.buf = make([]byte, chunk.Length)
	}
	buf := r.buf[:chunk.Length]
	if err := r.read(buf); err != nil {
		return fmt.Errorf("read the image at %d: %w", r.offset, err)
	}
	if sha256.Sum256(buf) != chunk.SHA256 {
		return fmt.Errorf("%w: chunk %d, %d bytes at %d, has another hash", ErrContent, r.next, chunk.Length, r.offset)
	}
	r.sum.Write(buf)
	r.rest, r.next, r.offset = buf, r.next+1, r.offset+int64(chunk.Length)
	r.report.Fetched += int64(chunk.Length)
	r.report.Written += int64(chunk.Length)
	return nil
}

func (r *imageReader) read(buf []byte) error {
	in, err := r.content.Image.Range(r.ctx, r.offset, int64(len(buf)))
	if err != nil {
		return err
	}
	_, err = io.ReadFull(in, buf)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return errors.Join(err, in.Close())
}

// finish compares the whole. That all chunks are right is not enough: the list
// of chunks is signed by another hash than the image.
func (r *imageReader) finish() error {
	r.progress(Progress{Done: r.offset, Total: r.content.Size, Origins: r.report.Origins})
	if [32]byte(r.sum.Sum(nil)) != r.content.SHA256 {
		return fmt.Errorf("%w: its chunks together have another hash", ErrContent)
	}
	return nil
}
