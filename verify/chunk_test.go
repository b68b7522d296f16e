package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

func TestReadIndex(t *testing.T) {
	for _, row := range []struct {
		name    string
		lengths []uint32
		size    int64
		code    string
	}{
		{"one chunk", []uint32{1}, 1, ""},
		{"largest chunks", []uint32{MaxChunk, MaxChunk}, 2 * MaxChunk, ""},
		{"a chunk of no bytes", []uint32{100, 0}, 100, CodeIndex},
		{"a chunk of one byte too many", []uint32{MaxChunk + 1, 1}, MaxChunk + 2, CodeIndex},
		{"a chunk of 4 GiB", []uint32{1<<32 - 1, 1}, 1 << 32, CodeIndex},
		{"less than the image", []uint32{1, 1}, 3, CodeIndex},
		{"more than the image", []uint32{1, 2}, 2, CodeIndex},
	} {
		var index []byte
		for _, n := range row.lengths {
			index = AppendIndex(index, Chunk{Length: n})
		}
		sum := sha256.Sum256(index)
		image := Image{Name: "app.tree", Size: row.size, Chunks: ChunkIndex{Count: len(row.lengths), SHA256: hex.EncodeToString(sum[:])}}
		chunks, err := readIndex(bytes.NewReader(index), image)
		if Code(err) != row.code || (err == nil) != (row.code == "") {
			t.Errorf("%s: got %v with code %q, want code %q", row.name, err, Code(err), row.code)
		}
		if err == nil && len(chunks) != len(row.lengths) {
			t.Errorf("%s: %d chunks", row.name, len(chunks))
		}
		if _, err := readIndex(bytes.NewReader(index[:len(index)-1]), image); Code(err) != CodeTruncated {
			t.Errorf("%s, cut: %v", row.name, err)
		}
	}
}
