package slots

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path/filepath"

	"slipstream/slots/verity"
)

// imageName is the file that holds an image which is no tree, unless the slot has
// a partition.
const imageName = "image"

// imagePath is where the image of a slot lies: a file or a block device.
func (s *Set) imagePath(name string) string {
	if device := s.partitions[name]; device != "" {
		return device
	}
	return filepath.Join(s.dir, name, imageName)
}

// mounted says whether images of a kind are mounted to be used.
func mounted(kind string) bool { return kind == KindErofs || kind == KindSquashfs }

func (c Content) checkVerity() error {
	switch {
	case c.Verity == nil:
		return nil
	case !mounted(c.Kind):
		return fmt.Errorf("an image of kind %q has no verity tree", c.Kind)
	}
	return c.Verity.Check(c.Size)
}

func sameTree(a, b *verity.Params) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// compareImage reads an image that is no tree from the disk, and compares it with
// its signed hash and with its verity root hash.
func (s *Set) compareImage(ctx context.Context, name string, st state) error {
	r, err := s.openImageReader(name)
	if err != nil {
		return missing(err)
	}
	defer r.Close()
	tree, err := treeChecker(st)
	if err != nil {
		return err
	}
	sum := sha256.New()
	both := io.MultiWriter(sum, tree)
	if err := drain(ctx, r, st.Size, func(p []byte) { both.Write(p) }); err != nil { //nolint:errcheck // neither of the two fails
		return err
	}
	if got := hexSum([32]byte(sum.Sum(nil))); got != st.SHA256 {
		return fmt.Errorf("%w: its image has the hash %s, signed is %s", ErrDamaged, got, st.SHA256)
	}
	return tree.Finish()
}

// imageChecker is written an image and then says whether it is right.
type imageChecker interface {
	io.Writer
	Finish() error
}

// treeChecker checks the verity tree of an image, if it has one.
func treeChecker(st state) (imageChecker, error) {
	if st.Verity == nil {
		return noTree{io.Discard}, nil
	}
	return verity.NewChecker(*st.Verity, st.Size)
}

type noTree struct{ io.Writer }

func (noTree) Finish() error { return nil }
