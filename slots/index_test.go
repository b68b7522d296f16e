package slots_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"slipstream/slots"
	"slipstream/slots/chunk"
)

// TestALostIndexIsCutAnew: a slot in use that has lost its list of chunks, or has a
// torn one, still saves most of the bytes.
func TestALostIndexIsCutAnew(t *testing.T) {
	p := places()[1]
	cut := func(raw []byte, digest string) slots.Content {
		c := p.content(raw, digest)
		c.Chunks = nil
		err := chunk.Cut(t.Context(), bytes.NewReader(raw), func(data []byte) error {
			c.Chunks = append(c.Chunks, slots.Chunk{Length: uint32(len(data)), SHA256: sha256.Sum256(data)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := noise(1, 4<<20)
	next := append(append(append([]byte{}, old[:2<<20]...), noise(2, 100_000)...), old[2<<20:]...)
	for name, lose := range map[string]func(path string) error{
		"lost": os.Remove,
		"torn": func(path string) error { return os.Truncate(path, 35) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := p.open(t, dir)
			mustStage(t, s, "a", cut(old, "d1"), slots.StageOptions{})
			if err := lose(filepath.Join(dir, "a", "chunks")); err != nil {
				t.Fatal(err)
			}
			if r := mustStage(t, s, "b", cut(next, "d2"), slots.StageOptions{InUse: "a"}); r.Copied < 3<<20 || r.Fetched < 100_000 {
				t.Errorf("%+v", r)
			}
		})
	}
}
