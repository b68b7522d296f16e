package slots_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/slots"
)

// place is where images of a kind are kept.
type place struct {
	name      string
	kind      string
	partition bool
}

func places() []place {
	return []place{
		{"tree", slots.KindTree, false},
		{"erofs in a file", slots.KindErofs, false},
		{"squashfs in a partition", slots.KindSquashfs, true},
		{"disk in a partition", slots.KindDisk, true},
	}
}

// options makes the partitions, if there are any.
func (p place) options(t testing.TB, dir string) slots.Options {
	t.Helper()
	if !p.partition {
		return slots.Options{}
	}
	o := slots.Options{Partitions: map[string]string{"a": dir + ".a", "b": dir + ".b"}}
	for _, path := range o.Partitions {
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte("old "), partitionSize/4), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

const partitionSize = 8 << 20

func (p place) open(t testing.TB, dir string) *slots.Set {
	t.Helper()
	s, err := slots.Open(dir, p.options(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// image makes an image of the kind, with a seed's content and in the middle of
// it some of another seed.
func (p place) image(t testing.TB, seed, middle uint64) []byte {
	t.Helper()
	one, two, three := noise(seed, 700_001), noise(middle, 100_003), noise(seed+100, 1_300_007)
	if p.kind != slots.KindTree {
		return bytes.Join([][]byte{one, two, three}, nil)
	}
	return image(t, program("app", string(one)), directory("d"), file("d/middle", string(two)), link("l", "app"), file("model", string(three)))
}

func noise(seed uint64, size int) []byte {
	raw := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(raw)
	return raw
}

// content cuts an image where its bytes say so, as packages do, so that what is
// shifted is found again.
func (p place) content(raw []byte, digest string) slots.Content {
	c := slots.Content{
		Digest: digest, Version: "1.0.0", Kind: p.kind, Size: int64(len(raw)), SHA256: sha256.Sum256(raw),
		Image: slots.File(bytes.NewReader(raw)), Manifest: []byte("bundle " + digest),
	}
	for from, i := 0, 0; i < len(raw); i++ {
		if n := i + 1 - from; n == 60_000 || i+1 == len(raw) || n > 5_000 && raw[i] == 0 && raw[i-1]&15 == 7 {
			c.Chunks = append(c.Chunks, slots.Chunk{Length: uint32(n), SHA256: sha256.Sum256(raw[from : i+1])})
			from = i + 1
		}
	}
	return c
}

// tape is a source that notes what was asked of it.
type tape struct {
	raw    []byte
	ranges [][2]int64
	read   func(off int64) error // before each read
}

func (s *tape) Range(_ context.Context, off, n int64) (io.ReadCloser, error) {
	s.ranges = append(s.ranges, [2]int64{off, n})
	return io.NopCloser(&tapeReader{s, off, off + n}), nil
}

type tapeReader struct {
	*tape
	off, end int64
}

func (r *tapeReader) Read(p []byte) (int, error) {
	if r.read != nil {
		if err := r.read(r.off); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.raw[r.off:min(r.end, int64(len(r.raw)))])
	r.off += int64(n)
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func forPlaces(t *testing.T, test func(t *testing.T, p place)) {
	for _, p := range places() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

func mustStage(t testing.TB, s *slots.Set, name string, c slots.Content, o slots.StageOptions) slots.Report {
	t.Helper()
	r, err := s.Stage(t.Context(), name, c, o)
	if err != nil {
		t.Fatal(err)
	}
	if sum := r.Kept + r.Copied + r.Fetched; sum != c.Size {
		t.Fatalf("origins %+v have %d bytes together, the image has %d", r.Origins, sum, c.Size)
	}
	if err := s.Verify(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return r
}

// bytesOf is what a slot that is no tree holds.
func (p place) bytesOf(t testing.TB, dir, name string, size int64) []byte {
	t.Helper()
	path := filepath.Join(dir, name, "image")
	if p.partition {
		path = dir + "." + name
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw[:size]
}

func TestAnImageGoesIntoASlot(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		dir := t.TempDir()
		s := p.open(t, dir)
		raw := p.image(t, 1, 2)
		c := p.content(raw, "d1")
		src := &tape{raw: raw}
		c.Image = src
		var last slots.Progress
		r := mustStage(t, s, "b", c, slots.StageOptions{By: "somebody", Progress: func(now slots.Progress) {
			if now.Done < last.Done || now.Total != c.Size || now.Done != now.Kept+now.Copied+now.Fetched {
				t.Errorf("progress %+v after %+v", now, last)
			}
			last = now
		}})
		if last.Done != c.Size || last.Origins != r.Origins {
			t.Errorf("progress ended with %+v, report %+v", last, r)
		}
		if r.Fetched != c.Size || len(src.ranges) != 1 {
			t.Errorf("report %+v after the ranges %v", r, src.ranges)
		}
		if r.Written < c.Size*9/10 || r.Written > c.Size+20_000 {
			t.Errorf("%d bytes written for an image of %d", r.Written, c.Size)
		}
		if p.kind != slots.KindTree && !bytes.Equal(p.bytesOf(t, dir, "b", c.Size), raw) {
			t.Error("the slot holds something else")
		}
		st, err := s.Status("b")
		if err != nil || st.State != slots.StateStaged || st.Kind != p.kind || st.By != "somebody" || st.StagedAt.IsZero() || st.VerifiedAt.IsZero() || !st.Index {
			t.Errorf("status %+v, %v", st, err)
		}
	})
}

// TestOnlyWhatIsNewIsFetched updates twice, as a device in the field does: each
// time the slot in use holds the version before, and the target the one before
// that.
func TestOnlyWhatIsNewIsFetched(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		s := p.open(t, t.TempDir())
		mustStage(t, s, "a", p.content(p.image(t, 1, 2), "d1"), slots.StageOptions{})

		second := p.image(t, 1, 3)
		c := p.content(second, "d2")
		src := &tape{raw: second}
		c.Image = src
		r := mustStage(t, s, "b", c, slots.StageOptions{InUse: "a"})
		if r.Kept != 0 || r.Fetched > 200_000 || len(src.ranges) > 2 {
			t.Errorf("into an empty slot: %+v after the ranges %v", r, src.ranges)
		}

		third := p.image(t, 1, 4)
		c = p.content(third, "d3")
		src = &tape{raw: third}
		c.Image = src
		r = mustStage(t, s, "a", c, slots.StageOptions{InUse: "b"})
		if r.Kept < c.Size*8/10 || r.Fetched > 200_000 || r.Written > 400_000 {
			t.Errorf("over the version before last: %+v after the ranges %v", r, src.ranges)
		}
		if err := s.Verify(t.Context(), "b"); err != nil {
			t.Errorf("the slot in use: %v", err)
		}
	})
}

func TestStagingAgainWritesNothing(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		dir := t.TempDir()
		s := p.open(t, dir)
		c := p.content(p.image(t, 1, 2), "d1")
		mustStage(t, s, "a", c, slots.StageOptions{By: "one"})
		before, err := os.Stat(filepath.Join(dir, "a", "state.json"))
		if err != nil {
			t.Fatal(err)
		}
		src := &tape{}
		c.Image = src
		if r := mustStage(t, s, "a", c, slots.StageOptions{By: "two"}); r != (slots.Report{Origins: slots.Origins{Kept: c.Size}}) {
			t.Errorf("report %+v", r)
		}
		after, err := os.Stat(filepath.Join(dir, "a", "state.json"))
		if err != nil || !os.SameFile(before, after) || len(src.ranges) != 0 {
			t.Errorf("state file replaced: %v, %v; asked for %v", !os.SameFile(before, after), err, src.ranges)
		}
	})
}

// TestADamagedSlotIsMended: what is still right is not written again.
func TestADamagedSlotIsMended(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		dir := t.TempDir()
		s := p.open(t, dir)
		c := p.content(p.image(t, 1, 2), "d1")
		mustStage(t, s, "a", c, slots.StageOptions{})
		p.damage(t, dir, "a") // which this process is not told
		if r := mustStage(t, s, "a", c, slots.StageOptions{}); r.Fetched == 0 || r.Fetched > 150_000 || r.Written > 150_000 && p.kind != slots.KindTree {
			t.Errorf("report %+v", r)
		}
	})
}

