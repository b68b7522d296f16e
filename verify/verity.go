package verify

import (
	"encoding/hex"
	"strings"
)

// Verity says where an image has its hash tree, and what the tree comes to: what the
// kernel's dm-verity target is told, so that it checks every block when it is read.
// The tree is the end of the image; between it and the data may lie one block, in
// which the program veritysetup finds the same again. The hash is SHA-256.
type Verity struct {
	BlockSize  int    `json:"blockSize"`  // of data and tree: 4096
	DataBlocks int64  `json:"dataBlocks"` // of the file system
	HashOffset int64  `json:"hashOffset"` // of the tree in the image, in bytes
	Salt       string `json:"salt"`       // lower-case hex, may be empty
	RootHash   string `json:"rootHash"`   // lower-case hex
}

const (
	verityBlock    = 4096
	verityPerBlock = verityBlock / 32 // hashes in a block of the tree
	maxVeritySalt  = 256              // bytes
)

func (v *Verity) validate(image Image) error {
	if v == nil {
		return nil
	}
	size := image.Size
	if image.Encryption != nil {
		size = image.Encryption.Size
	}
	if image.Kind != KindErofs && image.Kind != KindSquashfs {
		return bad("image %s of kind %s has a verity tree", quote(image.Name), image.Kind)
	}
	if v.BlockSize != verityBlock {
		return bad("the verity blocks of image %s have %d bytes, not %d", quote(image.Name), v.BlockSize, verityBlock)
	}
	if v.DataBlocks < 1 || v.DataBlocks > MaxImageSize/verityBlock { // before it is multiplied
		return bad("the verity tree of image %s covers %d blocks, allowed are 1 to %d", quote(image.Name), v.DataBlocks, int64(MaxImageSize/verityBlock))
	}
	data := v.DataBlocks * verityBlock
	switch {
	case v.HashOffset != data && v.HashOffset != data+verityBlock:
		return bad("the verity tree of image %s begins at %d, its data ends at %d", quote(image.Name), v.HashOffset, data)
	case size != v.HashOffset+verityTree(v.DataBlocks):
		return bad("image %s has %d bytes, its verity tree ends at %d", quote(image.Name), size, v.HashOffset+verityTree(v.DataBlocks))
	case !isSHA256(v.RootHash):
		return bad("the verity root hash of image %s is not SHA-256 in lower-case hex", quote(image.Name))
	}
	if salt, err := hex.DecodeString(v.Salt); err != nil || len(salt) > maxVeritySalt || strings.ToLower(v.Salt) != v.Salt {
		return bad("the verity salt of image %s is not lower-case hex of at most %d bytes", quote(image.Name), maxVeritySalt)
	}
	return nil
}

// verityTree is the size of a tree: on each level a hash for each block of the one
// below, until one block is left.
func verityTree(dataBlocks int64) (size int64) {
	for n := dataBlocks; n > 1; {
		n = (n + verityPerBlock - 1) / verityPerBlock
		size += n * verityBlock
	}
	return size
}
