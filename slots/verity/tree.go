package verity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// grower makes a tree of data that is written to it. It keeps all levels but the
// lowest, which is 128 times as large as the others together.
type grower struct {
	salt   []byte
	lowest io.Writer // is given the lowest level
	sum    hash.Hash
	block  []byte // of data, being filled
	leaf   []byte // block of the lowest level, being filled
	upper  []byte // hashes of the lowest level's blocks
	blocks int64  // of data so far
	first  [hashSize]byte
}

func newGrower(salt []byte, lowest io.Writer) *grower {
	return &grower{
		salt: salt, lowest: lowest, sum: sha256.New(),
		block: make([]byte, 0, BlockSize), leaf: make([]byte, 0, BlockSize),
	}
}

func (g *grower) hash(block []byte) []byte {
	g.sum.Reset()
	g.sum.Write(g.salt)
	g.sum.Write(block)
	return g.sum.Sum(nil)
}

func (g *grower) Write(p []byte) (int, error) {
	done := len(p)
	for len(p) > 0 {
		if len(g.block) == 0 && len(p) >= BlockSize {
			if err := g.add(p[:BlockSize]); err != nil {
				return 0, err
			}
			p = p[BlockSize:]
			continue
		}
		n := min(BlockSize-len(g.block), len(p))
		g.block, p = append(g.block, p[:n]...), p[n:]
		if len(g.block) < BlockSize {
			break
		}
		if err := g.add(g.block); err != nil {
			return 0, err
		}
		g.block = g.block[:0]
	}
	return done, nil
}

// add takes one block of data in.
func (g *grower) add(block []byte) error {
	h := g.hash(block)
	if g.blocks == 0 {
		copy(g.first[:], h)
	}
	g.blocks++
	g.leaf = append(g.leaf, h...)
	if len(g.leaf) < BlockSize {
		return nil
	}
	return g.flush()
}

func (g *grower) flush() error {
	g.upper = append(g.upper, g.hash(g.leaf)...)
	_, err := g.lowest.Write(g.leaf)
	g.leaf = g.leaf[:0]
	return err
}

// finish returns the root hash, and the levels above the lowest, highest first, as
// they lie on disk.
func (g *grower) finish() (root [hashSize]byte, above []byte, err error) {
	switch {
	case len(g.block) != 0:
		return root, nil, fmt.Errorf("the data ends within a block of %d bytes", BlockSize)
	case g.blocks == 0:
		return root, nil, errors.New("there is no data")
	case g.blocks == 1:
		return g.first, nil, nil
	}
	if len(g.leaf) > 0 {
		g.leaf = g.leaf[:BlockSize] // room was made for it
		clear(g.leaf[g.fill():])
		if err := g.flush(); err != nil {
			return root, nil, err
		}
	}
	level := g.upper
	for len(level) > hashSize {
		level = append(level, make([]byte, -len(level)&(BlockSize-1))...)
		above = append(bytes.Clone(level), above...)
		var next []byte
		for b := level; len(b) > 0; b = b[BlockSize:] {
			next = append(next, g.hash(b[:BlockSize])...)
		}
		level = next
	}
	return [hashSize]byte(level), above, nil
}

// fill is how much of the last leaf holds hashes.
func (g *grower) fill() int { return int(g.blocks%perBlock) * hashSize }

// Builder makes the tree of the data that is written to it, a whole number of
// blocks. It keeps the tree in memory: 8 MB for each GiB of data.
type Builder struct {
	data   *grower
	lowest bytes.Buffer
}

// NewBuilder starts a tree.
func NewBuilder(salt []byte) *Builder {
	b := &Builder{}
	b.data = newGrower(salt, &b.lowest)
	return b
}

// Write takes the next part of the data in.
func (b *Builder) Write(p []byte) (int, error) { return b.data.Write(p) }

// Finish returns the tree and its parameters, for an image in which one block for
// the superblock lies between the two.
func (b *Builder) Finish() (tree []byte, p Params, err error) {
	root, above, err := b.data.finish()
	if err != nil {
		return nil, p, fmt.Errorf("verity: %w", err)
	}
	return append(above, b.lowest.Bytes()...), Params{
		BlockSize: BlockSize, DataBlocks: b.data.blocks, HashOffset: (b.data.blocks + 1) * BlockSize,
		Salt: hex.EncodeToString(b.data.salt), RootHash: hex.EncodeToString(root[:]),
	}, nil
}

// Checker judges an image that is written to it, from its first byte to its last.
// It keeps in memory 64 KB for each GiB of data.
type Checker struct {
	params  Params
	data    *grower
	lowest  hash.Hash // of the lowest level, as the data says
	root    [hashSize]byte
	above   []byte // what the levels above it must be
	carried hash.Hash
	at      int64
	fault   error
}

// NewChecker starts the check of an image of the given size.
func NewChecker(p Params, size int64) (*Checker, error) {
	if err := p.Check(size); err != nil {
		return nil, fmt.Errorf("verity: %w", err)
	}
	salt, err := hex.DecodeString(p.Salt)
	if err != nil {
		return nil, err
	}
	lowest := sha256.New()
	return &Checker{params: p, data: newGrower(salt, lowest), lowest: lowest, carried: sha256.New()}, nil
}

// Write takes the next part of the image in. What is wrong with it is for Finish
// to say, so that whoever hashes the same bytes goes on.
func (c *Checker) Write(p []byte) (int, error) {
	rest := p
	if end := c.params.DataBlocks * BlockSize; c.at < end {
		part := rest[:min(int64(len(rest)), end-c.at)]
		_, _ = c.data.Write(part) // into a hash: it cannot fail
		c.skip(&rest, len(part))
		if c.at == end {
			c.root, c.above, c.fault = c.data.finish()
		}
	}
	if c.at < c.params.HashOffset {
		c.skip(&rest, int(min(int64(len(rest)), c.params.HashOffset-c.at))) // the superblock
	}
	c.tree(rest)
	return len(p), nil
}

func (c *Checker) skip(rest *[]byte, n int) {
	*rest = (*rest)[n:]
	c.at += int64(n)
}

// tree compares the levels above the lowest, and hashes that one.
func (c *Checker) tree(p []byte) {
	n := min(len(p), len(c.above))
	if !bytes.Equal(p[:n], c.above[:n]) && c.fault == nil {
		c.fault = fmt.Errorf("%w: its tree is wrong at %d", ErrMismatch, c.at)
	}
	c.above = c.above[n:]
	c.carried.Write(p[n:])
	c.at += int64(len(p))
}

// Finish says whether data, tree and root hash fit together.
func (c *Checker) Finish() error {
	end := c.params.HashOffset + TreeSize(c.params.DataBlocks)
	switch {
	case c.at != end:
		return fmt.Errorf("verity: %w: it has %d bytes of %d", ErrMismatch, c.at, end)
	case c.fault != nil:
		return fmt.Errorf("verity: %w", c.fault)
	case hex.EncodeToString(c.root[:]) != c.params.RootHash:
		return fmt.Errorf("verity: %w: its data has the root hash %x, signed is %s", ErrMismatch, c.root, c.params.RootHash)
	case c.params.DataBlocks > 1 && !bytes.Equal(c.carried.Sum(nil), c.lowest.Sum(nil)):
		return fmt.Errorf("verity: %w: the lowest level of its tree is wrong", ErrMismatch)
	}
	return nil
}