// TestWhatLiesBesideIsMended: the image is whole, and not written again, and the slot
// is staged all the time. So it is with the same package signed by another key.
func TestWhatLiesBesideIsMended(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		dir := t.TempDir()
		s := p.open(t, dir)
		c := p.content(p.image(t, 1, 2), "d1")
		mustStage(t, s, "a", c, slots.StageOptions{})
		again := c
		again.Manifest = []byte("bundle d1 by another key")
		for _, tt := range []struct {
			name   string
			change func(slot string) error
			c      slots.Content
		}{
			{"a damaged head", func(slot string) error { return os.Truncate(filepath.Join(slot, "head.tar"), 3) }, c},
			{"no head", func(slot string) error { return os.Remove(filepath.Join(slot, "head.tar")) }, c},
			{"a torn list of chunks", func(slot string) error { return os.Truncate(filepath.Join(slot, "chunks"), 50) }, c},
			{"no list of chunks", func(slot string) error { return os.Remove(filepath.Join(slot, "chunks")) }, c},
			{"another head", func(string) error { return nil }, again},
		} {
			if err := tt.change(filepath.Join(dir, "a")); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Stat(filepath.Join(dir, "a", "state.json"))
			if r := mustStage(t, s, "a", tt.c, slots.StageOptions{}); r.Kept != c.Size || r.Written == 0 || r.Written > 10_000 {
				t.Errorf("%s: report %+v", tt.name, r)
			}
			if head, err := s.Manifest("a"); err != nil || !bytes.Equal(head, tt.c.Manifest) {
				t.Errorf("%s: the head is %q, %v", tt.name, head, err)
			}
			chunks, err := os.Stat(filepath.Join(dir, "a", "chunks"))
			if err != nil || chunks.Size() != int64(36*len(c.Chunks)) {
				t.Errorf("%s: the list of chunks: %v", tt.name, err)
			}
			if after, _ := os.Stat(filepath.Join(dir, "a", "state.json")); !os.SameFile(before, after) {
				t.Errorf("%s: the state was written", tt.name)
			}
		}
	})
}

