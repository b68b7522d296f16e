package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
)

// CheckStream judges a package that comes once, from its first byte to its last:
// what [Open] and [Package.CheckAll] would say of a file of these bytes, by the
// same code. Without a device it is Inspect instead of Open.
//
// The images pass and are not kept: who wants them copies what is read
// ([io.TeeReader]), and believes the copy after nil. Once the signatures were found
// right it reads to where the manifest puts the end, and one byte more, even when
// something was wrong before: the verdict must not depend on how the bytes come.
func CheckStream(ctx context.Context, r io.Reader, trust *Trust, dev *Device) (*Package, error) {
	s := &stream{r: r}
	head, members, err := readHead(s, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	found, err := judge(head, trust, dev)
	if err != nil {
		return nil, err
	}
	content, err := s.pass(ctx, found.manifest, members)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	p, err := assemble(s, s.next, head, members, found)
	if err == nil {
		err = content
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// stream is a package of which the images have passed, or will. Everything else is
// kept, and is read here as from a file.
type stream struct {
	r    io.Reader
	next int64 // bytes that were read
	kept []span
}

// span is a piece of the package.
type span struct {
	at   int64
	data []byte
}

// ReadAt reads what is kept, and what comes next. It asks for no more than p has,
// whose length the caller has checked.
func (s *stream) ReadAt(p []byte, off int64) (int, error) {
	if end := off + int64(len(p)); off <= s.next && s.next < end {
		if err := s.keep(end); err != nil {
			return 0, err
		}
	}
	for _, k := range s.kept {
		if i := off - k.at; 0 <= i && i < int64(len(k.data)) {
			n := copy(p, k.data[i:])
			if n < len(p) {
				return n, errPassed
			}
			return n, nil
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	return 0, errPassed
}

var errPassed = errors.New("the package came as a stream, and its images are not kept")

// keep reads up to a place.
func (s *stream) keep(end int64) error {
	data := make([]byte, end-s.next)
	n, err := io.ReadFull(s.r, data)
	if last := len(s.kept) - 1; last >= 0 && s.kept[last].at+int64(len(s.kept[last].data)) == s.next {
		s.kept[last].data = append(s.kept[last].data, data[:n]...)
	} else {
		s.kept = append(s.kept, span{s.next, data[:n]})
	}
	s.next += int64(n)
	return ended(err)
}

// ended is an error of reading; the end in the middle is the end.
func ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

// pass reads what follows the head, and hashes the images on the way. What is wrong
// with their content is told apart, because it counts only if all else is right.
// Where the stream ends early the error is io.EOF.
func (s *stream) pass(ctx context.Context, m Manifest, head []Member) (content, err error) {
	members := m.members(head)
	for i, image := range m.Images {
		index, data := members[len(head)+2*i], members[len(head)+2*i+1]
		if err := s.keep(data.Offset); err != nil {
			return nil, err
		}
		end := data.Offset + data.Size
		chunks, err := readIndex(io.NewSectionReader(s, index.Offset, index.Size), image)
		if err == nil && content == nil { // else assemble says it, or it was said
			p := Payload{Image: image, Chunks: chunks, Offset: data.Offset}
			content = p.check(ctx, passing{s})
		}
		if content != nil && Code(content) == "" {
			return nil, content
		}
		if err := s.skip(ctx, end); err != nil {
			return nil, err
		}
		if err := s.keep(end + Padding(data.Size)); err != nil {
			return nil, err
		}
	}
	if err := s.keep(s.next + trailer); err != nil {
		return nil, err
	}
	if err := s.keep(s.next + 1); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return content, nil
}

// skip reads up to a place and forgets it.
func (s *stream) skip(ctx context.Context, end int64) error {
	buf := make([]byte, min(MaxChunk, end-s.next))
	for s.next < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(int64(len(buf)), end-s.next)
		if _, err := (passing{s}).ReadAt(buf[:n], s.next); err != nil {
			return err
		}
	}
	return nil
}

// passing is what comes next of a stream, which is not kept.
type passing struct{ s *stream }

func (p passing) ReadAt(buf []byte, off int64) (int, error) {
	if off != p.s.next {
		return 0, fmt.Errorf("byte %d of a stream was asked for at byte %d", off, p.s.next)
	}
	n, err := io.ReadFull(p.s.r, buf)
	p.s.next += int64(n)
	return n, ended(err)
}
