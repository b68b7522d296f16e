package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrTooLong is returned for a line of more than [MaxLine] bytes.
var ErrTooLong = errors.New("the line is longer than the link allows")

// Reader reads lines. It is not safe for concurrent use.
type Reader struct {
	scan *bufio.Scanner
}

// NewReader reads lines from r.
func NewReader(r io.Reader) *Reader {
	s := bufio.NewScanner(r)
	s.Buffer(nil, MaxLine)
	s.Split(splitLine)
	return &Reader{s}
}

// splitLine differs from bufio.ScanLines in dropping an unfinished last line:
// a link that was cut is an end, not nonsense.
func splitLine(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}

// Read decodes the next line into v, which should be zero: members that the
// line lacks are left alone. The end of the stream is io.EOF.
func (r *Reader) Read(v any) error {
	if !r.scan.Scan() {
		return r.end()
	}
	if err := json.Unmarshal(r.scan.Bytes(), v); err != nil {
		return fmt.Errorf("read a line of the link: %w", err)
	}
	return nil
}

func (r *Reader) end() error {
	switch err := r.scan.Err(); {
	case err == nil:
		return io.EOF
	case errors.Is(err, bufio.ErrTooLong):
		return ErrTooLong
	default:
		return fmt.Errorf("read the link: %w", err)
	}
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
