package pack

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"slipstream/verify"
)

// The cuts of 4 MiB of fixed noise and of 1 MiB of zeros. If this test fails,
// the chunker or its parameters changed: packages stay safe, but every device
// would fetch whole images instead of differences.
const (
	goldenCuts  = "39a4ab0a3cf7d4bfb5ec52adbdc2c79f29a627a8932a1a36094e07c402794db9"
	goldenCount = 60
)

func TestGoldenCuts(t *testing.T) {
	data := make([]byte, 4<<20, 5<<20)
	rand.NewChaCha8([32]byte{'c', 'u', 't', 's'}).Read(data)
	data = data[:cap(data)]
	m, err := measure(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if m.count != goldenCount || sum(m.index) != goldenCuts {
		t.Errorf("%d chunks with the index %s, want %d with %s", m.count, sum(m.index), goldenCount, goldenCuts)
	}
	total := 0
	for line := m.index; len(line) > 0; line = line[36:] {
		n := int(binary.BigEndian.Uint32(line))
		if last := len(line) == 36; n > maxChunk || n < minChunk && !last {
			t.Errorf("a chunk of %d bytes", n)
		}
		total += n
	}
	if total != len(data) || m.size != int64(len(data)) {
		t.Errorf("chunks of %d bytes, size %d, want %d", total, m.size, len(data))
	}
}

// One byte more at the start must not move the cuts behind it.
func TestCutsFollowTheContent(t *testing.T) {
	data := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{'c', 'u', 't', 's'}).Read(data)
	before, err := measure(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	after, err := measure(bytes.NewReader(append([]byte{1}, data...)))
	if err != nil {
		t.Fatal(err)
	}
	const line = 36
	known := map[string]bool{}
	for i := 0; i < len(before.index); i += line {
		known[string(before.index[i:i+line])] = true
	}
	fresh := 0
	for i := 0; i < len(after.index); i += line {
		if !known[string(after.index[i:i+line])] {
			fresh++
		}
	}
	if fresh > 3 {
		t.Errorf("%d of %d chunks are new", fresh, after.count)
	}
	if verify.MaxChunk != maxChunk {
		t.Error("the reader's limit is not the builder's")
	}
}
