package slots

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// openImageReader opens the image of a slot for reading.
func (s *Set) openImageReader(name string) (*directReader, error) {
	return openDirect(func(flag int) (*os.File, error) { return os.OpenFile(s.imagePath(name), flag, 0) })
}

func (w *writing) openTarget() (diskImage, error) {
	if w.partition != "" {
		return w.slot.Partition(w.partition)
	}
	out, err := w.slot.Image(imageName)
	if err != nil {
		return nil, err
	}
	if err := out.Resize(w.after.fileSize()); err != nil {
		return nil, errors.Join(fmt.Errorf("make room for the image: %w", err), out.Close())
	}
	return out, nil
}

// writeFile writes an image as one file or into a partition.
func (w *writing) writeFile(ctx context.Context, in *supply) error {
	if err := w.slot.Remove(rootName); err != nil {
		return err
	}
	out, err := w.openTarget()
	if err != nil {
		return err
	}
	in.target = w.openEarlier()
	defer func() { closeStore(in.target) }()
	upTo := w.resumed
	err = pour(ctx, in, out, func(n int64, from Origins) error {
		upTo = max(upTo, n)
		return w.arrived(n, from)
	})
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = w.readBack(ctx, w.after)
	}
	if interrupted(err) {
		err = errors.Join(err, w.journal.write(upTo))
	}
	return err
}

// readBack compares what the disk holds with what was signed. That every chunk
// is right is not enough: the list of chunks is signed by another hash than the
// image.
func (w *writing) readBack(ctx context.Context, st state) error {
	w.seen = w.sightOf(w.name, st.Kind)
	err := w.compareImage(ctx, w.name, st)
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	if again := w.compareChunks(ctx); again != nil {
		return fmt.Errorf("read back: %w", again)
	}
	return fmt.Errorf("%w: its chunks together have another hash", ErrContent)
}
