package verity

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Superblock is the block that veritysetup looks for before a tree, at the end of
// the data (cryptsetup, lib/verity/verity.c). It lets people check an image with
// that tool; nothing here reads it. Its UUID is the end of the root hash.
func (p Params) Superblock() ([]byte, error) {
	salt, err := hex.DecodeString(p.Salt)
	if err != nil || len(salt) > MaxSalt {
		return nil, fmt.Errorf("verity: salt %q", p.Salt)
	}
	root, err := hex.DecodeString(p.RootHash)
	if err != nil || len(root) != hashSize {
		return nil, fmt.Errorf("verity: root hash %q", p.RootHash)
	}
	b := make([]byte, BlockSize)
	copy(b, "verity\x00\x00")
	little := binary.LittleEndian
	little.PutUint32(b[8:], 1)  // of the superblock
	little.PutUint32(b[12:], 1) // hash format
	copy(b[16:32], root[hashSize-16:])
	copy(b[32:64], "sha256")
	little.PutUint32(b[64:], BlockSize)
	little.PutUint32(b[68:], BlockSize)
	little.PutUint64(b[72:], uint64(p.DataBlocks))
	little.PutUint16(b[80:], uint16(len(salt)))
	copy(b[88:88+MaxSalt], salt)
	return b, nil
}
