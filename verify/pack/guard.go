package pack

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"slipstream/slots/verity"
)

// veritySalt is the same for all versions of a product: blocks that did not change
// then have the hashes that they had, and devices need not fetch those parts of the
// tree again. What a salt is for, to keep one table of hashes from fitting all
// images, it still does.
func veritySalt(product string) []byte {
	sum := sha256.Sum256([]byte("slipstream-pack verity\x00" + product))
	return sum[:]
}

// guardedImage is a file system with its hash tree behind it. The file system is
// filled up with zeros to a whole number of blocks.
type guardedImage struct {
	content
	salt   []byte
	params verity.Params // after it was written
}

func (i *guardedImage) writeTo(ctx context.Context, w io.Writer) error {
	builder := verity.NewBuilder(i.salt)
	data := &counter{w: io.MultiWriter(w, builder)}
	if err := i.content.writeTo(ctx, data); err != nil {
		return err
	}
	if _, err := data.Write(make([]byte, -data.n&(verity.BlockSize-1))); err != nil {
		return err
	}
	tree, params, err := builder.Finish()
	if err != nil {
		return fmt.Errorf("make the hash tree: %w", err)
	}
	super, err := params.Superblock()
	if err != nil {
		return err
	}
	i.params = params
	if _, err := w.Write(super); err != nil {
		return err
	}
	_, err = w.Write(tree)
	return err
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
