package slotstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"slipstream/slots"
)

// OpenSet opens the slots that are kept in dir, and closes them with the test.
type OpenSet func(t *testing.T, dir string) *slots.Set

// MakeContent makes an image of the kind under test, another one for each number.
// It has several chunks.
type MakeContent func(t *testing.T, number int) slots.Content

// TestSet is what holds for slots of every kind, wherever their images lie.
func TestSet(t *testing.T, open OpenSet, content MakeContent) {
	t.Parallel()
	for name, test := range map[string]func(*setBench){
		"an empty slot has nothing":               emptySlot,
		"what is staged is whole and stays":       stagedStays,
		"the same again writes nothing":           sameAgain,
		"another version takes the slot's place":  anotherVersion,
		"what is not signed is not staged":        notSigned,
		"what cannot be read leaves nothing":      unreadable,
		"the slot in use is not written":          inUse,
		"a slot can be emptied and used again":    cleared,
		"what is staged can be made available":    available,
		"what is damaged is trusted no more":      distrusted,
		"who looks does not believe":              looked,
		"what a stage has cost is kept":           costKept,
		"names that are none are refused":         badNames,
		"two processes do not have it both":       locked,
		"a claim that is refused changes nothing": refusedClaims,
	} {
		t.Run(name, func(t *testing.T) {
			b := &setBench{T: t, dir: t.TempDir(), open: open, content: content}
			b.s = open(t, b.dir)
			test(b)
		})
	}
}

type setBench struct {
	*testing.T
	dir     string
	open    OpenSet
	content MakeContent
	s       *slots.Set
}

func (b *setBench) stage(name string, c slots.Content) (slots.Report, error) {
	return b.s.Stage(b.Context(), name, c, slots.StageOptions{By: "somebody"})
}

func (b *setBench) mustStage(name string, c slots.Content) slots.Report {
	b.Helper()
	r, err := b.stage(name, c)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// expect says what a slot must hold; an empty digest: nothing that can be used.
func (b *setBench) expect(name, digest string) {
	b.Helper()
	st, err := b.s.Status(name)
	if err != nil {
		b.Fatal(err)
	}
	if digest == "" {
		if _, err := b.s.Manifest(name); !errors.Is(err, slots.ErrNotStaged) || st.State == slots.StateStaged {
			b.Errorf("slot %s is %s, its manifest: %v", name, st.State, err)
		}
		return
	}
	if st.State != slots.StateStaged || st.Digest != digest || st.By != "somebody" || st.StagedAt.IsZero() {
		b.Errorf("slot %s: %+v, want %s", name, st, digest)
	}
	if err := b.s.Verify(b.Context(), name); err != nil {
		b.Errorf("slot %s: %v", name, err)
	}
}

func emptySlot(b *setBench) {
	for _, name := range []string{"a", "b"} {
		st, err := b.s.Status(name)
		if err != nil || st.State != slots.StateEmpty {
			b.Errorf("slot %s: %+v, %v", name, st, err)
		}
		_, manifest := b.s.Manifest(name)
		_, mount := b.s.Mount(b.Context(), name)
		for what, err := range map[string]error{"verify": b.s.Verify(b.Context(), name), "manifest": manifest, "mount": mount} {
			if !errors.Is(err, slots.ErrNotStaged) {
				b.Errorf("%s: got %v, want %v", what, err, slots.ErrNotStaged)
			}
		}
		if err := errors.Join(b.s.Unmount(name), b.s.Clear(name)); err != nil {
			b.Error(err)
		}
	}
}

func stagedStays(b *setBench) {
	c := b.content(b.T, 1)
	r := b.mustStage("a", c)
	if r.Kept+r.Copied+r.Fetched != c.Size {
		b.Errorf("the origins of %+v are not the image's %d bytes", r, c.Size)
	}
	for range 2 {
		b.expect("a", c.Digest)
		b.expect("b", "")
		if got, err := b.s.Manifest("a"); err != nil || !bytes.Equal(got, c.Manifest) {
			b.Errorf("manifest %q, %v", got, err)
		}
		b.reopen()
	}
}

func (b *setBench) reopen() {
	b.Helper()
	if err := b.s.Close(); err != nil {
		b.Fatal(err)
	}
	b.s = b.open(b.T, b.dir)
}

func sameAgain(b *setBench) {
	c := b.content(b.T, 1)
	b.mustStage("a", c)
	c.Image = slots.File(failing{})
	if r := b.mustStage("a", c); r.Written != 0 || r.Kept != c.Size {
		b.Errorf("the report is %+v", r)
	}
	b.expect("a", c.Digest)
}

func anotherVersion(b *setBench) {
	first, second := b.content(b.T, 1), b.content(b.T, 2)
	b.mustStage("a", first)
	b.mustStage("b", first)
	b.mustStage("b", second)
	b.expect("a", first.Digest)
	b.expect("b", second.Digest)
}

func notSigned(b *setBench) {
	b.mustStage("a", b.content(b.T, 1))
	for name, change := range map[string]func(c *slots.Content){
		"a chunk":   func(c *slots.Content) { c.Chunks[len(c.Chunks)/2].SHA256[0] ^= 1 },
		"the image": func(c *slots.Content) { c.SHA256[0] ^= 1 },
		"two chunks": func(c *slots.Content) {
			last := len(c.Chunks) - 1
			c.Chunks[0], c.Chunks[last] = c.Chunks[last], c.Chunks[0]
		},
	} {
		c := b.content(b.T, 2)
		change(&c)
		if _, err := b.stage("b", c); !errors.Is(err, slots.ErrContent) {
			b.Errorf("%s: got %v, want %v", name, err, slots.ErrContent)
		}
		b.expect("b", "")
	}
	b.expect("a", b.content(b.T, 1).Digest)
}

// failing is a source that cannot be read.
type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errors.New("the stick was pulled out") }

