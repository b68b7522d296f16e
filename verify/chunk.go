package verify

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// chunkEntry is one line of a chunk index: u32be length, SHA-256.
const chunkEntry = 4 + sha256.Size

// indexBuffer makes one read of many lines, which may be an HTTP range each.
const indexBuffer = 64 << 10

// Chunk is one content-defined piece of an image.
type Chunk struct {
	Offset int64 // in the image
	Length uint32
	SHA256 [32]byte
}

// AppendIndex appends a chunk's line of the index member.
func AppendIndex(b []byte, c Chunk) []byte {
	return append(binary.BigEndian.AppendUint32(b, c.Length), c.SHA256[:]...)
}

// readIndex reads the chunk index of an image whose manifest entry is valid.
// Its hash is judged before its content: damage on the way is named so, and not
// as a contradiction that somebody signed.
func readIndex(r io.Reader, image Image) ([]Chunk, error) {
	in := bufio.NewReaderSize(r, indexBuffer)
	chunks := make([]Chunk, 0, image.Chunks.Count)
	sum := sha256.New()
	var entry [chunkEntry]byte
	var total int64
	var fault error
	for i := range image.Chunks.Count {
		if _, err := io.ReadFull(in, entry[:]); err != nil {
			return nil, indexReadError(err, image.Name)
		}
		sum.Write(entry[:])
		c := Chunk{Offset: total, Length: binary.BigEndian.Uint32(entry[:4]), SHA256: [32]byte(entry[4:])}
		if (c.Length == 0 || c.Length > MaxChunk) && fault == nil {
			fault = refuse(CodeIndex, "chunk %d of image %s has %d bytes, allowed are 1 to %d", i, image.Name, c.Length, MaxChunk)
		}
		total += int64(c.Length)
		chunks = append(chunks, c)
	}
	if hex.EncodeToString(sum.Sum(nil)) != image.Chunks.SHA256 {
		return nil, refuse(CodeCorrupt, "the package is damaged: the chunk index of image %s has the wrong content", image.Name)
	}
	if fault == nil && total != image.Size {
		fault = refuse(CodeIndex, "the chunks of image %s have %d bytes together, the image has %d", image.Name, total, image.Size)
	}
	if fault != nil {
		return nil, fault
	}
	return chunks, nil
}

func indexReadError(err error, name string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(CodeTruncated, "the package ends within the chunk index of image %s", name)
	}
	return fmt.Errorf("read chunk index of image %s: %w", name, err)
}
