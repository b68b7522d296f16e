// Package chunk cuts images into content-defined chunks: where a chunk ends is
// said by the bytes before, so that what is inserted somewhere moves no cuts
// behind it, and two versions of an image have most of their chunks in common.
//
// Whoever makes packages and whoever writes them into slots has to cut alike, and
// so has every version of both: with other cuts each device would fetch everything
// anew. So the cuts are frozen: FastCDC with 16, 64 and 256 KiB, held by a test.
package chunk

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jotfs/fastcdc-go"
)

// Max is the size of the largest chunk in bytes.
const Max = 256 << 10

const (
	smallest = 16 << 10
	average  = 64 << 10
)

// cutting is full while an image is cut, one at a time: the library keeps its table
// in a global variable, and writes it whenever a chunker is made.
var cutting = make(chan struct{}, 1)

// Cut hands each chunk of what r gives to use, in order. The bytes are valid until
// use returns, and an error of it ends the cutting. At most two chunks are in memory.
func Cut(ctx context.Context, r io.Reader, use func(data []byte) error) error {
	select {
	case cutting <- struct{}{}:
		defer func() { <-cutting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	cutter, err := fastcdc.NewChunker(r, fastcdc.Options{MinSize: smallest, AverageSize: average, MaxSize: Max})
	if err != nil {
		return fmt.Errorf("set up chunks: %w", err)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := cutter.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := use(c.Data); err != nil {
			return err
		}
	}
}