// ending is a source that fails after some bytes.
type ending struct {
	slots.Source
	end int64
}

func (e ending) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if off >= e.end {
		return slots.File(failing{}).Range(ctx, off, n)
	}
	return e.Source.Range(ctx, off, min(n, e.end-off))
}

func unreadable(b *setBench) {
	whole := b.content(b.T, 1)
	for _, end := range []int64{0, whole.Size / 2, whole.Size - 1} {
		c := whole
		c.Image = ending{whole.Image, end}
		if _, err := b.stage("a", c); err == nil {
			b.Errorf("staged from %d bytes of %d", end, c.Size)
		}
		b.expect("a", "")
	}
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	if _, err := b.s.Stage(ctx, "a", whole, slots.StageOptions{}); !errors.Is(err, context.Canceled) {
		b.Errorf("called off: got %v", err)
	}
	b.expect("a", "")
	b.mustStage("a", whole)
	b.expect("a", whole.Digest)
}

func inUse(b *setBench) {
	c := b.content(b.T, 1)
	b.mustStage("a", c)
	_, err := b.s.Stage(b.Context(), "a", b.content(b.T, 2), slots.StageOptions{InUse: "a"})
	if !errors.Is(err, slots.ErrInUse) {
		b.Errorf("got %v, want %v", err, slots.ErrInUse)
	}
	b.expect("a", c.Digest)
}

func cleared(b *setBench) {
	c := b.content(b.T, 1)
	b.mustStage("a", c)
	b.mustStage("b", c)
	for range 2 {
		if err := b.s.Clear("a"); err != nil {
			b.Fatal(err)
		}
		b.expect("a", "")
		b.expect("b", c.Digest)
		b.reopen()
	}
	b.mustStage("a", c)
	b.expect("a", c.Digest)
}

// available mounts, where this machine can.
func available(b *setBench) {
	c := b.content(b.T, 1)
	b.mustStage("a", c)
	if err := slots.CanMount(c.Kind); err != nil || c.Kind == slots.KindDisk {
		if _, err := b.s.Mount(b.Context(), "a"); !errors.Is(err, slots.ErrUnprivileged) && !errors.Is(err, slots.ErrUnsupported) {
			b.Errorf("this machine cannot mount %s, and yet: %v", c.Kind, err)
		}
		return
	}
	for i := range 3 {
		if i == 2 {
			if err := b.s.Unmount("a"); err != nil {
				b.Fatal(err)
			}
		}
		root, err := b.s.Mount(b.Context(), "a")
		if err != nil || root != b.s.Root("a") {
			b.Fatalf("got %q, %v", root, err)
		}
		if st, err := b.s.Status("a"); err != nil || st.VerifiedAt.IsZero() && st.Mount != slots.MountVerity {
			b.Errorf("all of it was read, and yet: %+v, %v", st, err)
		}
		b.expect("a", c.Digest)
		b.reopen()
	}
	b.mustStage("a", b.content(b.T, 2)) // unmounts
	if err := b.s.Unmount("a"); err != nil {
		b.Error(err)
	}
	b.expect("a", b.content(b.T, 2).Digest)
}

func badNames(b *setBench) {
	b.mustStage("a", b.content(b.T, 1))
	for _, name := range []string{"", "c", "A", ".", "../a", "a/root"} {
		_, status := b.s.Status(name)
		_, stage := b.stage(name, b.content(b.T, 1))
		_, mount := b.s.Mount(b.Context(), name)
		_, manifest := b.s.Manifest(name)
		for what, err := range map[string]error{
			"status": status, "stage": stage, "mount": mount, "manifest": manifest, "verify": b.s.Verify(b.Context(), name),
			"clear": b.s.Clear(name), "unmount": b.s.Unmount(name),
		} {
			if err == nil {
				b.Errorf("%s of slot %q is no error", what, name)
			}
		}
	}
	b.expect("a", b.content(b.T, 1).Digest)
}

func locked(b *setBench) {
	if _, err := slots.Open(b.dir, slots.Options{}); !errors.Is(err, slots.ErrLocked) {
		b.Errorf("got %v, want %v", err, slots.ErrLocked)
	}
}

func refusedClaims(b *setBench) {
	c := b.content(b.T, 1)
	b.mustStage("a", c)
	for name, change := range map[string]func(c *slots.Content){
		"kind":     func(c *slots.Content) { c.Kind = "zip" },
		"size":     func(c *slots.Content) { c.Size++ },
		"no size":  func(c *slots.Content) { c.Size, c.Chunks = 0, nil },
		"digest":   func(c *slots.Content) { c.Digest = "" },
		"manifest": func(c *slots.Content) { c.Manifest = nil },
		"chunk":    func(c *slots.Content) { c.Chunks[0].Length = slots.MaxChunk + 1 },
	} {
		other := b.content(b.T, 2)
		change(&other)
		if _, err := b.stage("a", other); err == nil {
			b.Errorf("%s: not refused", name)
		}
		b.expect("a", c.Digest)
	}
}
