package verify_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"slipstream/verify"
)

// However a stream gives its bytes, it is the package that the file is.
func TestStreamIsTheFile(t *testing.T) {
	t.Parallel()
	f := newFixture(t).larger()
	want, err := verify.Open(bytes.NewReader(f.file), int64(len(f.file)), f.trust, f.dev)
	if err != nil {
		t.Fatal(err)
	}
	for name, pieces := range map[string]func(io.Reader) io.Reader{
		"halves": iotest.HalfReader, "bytes": iotest.OneByteReader, "the end with the last bytes": iotest.DataErrReader,
	} {
		var copied bytes.Buffer
		got, err := verify.CheckStream(t.Context(), io.TeeReader(pieces(bytes.NewReader(f.file)), &copied), f.trust, &f.dev)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(copied.Bytes(), f.file) {
			t.Errorf("%s: %d bytes of %d passed", name, copied.Len(), len(f.file))
		}
		if got.Digest != want.Digest || !cmp.Equal(got.Members, want.Members) || !cmp.Equal(got.Images()[0].Chunks, want.Images()[0].Chunks) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if _, err := io.ReadAll(got.Images()[0].Reader()); err == nil || verify.Code(err) != "" {
			t.Errorf("%s: an image that has passed is read again: %v", name, err)
		}
	}
}

// What follows a package is not read, but for its first byte; the sentence is true of
// a file, too, of which all is known.
func TestStreamIsNotReadBehindItsEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rest := bytes.NewReader(make([]byte, 100))
	_, err := verify.CheckStream(t.Context(), io.MultiReader(bytes.NewReader(f.file), rest), f.trust, &f.dev)
	if verify.Code(err) != verify.CodeTrailing || rest.Len() != 99 {
		t.Errorf("%v, %d bytes left", err, rest.Len())
	}
	longer := append(bytes.Clone(f.file), make([]byte, 100)...)
	if _, told := verify.Open(bytes.NewReader(longer), int64(len(longer)), f.trust, f.dev); told == nil || err == nil || told.Error() != err.Error() {
		t.Errorf("of the file is said %q, of the stream %q", told, err)
	}
}

// A package that is not for this device is not read further.
func TestForeignStreamIsLeft(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dev.Hardware = "other"
	r := bytes.NewReader(f.file)
	_, err := verify.CheckStream(t.Context(), r, f.trust, &f.dev)
	if read := len(f.file) - r.Len(); verify.Code(err) != verify.CodeWrongHardware || read > len(f.head)+3*verify.Record {
		t.Errorf("%v, %d bytes read", err, read)
	}
}

func TestStreamThatBreaksIsNotRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for at := 0; at < len(f.file); at += step() {
		r := io.MultiReader(bytes.NewReader(f.file[:at]), iotest.ErrReader(errDisk))
		if _, err := verify.CheckStream(t.Context(), r, f.trust, &f.dev); !errors.Is(err, errDisk) || verify.Code(err) != "" {
			t.Fatalf("broken at %d: %v with code %q", at, err, verify.Code(err))
		}
	}
}

// endless is an image without end.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

// A signed size is read and hashed, and not held; the context ends it.
func TestStreamHoldsNoImage(t *testing.T) {
	f := newFixture(t)
	const size = 16 << 20
	payload := f.statement(func(m *verify.Manifest) {
		m.Images[0].Size, m.Images[0].Chunks.Count = size, size/verify.MaxChunk
	})
	head := member(verify.HeadName, f.sign(payload))
	var r endless
	allocated := allocatedBytes(func() {
		_, err := verify.CheckStream(t.Context(), io.MultiReader(bytes.NewReader(head), &r), f.trust, &f.dev)
		if verify.Code(err) != verify.CodeTrailing {
			t.Error(err)
		}
	})
	if r.read < size || r.read > size+verify.MaxChunk || allocated > 2<<20 {
		t.Errorf("%d bytes read, %d allocated", r.read, allocated)
	}
	ctx, cancel := contextCanceled(t)
	defer cancel()
	if _, err := verify.CheckStream(ctx, io.MultiReader(bytes.NewReader(head), &r), f.trust, nil); !errors.Is(err, ctx.Err()) {
		t.Error(err)
	}
}
