package verity

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	// BlockSize is the size of all blocks, of data and of hashes.
	BlockSize = 4096
	// MaxSalt is the most that the kernel takes, in bytes.
	MaxSalt = 256
	// MaxDataBlocks is 4 GiB of data.
	MaxDataBlocks = 4 << 30 / BlockSize

	hashSize = 32
	perBlock = BlockSize / hashSize // hashes in a block of the tree
)

// ErrMismatch means that an image is not what its root hash stands for.
var ErrMismatch = errors.New("the image does not fit its verity root hash")

// Params say where an image's tree lies and what it must come to.
type Params struct {
	BlockSize  int    `json:"blockSize"`  // always [BlockSize]
	DataBlocks int64  `json:"dataBlocks"` // of the file system
	HashOffset int64  `json:"hashOffset"` // of the tree's first block, in bytes
	Salt       string `json:"salt"`       // lower-case hex, may be empty
	RootHash   string `json:"rootHash"`   // lower-case hex
}

// Check judges the parameters of an image of the given size: data, at most one
// block for a superblock, the tree, and nothing after it.
func (p Params) Check(size int64) error {
	data := p.DataBlocks * BlockSize
	switch {
	case p.BlockSize != BlockSize:
		return fmt.Errorf("verity blocks have %d bytes, not %d", p.BlockSize, BlockSize)
	case p.DataBlocks < 1 || p.DataBlocks > MaxDataBlocks:
		return fmt.Errorf("verity covers %d blocks, allowed are 1 to %d", p.DataBlocks, int64(MaxDataBlocks))
	case p.HashOffset != data && p.HashOffset != data+BlockSize:
		return fmt.Errorf("the verity tree begins at %d, which is neither the end of the data (%d) nor one block after it", p.HashOffset, data)
	case size != p.HashOffset+TreeSize(p.DataBlocks):
		return fmt.Errorf("the image has %d bytes, its verity tree ends at %d", size, p.HashOffset+TreeSize(p.DataBlocks))
	case !isHex(p.Salt, MaxSalt):
		return fmt.Errorf("the verity salt is not lower-case hex of at most %d bytes", MaxSalt)
	case len(p.RootHash) != 2*hashSize || !isHex(p.RootHash, hashSize):
		return errors.New("the verity root hash is not SHA-256 in lower-case hex")
	}
	return nil
}

func isHex(s string, most int) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) <= most && strings.ToLower(s) == s
}

// TreeSize is what the tree over so many blocks takes, in bytes.
func TreeSize(dataBlocks int64) int64 {
	blocks := int64(0)
	for n := dataBlocks; n > 1; {
		n = (n + perBlock - 1) / perBlock
		blocks += n
	}
	return blocks * BlockSize
}