// damage changes one byte in what a slot holds.
func (p place) damage(t testing.TB, dir, name string) {
	t.Helper()
	path := filepath.Join(dir, name, "image")
	switch {
	case p.partition:
		path = dir + "." + name
	case p.kind == slots.KindTree:
		path = filepath.Join(dir, name, "root", "app")
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], 300_000); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], 300_000); err != nil {
		t.Fatal(err)
	}
}

// TestTheSlotInUseIsNotTrusted: a chunk that it no longer has is fetched.
func TestTheSlotInUseIsNotTrusted(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		dir := t.TempDir()
		s := p.open(t, dir)
		mustStage(t, s, "a", p.content(p.image(t, 1, 2), "d1"), slots.StageOptions{})
		p.damage(t, dir, "a")
		if r := mustStage(t, s, "b", p.content(p.image(t, 1, 2), "d2"), slots.StageOptions{InUse: "a"}); r.Fetched == 0 || r.Fetched > 200_000 {
			t.Errorf("report %+v", r)
		}
		if err := os.Truncate(filepath.Join(dir, "a", "chunks"), 100); err != nil {
			t.Fatal(err)
		}
		if r := mustStage(t, s, "b", p.content(p.image(t, 9, 2), "d3"), slots.StageOptions{InUse: "a"}); r.Copied != 0 {
			t.Errorf("with a torn index: %+v", r)
		}
	})
}

