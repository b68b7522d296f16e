package slots

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"sort"

	"slipstream/slots/chunk"
)

const (
	chunksName = "chunks"
	indexEntry = 4 + 32 // length, hash
)

// index says where the chunks of an installed image are. It is only a hint:
// whatever is read by it is hashed.
type index struct {
	chunks []Chunk
	starts []int64
	byHash map[[32]byte]int // place in chunks
}

// encodeIndex writes chunks down as packages do: for each its length in big
// endian and its hash.
func encodeIndex(chunks []Chunk) []byte {
	raw := make([]byte, 0, len(chunks)*indexEntry)
	for _, chunk := range chunks {
		raw = binary.BigEndian.AppendUint32(raw, chunk.Length)
		raw = append(raw, chunk.SHA256[:]...)
	}
	return raw
}

func decodeIndex(raw []byte) (*index, error) {
	if len(raw)%indexEntry != 0 {
		return nil, errors.New("the chunk index is torn")
	}
	x := &index{byHash: make(map[[32]byte]int, len(raw)/indexEntry)}
	var off int64
	for ; len(raw) > 0; raw = raw[indexEntry:] {
		c := Chunk{Length: binary.BigEndian.Uint32(raw), SHA256: [32]byte(raw[4:indexEntry])}
		x.byHash[c.SHA256] = len(x.chunks)
		x.chunks, x.starts = append(x.chunks, c), append(x.starts, off)
		off += int64(c.Length)
	}
	return x, nil
}

// cutIndex makes the index of an image that has lost its own, by cutting it as
// packages are cut.
func cutIndex(ctx context.Context, image io.Reader) (*index, error) {
	var raw []byte
	err := chunk.Cut(ctx, image, func(data []byte) error {
		if len(raw) == MaxChunks*indexEntry {
			return errors.New("too many chunks")
		}
		sum := sha256.Sum256(data)
		raw = append(binary.BigEndian.AppendUint32(raw, uint32(len(data))), sum[:]...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return decodeIndex(raw)
}

// find says where a chunk is, at whatever place.
func (x *index) find(chunk Chunk) (off int64, ok bool) {
	if x == nil {
		return 0, false
	}
	i, ok := x.byHash[chunk.SHA256]
	if !ok || x.chunks[i].Length != chunk.Length {
		return 0, false
	}
	return x.starts[i], true
}

// has says whether a chunk is at off.
func (x *index) has(chunk Chunk, off int64) bool {
	if x == nil {
		return false
	}
	i := sort.Search(len(x.starts), func(i int) bool { return x.starts[i] >= off })
	return i < len(x.starts) && x.starts[i] == off && x.chunks[i] == chunk
}

// readIndex returns nil where there is none that can be read.
func (s *Set) readIndex(name string) *index {
	raw, err := s.readFile(name+"/"+chunksName, MaxChunks*indexEntry)
	if err != nil {
		return nil
	}
	x, err := decodeIndex(raw)
	if err != nil {
		return nil
	}
	return x
}
