package slots_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"

	"slipstream/slots"
)

// TestCloseEndsAStage that is under way, which goes on with the next start.
func TestCloseEndsAStage(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		dir := t.TempDir()
		s := p.open(t, dir)
		raw := p.image(t, 1, 2)
		c := p.content(raw, "d1")
		reads := make(chan struct{})
		c.Image = &hanging{tape{raw: raw}, reads}
		staged := make(chan error, 1)
		go func() {
			_, err := s.Stage(context.Background(), "a", c, slots.StageOptions{})
			staged <- err
		}()
		<-reads
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-staged; !errors.Is(err, context.Canceled) {
			t.Errorf("the stage ended with %v", err)
		}
		if _, err := s.Stage(t.Context(), "a", c, slots.StageOptions{}); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("staged into closed slots: %v", err)
		}
		if err := s.Clear("a"); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("cleared closed slots: %v", err)
		}
		s = p.open(t, dir)
		if got := stateOf(t, s, "a"); got != slots.StateWriting {
			t.Errorf("the slot is %s", got)
		}
		c.Image = slots.File(bytes.NewReader(raw))
		mustStage(t, s, "a", c, slots.StageOptions{})
	})
}

// hanging is a source that gives nothing until it is left.
type hanging struct {
	tape
	reads chan struct{}
}

func (h *hanging) Range(ctx context.Context, _, _ int64) (io.ReadCloser, error) {
	close(h.reads)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestAFlippedChunkIsFetchedOnceMore before the package is refused.
func TestAFlippedChunkIsFetchedOnceMore(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		s := p.open(t, t.TempDir())
		raw := p.image(t, 1, 2)
		for _, flips := range []int{1, 2} {
			c := p.content(raw, "d1")
			source := &flipping{raw: raw, at: int64(len(raw) / 2), flips: flips}
			c.Image = source
			_, err := s.Stage(t.Context(), "a", c, slots.StageOptions{})
			if flips == 1 && err != nil || flips == 2 && !errors.Is(err, slots.ErrContent) {
				t.Errorf("flipped %d times: %v", flips, err)
			}
			if source.flips != 0 {
				t.Errorf("flipped %d times: %d of them were not seen", flips, source.flips)
			}
			if err := s.Clear("a"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// flipping is a source that flips a bit, some times.
type flipping struct {
	raw   []byte
	at    int64
	flips int
}

func (f *flipping) Range(_ context.Context, off, n int64) (io.ReadCloser, error) {
	part := bytes.Clone(f.raw[off : off+n])
	if f.at >= off && f.at < off+n && f.flips > 0 {
		part[f.at-off] ^= 1
		f.flips--
	}
	return io.NopCloser(bytes.NewReader(part)), nil
}
