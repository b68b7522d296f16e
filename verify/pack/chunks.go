package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"slipstream/slots/chunk"
	"slipstream/verify"
)

// measured is what one pass over an image's bytes tells about it.
type measured struct {
	size   int64
	sha256 string
	count  int
	index  []byte // the index member
}

// measure cuts and hashes what it reads; it keeps 36 bytes a chunk.
func measure(ctx context.Context, r io.Reader) (measured, error) {
	var m measured
	whole := sha256.New()
	err := chunk.Cut(ctx, r, func(data []byte) error {
		if m.size += int64(len(data)); m.size > verify.MaxImageSize {
			return fmt.Errorf("the image is larger than %d bytes, which is all that a package may bring for one slot", int64(verify.MaxImageSize))
		}
		if m.count == verify.MaxChunks {
			return fmt.Errorf("the image falls into more than %d chunks, which is all that devices read: there are as many after %d of its bytes; "+
				"make it smaller than that", verify.MaxChunks, m.size-int64(len(data)))
		}
		whole.Write(data)
		m.index = verify.AppendIndex(m.index, verify.Chunk{Length: uint32(len(data)), SHA256: sha256.Sum256(data)})
		m.count++
		return nil
	})
	m.sha256 = hex.EncodeToString(whole.Sum(nil))
	return m, err
}

// measureContent runs an image's writer into measure.
func measureContent(ctx context.Context, c content) (measured, error) {
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pw.CloseWithError(c.writeTo(ctx, pw))
	}()
	m, err := measure(ctx, pr)
	pr.CloseWithError(err) // lets the writer end if measure ended first
	<-done
	return m, err
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