var errPulled = fmt.Errorf("read: %w", syscall.ENXIO)

// TestAnInterruptedStageGoesOn at whatever byte it was interrupted.
func TestAnInterruptedStageGoesOn(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		dir := t.TempDir()
		s := p.open(t, dir)
		raw := p.image(t, 1, 2)
		mustStage(t, s, "a", p.content(p.image(t, 7, 8), "d0"), slots.StageOptions{})
		for i, cut := range []int64{0, 1, 99_999, 1_000_000, 2_000_000} {
			c := p.content(raw, fmt.Sprintf("d%d", i+1))
			ctx, cancel := context.WithCancel(t.Context())
			c.Image = &tape{raw: raw, read: func(off int64) error {
				if off < cut {
					return nil
				}
				if i%2 == 0 {
					return errPulled
				}
				cancel()
				return ctx.Err()
			}}
			_, err := s.Stage(ctx, "b", c, slots.StageOptions{})
			cancel()
			if i%2 == 0 && (!errors.Is(err, slots.ErrSource) || !errors.Is(err, syscall.ENXIO)) || i%2 == 1 && !errors.Is(err, context.Canceled) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if got := stateOf(t, s, "b"); got != slots.StateWriting {
				t.Fatalf("cut at %d: slot is %s", cut, got)
			}
			if err := s.Verify(t.Context(), "b"); !errors.Is(err, slots.ErrNotStaged) {
				t.Errorf("cut at %d: verify says %v", cut, err)
			}
			s.Close()
			s = p.open(t, dir)
			c.Image = slots.File(bytes.NewReader(raw))
			r := mustStage(t, s, "b", c, slots.StageOptions{})
			if short := cut - r.Kept; short > 60_000 {
				t.Errorf("cut at %d: only %d bytes were kept", cut, r.Kept)
			}
			if r.Written > c.Size-r.Kept+10_000 {
				t.Errorf("cut at %d: %d bytes were written, though %d of %d were there", cut, r.Written, r.Kept, c.Size)
			}
			if err := errors.Join(s.Verify(t.Context(), "a"), s.Clear("b")); err != nil {
				t.Errorf("cut at %d: %v", cut, err)
			}
			expectEmpty(t, s, "b")
		}
	})
}

// TestCancelledWhileItIsReadBack: all is written then, and need not be again.
func TestCancelledWhileItIsReadBack(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		s := p.open(t, t.TempDir())
		c := p.content(p.image(t, 1, 2), "d1")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err := s.Stage(ctx, "a", c, slots.StageOptions{Progress: func(now slots.Progress) {
			if now.Done == now.Total {
				cancel()
			}
		}})
		if got := stateOf(t, s, "a"); !errors.Is(err, context.Canceled) || got != slots.StateWriting {
			t.Fatalf("slot is %s, %v", got, err)
		}
		if r := mustStage(t, s, "a", c, slots.StageOptions{}); r.Kept != c.Size || r.Written > 20_000 {
			t.Errorf("report %+v", r)
		}
	})
}

