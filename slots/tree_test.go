package slots_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"slipstream/slots"
)

// TestAnyTreeGoesThere and back: whatever a directory holds, staging it gives
// that directory, and that directory gives the image.
func TestAnyTreeGoesThereAndBack(t *testing.T) {
	s := openSet(t)
	rapid.Check(t, func(rt *rapid.T) {
		members := drawTree(rt)
		raw := image(t, members...)
		if err := stage(t.Context(), s, "a", content(raw)); err != nil {
			rt.Fatal(err)
		}
		if err := s.Verify(t.Context(), "a"); err != nil {
			rt.Fatal(err)
		}
		for _, m := range members {
			where := filepath.Join(s.Root("a"), m.name)
			var got []byte
			var err error
			switch m.kind {
			case tar.TypeReg:
				got, err = os.ReadFile(where)
			case tar.TypeSymlink:
				var target string
				target, err = os.Readlink(where)
				got = []byte(target)
			}
			if err != nil || string(got) != m.data {
				rt.Fatalf("%s holds %q, %v, want %q", m.name, got, err, m.data)
			}
		}
	})
}

// TestAnyTreeTakesThePlaceOfAnyOther, whatever of it was there already, and
// wherever the stage before was interrupted.
func TestAnyTreeTakesThePlaceOfAnyOther(t *testing.T) {
	s := openSet(t)
	rapid.Check(t, func(rt *rapid.T) {
		slot, inUse := "a", "b"
		for i := range 3 {
			raw := image(t, drawTree(rt)...)
			c := content(raw)
			c.Digest = rapid.StringMatching(`[0-9a-f]{8}`).Draw(rt, "digest")
			cut := rapid.Int64Range(0, int64(len(raw))).Draw(rt, "cut")
			c.Image = &tape{raw: raw, read: func(off int64) error {
				if off >= cut {
					return errPulled
				}
				return nil
			}}
			if err := stage(t.Context(), s, slot, c); err != nil && !errors.Is(err, errPulled) {
				rt.Fatalf("version %d: %v", i, err)
			}
			c.Image = slots.File(bytes.NewReader(raw))
			if rapid.Bool().Draw(rt, "another one meanwhile") {
				c.Digest += "2"
			}
			r, err := s.Stage(t.Context(), slot, c, slots.StageOptions{InUse: inUse})
			if err == nil {
				err = s.Verify(t.Context(), slot)
			}
			if err != nil || r.Kept+r.Copied+r.Fetched != c.Size {
				rt.Fatalf("version %d: %+v, %v", i, r, err)
			}
			slot, inUse = inUse, slot
		}
	})
}

// drawTree makes a tree in canonical order.
func drawTree(rt *rapid.T) []member {
	part := rapid.StringMatching(`[a-d.\-]{1,3}`).Filter(func(s string) bool { return s != "." && s != ".." })
	tree := map[string]member{}
	dirs := []string{""}
	for range rapid.IntRange(1, 12).Draw(rt, "entries") {
		name := path.Join(rapid.SampledFrom(dirs).Draw(rt, "directory"), part.Draw(rt, "name"))
		if _, taken := tree[name]; taken {
			continue
		}
		switch rapid.IntRange(0, 3).Draw(rt, "kind") {
		case 0:
			tree[name] = directory(name)
			dirs = append(dirs, name)
		case 1:
			tree[name] = link(name, strings.Repeat("../", rapid.IntRange(0, strings.Count(name, "/")).Draw(rt, "up"))+part.Draw(rt, "target"))
		case 2:
			tree[name] = program(name, drawData(rt))
		default:
			tree[name] = file(name, drawData(rt))
		}
	}
	var members []member
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		members = append(members, tree[name])
	}
	return members
}

func drawData(rt *rapid.T) string {
	size := rapid.SampledFrom([]int{0, 1, 511, 512, 513, 5000}).Draw(rt, "size")
	return strings.Repeat(string(rune('a'+size%26)), size)
}

// TestAnyFlippedByteIsSeen damages an image that was signed otherwise.
func TestAnyFlippedByteIsSeen(t *testing.T) {
	s := openSet(t)
	raw := sample(t)
	rapid.Check(t, func(rt *rapid.T) {
		c := content(raw)
		bad := bytes.Clone(raw)
		bad[rapid.IntRange(0, len(bad)-1).Draw(rt, "byte")] ^= byte(1 << rapid.IntRange(0, 7).Draw(rt, "bit"))
		c.Image = slots.File(bytes.NewReader(bad))
		if stage(t.Context(), s, "a", c) == nil {
			rt.Fatal("staged")
		}
	})
}

// FuzzDecodeEntry: there is one way to write an entry, or none.
func FuzzDecodeEntry(f *testing.F) {
	raw := sample(f)
	f.Add(raw[:512])
	f.Add(image(f, directory("d"))[:512])
	f.Add(image(f, link("l", "x"))[:512])
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) != 512 {
			return
		}
		again, err := slots.DecodeEntry(raw)
		if err == nil && !bytes.Equal(again, raw) {
			t.Errorf("accepted and written otherwise:\n%q\n%q", raw, again)
		}
	})
}

func BenchmarkStage(b *testing.B) {
	s := openSet(b)
	c := content(image(b, file("big", strings.Repeat("0123456789abcdef", 2<<20/16))))
	b.SetBytes(c.Size)
	for b.Loop() {
		if err := stage(b.Context(), s, "a", c); err != nil {
			b.Fatal(err)
		}
	}
}
