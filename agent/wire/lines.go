package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrTooLong is returned for a line of more than [MaxLine] bytes.
var ErrTooLong = errors.New("the line is longer than the link allows")

// Reader reads lines. It is not safe for concurrent use. Between lines it holds little
// memory, for a panel has one for each device.
type Reader struct {
	r        io.Reader
	buf      []byte
	from, to int // what of buf was not given out
	seen     int // so much of that has no end of a line
}

const (
	// restSize is what a Reader has room for when it rests.
	restSize = 512
	// maxIdle bounds reads that bring nothing, one after the other.
	maxIdle = 100
)

// NewReader reads lines from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Read decodes the next line into v, which should be zero: members that the
// line lacks are left alone. The end of the stream is io.EOF, also within a line: a
// link that was cut is an end, not nonsense.
func (r *Reader) Read(v any) error {
	line, err := r.Line()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("read a line of the link: %w", err)
	}
	return nil
}

// Line returns the next line without its newline. It is good until the next call.
func (r *Reader) Line() ([]byte, error) {
	for {
		if i := bytes.IndexByte(r.buf[r.from+r.seen:r.to], '\n'); i >= 0 {
			begin, end := r.from, r.from+r.seen+i
			r.from, r.seen = end+1, 0
			return r.buf[begin:end:end], nil
		}
		r.seen = r.to - r.from
		if r.seen >= MaxLine {
			return nil, ErrTooLong
		}
		r.makeRoom()
		if err := r.more(); err != nil {
			return nil, err
		}
	}
}

// makeRoom moves what is left of the lines before to the front, and to a smaller buffer
// if it fits one.
func (r *Reader) makeRoom() {
	left, buf := r.buf[r.from:r.to], r.buf
	switch {
	case len(left) < restSize:
		if len(buf) != restSize {
			buf = make([]byte, restSize)
		}
	case len(left) == len(buf):
		buf = make([]byte, min(2*len(left), MaxLine))
	case r.from == 0:
		return
	}
	r.from, r.to, r.buf = 0, copy(buf, left), buf
}

func (r *Reader) more() error {
	for range maxIdle {
		n, err := r.r.Read(r.buf[r.to:])
		r.to += n
		switch {
		case n > 0: // an error comes again
			return nil
		case errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return fmt.Errorf("read the link: %w", err)
		}
	}
	return io.ErrNoProgress
}

// Writer writes lines, each whole and at once. Any goroutine may call it.
type Writer struct {
	mu sync.Mutex // keeps lines whole
	w  io.Writer
}

// NewWriter writes lines to w, each with one call of its Write.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends v as one line. A v that makes too long a line is refused with
// [ErrTooLong] before anything is sent, and the link goes on.
func (w *Writer) Write(v any) error {
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(v); err != nil {
		return fmt.Errorf("make a line for the link: %w", err)
	}
	if line.Len() > MaxLine {
		return ErrTooLong
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.w.Write(line.Bytes()); err != nil {
		return fmt.Errorf("write the link: %w", err)
	}
	return nil
}
