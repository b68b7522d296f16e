package chunk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"slipstream/slots/chunk"
)

// cut returns the chunks of data as packages list them.
func cut(t testing.TB, data []byte) (index [][36]byte, total int) {
	t.Helper()
	err := chunk.Cut(t.Context(), bytes.NewReader(data), func(c []byte) error {
		var line [36]byte
		binary.BigEndian.PutUint32(line[:], uint32(len(c)))
		sum := sha256.Sum256(c)
		copy(line[4:], sum[:])
		index, total = append(index, line), total+len(c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return index, total
}

// noise is the same each time.
func noise(size int) []byte {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{'c', 'u', 't', 's'}).Read(data)
	return data
}

// TestGoldenCuts holds the cuts of 4 MiB of noise and of 1 MiB of zeros. If it
// fails, the chunker or its parameters changed: packages stay safe, but every device
// would fetch whole images instead of differences.
func TestGoldenCuts(t *testing.T) {
	const (
		goldenCuts  = "39a4ab0a3cf7d4bfb5ec52adbdc2c79f29a627a8932a1a36094e07c402794db9"
		goldenCount = 60
	)
	data := append(noise(4<<20), make([]byte, 1<<20)...)
	index, total := cut(t, data)
	all := sha256.New()
	for i, line := range index {
		if n := binary.BigEndian.Uint32(line[:]); n > chunk.Max || n < 16<<10 && i < len(index)-1 {
			t.Errorf("a chunk of %d bytes", n)
		}
		all.Write(line[:])
	}
	if got := hex.EncodeToString(all.Sum(nil)); len(index) != goldenCount || got != goldenCuts || total != len(data) {
		t.Errorf("%d chunks of %d bytes with the index %s, want %d with %s", len(index), total, got, goldenCount, goldenCuts)
	}
}

// TestCutsFollowTheContent: one byte more at the start does not move the cuts behind it.
func TestCutsFollowTheContent(t *testing.T) {
	data := noise(4 << 20)
	before, _ := cut(t, data)
	after, _ := cut(t, append([]byte{1}, data...))
	known := map[[36]byte]bool{}
	for _, line := range before {
		known[line] = true
	}
	fresh := 0
	for _, line := range after {
		if !known[line] {
			fresh++
		}
	}
	if fresh > 3 {
		t.Errorf("%d of %d chunks are new", fresh, len(after))
	}
}

func TestCuttingEnds(t *testing.T) {
	broken := errors.New("broken")
	use := func([]byte) error { return nil }
	if err := chunk.Cut(t.Context(), iotest.ErrReader(broken), use); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
	if err := chunk.Cut(t.Context(), bytes.NewReader(noise(1<<20)), func([]byte) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a use that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := chunk.Cut(ctx, bytes.NewReader(noise(4<<20)), func([]byte) error {
		calls++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("cancelled: %v after %d chunks", err, calls)
	}
	err = chunk.Cut(t.Context(), bytes.NewReader(noise(1<<20)), func([]byte) error {
		return chunk.Cut(ctx, bytes.NewReader(nil), use) // waits for the one that is cut, and for no longer than it may
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while another is cut: %v", err)
	}
}
