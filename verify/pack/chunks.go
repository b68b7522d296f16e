package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/jotfs/fastcdc-go"

	"slipstream/verify"
)

// The cut parameters, frozen: see the package comment.
const (
	minChunk     = 16 << 10
	averageChunk = 64 << 10
	maxChunk     = verify.MaxChunk
)

// measured is what one pass over an image's bytes tells about it.
type measured struct {
	size   int64
	sha256 string
	count  int
	index  []byte // the index member
}

// cutting is held by the one package that is cut at a time: the chunker keeps its
// table in a global variable and writes it whenever one is made.
var cutting sync.Mutex

// measure cuts and hashes what it reads; it keeps 36 bytes a chunk.
func measure(r io.Reader) (measured, error) {
	cutting.Lock()
	defer cutting.Unlock()
	cutter, err := fastcdc.NewChunker(r, fastcdc.Options{MinSize: minChunk, AverageSize: averageChunk, MaxSize: maxChunk})
	if err != nil {
		return measured{}, fmt.Errorf("set up chunks: %w", err)
	}
	var m measured
	whole := sha256.New()
	for {
		chunk, err := cutter.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return measured{}, err
		}
		if m.size += int64(chunk.Length); m.size > verify.MaxImageSize || m.count == verify.MaxChunks {
			return measured{}, fmt.Errorf("the image is larger than %d bytes or %d chunks", int64(verify.MaxImageSize), verify.MaxChunks)
		}
		whole.Write(chunk.Data)
		m.index = verify.AppendIndex(m.index, verify.Chunk{Length: uint32(chunk.Length), SHA256: sha256.Sum256(chunk.Data)})
		m.count++
	}
	m.sha256 = hex.EncodeToString(whole.Sum(nil))
	return m, nil
}

// measureContent runs an image's writer into measure.
func measureContent(ctx context.Context, c content) (measured, error) {
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pw.CloseWithError(c.writeTo(ctx, pw))
	}()
	m, err := measure(pr)
	pr.CloseWithError(err) // lets the writer end if measure ended first
	<-done
	return m, err
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