// TestJournalsThatLie: the journal of another package, and one of this package
// that claims what is not there.
func TestJournalsThatLie(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		dir := t.TempDir()
		s := p.open(t, dir)
		raw := p.image(t, 1, 2)
		for i, journal := range []string{"", "d1\nffffffff\n", "other\n7fffffff\n", "d1\n-1\n", "d1", "d1\nzz\n\n\n", string(make([]byte, 1<<20)), "d1\n7fffffffffffffff\n"} {
			c := p.content(raw, "d1")
			stopped := c
			stopped.Image = &tape{raw: raw, read: func(off int64) error {
				if off > 500_000 {
					return io.ErrClosedPipe
				}
				return nil
			}}
			if err := stage(t.Context(), s, "b", stopped); !errors.Is(err, slots.ErrSource) {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "b", "progress"), []byte(journal), 0o644); err != nil {
				t.Fatal(err)
			}
			mustStage(t, s, "b", c, slots.StageOptions{})
			if i%2 == 0 {
				mustStage(t, s, "b", p.content(p.image(t, 5, 6), "d9"), slots.StageOptions{})
			}
			if err := s.Clear("b"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestWhatIsWrongLeavesNothing: each is refused with its name, the slot is
// empty, and the other is as it was.
func TestWhatIsWrongLeavesNothing(t *testing.T) {
	tests := []struct {
		name   string
		change func(c *slots.Content, raw []byte)
	}{
		{"a chunk with a flipped bit", func(c *slots.Content, raw []byte) {
			raw[1_000_000] ^= 4
		}},
		{"two chunks swapped", func(c *slots.Content, raw []byte) {
			i, n := 0, int64(0)
			for c.Chunks[i].Length != c.Chunks[i+1].Length {
				n += int64(c.Chunks[i].Length)
				if i++; i+2 == len(c.Chunks) { // none of the same length: swap halves of one
					i, n = 0, 0
					break
				}
			}
			m := int64(c.Chunks[i].Length) / 2
			copy(raw[n:], append(bytes.Clone(raw[n+m:n+2*m]), raw[n:n+m]...))
		}},
		{"a chunk missing", func(c *slots.Content, raw []byte) {
			copy(raw, raw[c.Chunks[0].Length:])
		}},
		{"an index with another hash", func(c *slots.Content, _ []byte) { c.Chunks[3].SHA256[0] ^= 1 }},
		{"an index with two entries swapped", func(c *slots.Content, _ []byte) {
			c.Chunks[3], c.Chunks[4] = c.Chunks[4], c.Chunks[3]
		}},
		{"an index with another cut", func(c *slots.Content, _ []byte) {
			c.Chunks[3].Length--
			c.Chunks[4].Length++
		}},
		{"a whole with another hash", func(c *slots.Content, _ []byte) { c.SHA256[0] ^= 1 }},
	}
	forPlaces(t, func(t *testing.T, p place) {
		s := p.open(t, t.TempDir())
		mustStage(t, s, "a", p.content(p.image(t, 1, 2), "d0"), slots.StageOptions{})
		for _, tt := range tests {
			mustStage(t, s, "b", p.content(p.image(t, 5, 6), "d1"), slots.StageOptions{})
			raw := p.image(t, 8, 9)
			c := p.content(raw, "d2")
			tt.change(&c, raw)
			if _, err := s.Stage(t.Context(), "b", c, slots.StageOptions{InUse: "a"}); !errors.Is(err, slots.ErrContent) {
				t.Errorf("%s: %v", tt.name, err)
			}
			expectEmpty(t, s, "b")
			if err := s.Verify(t.Context(), "a"); err != nil {
				t.Errorf("%s: the other slot: %v", tt.name, err)
			}
		}
	})
}

func TestASourceThatEndsEarly(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		s := p.open(t, t.TempDir())
		raw := p.image(t, 1, 2)
		c := p.content(raw, "d1")
		c.Image = slots.File(bytes.NewReader(raw[:500_000]))
		if err := stage(t.Context(), s, "a", c); !errors.Is(err, slots.ErrSource) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
	})
}

// TestASourceThatCannotBeClosed: all that came from it was hashed.
func TestASourceThatCannotBeClosed(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		s := p.open(t, t.TempDir())
		c := p.content(p.image(t, 1, 2), "d1")
		c.Image = unclosable{c.Image}
		mustStage(t, s, "a", c, slots.StageOptions{})
	})
}

type unclosable struct{ slots.Source }

func (s unclosable) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	in, err := s.Source.Range(ctx, off, n)
	return unclosableRange{in}, err
}

type unclosableRange struct{ io.Reader }

func (unclosableRange) Close() error { return errPulled }

// TestVerifyKeepsOthersOut: else it would call damage what is being written.
func TestVerifyKeepsOthersOut(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		s := p.open(t, t.TempDir())
		c := p.content(p.image(t, 1, 2), "d1")
		mustStage(t, s, "a", c, slots.StageOptions{})
		asked := false
		mustStage(t, s, "a", c, slots.StageOptions{Progress: func(slots.Progress) { // has the slot, which is staged
			asked = true
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if err := s.Verify(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("verified while another has the slot: %v", err)
			}
		}})
		if !asked {
			t.Error("no progress was told")
		}
	})
}

// TestRefusedBeforeAnythingIsWritten: the slot is whole afterwards, and as it was.
func TestRefusedBeforeAnythingIsWritten(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		s := p.open(t, t.TempDir())
		mustStage(t, s, "a", p.content(p.image(t, 1, 2), "d1"), slots.StageOptions{})
		before, _ := s.Status("a")
		c := p.content(p.image(t, 3, 4), "d2")
		if r, err := s.Stage(t.Context(), "a", c, slots.StageOptions{InUse: "a"}); !errors.Is(err, slots.ErrInUse) || r != (slots.Report{}) {
			t.Errorf("the slot in use: %+v, %v", r, err)
		}
		large := c
		large.Size, large.Chunks = slots.MaxImage, nil
		for range slots.MaxImage / slots.MaxChunk {
			large.Chunks = append(large.Chunks, slots.Chunk{Length: slots.MaxChunk})
		}
		want := slots.ErrNoSpace
		if p.partition {
			want = slots.ErrTooLarge
			tree := p.content(p.image(t, 3, 4), "d2")
			tree.Kind = slots.KindTree
			if r, err := s.Stage(t.Context(), "a", tree, slots.StageOptions{}); !errors.Is(err, slots.ErrKind) || r.Written != 0 {
				t.Errorf("a tree into a partition: %+v, %v", r, err)
			}
		} else {
			s = p.open(t, smallDisk(t))
			small := p.content(image(t, file("f", "x")), "d1")
			mustStage(t, s, "a", small, slots.StageOptions{})
			before, _ = s.Status("a")
		}
		if r, err := s.Stage(t.Context(), "a", large, slots.StageOptions{}); !errors.Is(err, want) || r.Written != 0 {
			t.Errorf("too large: %+v, %v", r, err)
		}
		if after, _ := s.Status("a"); !cmp.Equal(after, before) {
			t.Errorf("status %+v, before %+v", after, before)
		}
		if err := s.Verify(t.Context(), "a"); err != nil {
			t.Error(err)
		}
	})
}

// TestTwoInstallers of one process: the second waits, and finds the work done;
// or it is cancelled while it waits.
func TestTwoInstallers(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		s := p.open(t, t.TempDir())
		raw := p.image(t, 1, 2)
		c := p.content(raw, "d1")
		begun, proceed := make(chan struct{}), make(chan struct{})
		var once sync.Once
		first := c
		first.Image = &tape{raw: raw, read: func(int64) error {
			once.Do(func() { close(begun) })
			<-proceed
			return nil
		}}
		var group sync.WaitGroup
		var reports [2]slots.Report
		var errs [2]error
		group.Go(func() { reports[0], errs[0] = s.Stage(t.Context(), "b", first, slots.StageOptions{}) })
		<-begun
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Stage(ctx, "b", c, slots.StageOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled while it waits: %v", err)
		}
		group.Go(func() { reports[1], errs[1] = s.Stage(t.Context(), "b", c, slots.StageOptions{}) })
		close(proceed)
		group.Wait()
		if err := errors.Join(errs[:]...); err != nil || reports[0].Fetched != c.Size || reports[1].Written != 0 {
			t.Errorf("reports %+v, %v", reports, err)
		}
	})
}
