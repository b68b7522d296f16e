package slots

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Stage writes a version into a slot, replacing what it held. After nil the
// version is whole on disk, and was read back from there. If it was whole
// already, nothing is written but what lies beside it and is not as it comes now.
//
// A content that is refused for what it claims to be, or that has no room,
// changes nothing, and neither does a slot whose files are in use ([ErrBusy]) or
// that is said to be ([ErrInUse]). After any other error the slot holds nothing that could be
// started:
//
//   - A stage that was interrupted, because ctx ended or the source failed
//     ([ErrSource]), leaves what it wrote, and so does a power cut. The next
//     stage of the same package goes on from there. One of another package uses
//     what fits and replaces the rest; Clear releases the space.
//   - After an error that trying again does not cure (the content is not what
//     was signed, the disk is full or fails) the slot is empty and its space
//     free.
//
// The other slot is only ever read. The report says what it has cost, after an
// error too.
func (s *Set) Stage(ctx context.Context, name string, c Content, o StageOptions) (Report, error) {
	report := Report{}
	if err := s.stage(ctx, name, c, o, &report); err != nil {
		return report, fmt.Errorf("slots: stage into slot %s: %w", name, err)
	}
	return report, nil
}

func (s *Set) stage(ctx context.Context, name string, c Content, o StageOptions, report *Report) error {
	if err := checkName(name); err != nil {
		return err
	}
	if name == o.InUse {
		return ErrInUse
	}
	if err := c.check(); err != nil {
		return err
	}
	ctx, end := s.whileOpen(ctx)
	defer end()
	done, err := s.claim(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	w := &writing{
		Set: s, name: name, content: c, options: o, report: report,
		top: tally{s.disk, &report.Written}, partition: s.partitions[name],
		after: state{
			Digest: c.Digest, Version: c.Version, Kind: c.Kind, Size: c.Size, SHA256: hexSum(c.SHA256),
			By: o.By, Verity: c.Verity,
		},
	}
	if o.Progress == nil {
		w.options.Progress = func(Progress) {}
	}
	return w.run(ctx)
}

// writing is one stage under way.
type writing struct {
	*Set
	name      string
	content   Content
	options   StageOptions
	report    *Report
	top       disk   // of the set
	slot      disk   // below it
	partition string // of the slot, if it has one

	before  state // what the slot held; zero if that cannot be read
	after   state // what it is going to hold
	resumed int64 // bytes of the image that an earlier stage has written
	seen    sight // the image before it was read back
	journal *journal
}

func (w *writing) run(ctx context.Context) (err error) {
	w.before, _ = w.readState(w.name)
	whole, err := w.isWhole(ctx)
	if err != nil {
		return err
	}
	if !whole {
		if err := w.makeWay(); err != nil {
			return err
		}
	}
	if w.slot, err = w.top.Sub(w.name); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.slot.Close()) }()
	if whole {
		return w.mendBeside()
	}
	w.forgetVerified(w.name)
	if err := w.markUnusable(); err != nil {
		return err
	}
	err = w.write(ctx)
	if err == nil || interrupted(err) {
		return err
	}
	return errors.Join(err, w.empty(w.name))
}

// makeWay refuses what cannot be written here, before anything is.
func (w *writing) makeWay() error {
	if err := w.checkRoom(); err != nil {
		return err
	}
	return w.release(w.name)
}

// interrupted tells a stage that can go on later from one that failed.
func interrupted(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrSource)
}

// isWhole says whether the slot holds this very version, having read it, unless
// this process has since it was last changed.
func (w *writing) isWhole(ctx context.Context) (bool, error) {
	st, c := w.before, w.content
	if st.State != StateStaged || st.Digest != c.Digest || st.Kind != c.Kind || st.Size != c.Size || st.SHA256 != hexSum(c.SHA256) || !sameTree(st.Verity, c.Verity) {
		return false, nil
	}
	if !w.options.Look && w.unchanged(w.name, c.Kind) {
		return true, w.progress(Origins{Kept: c.Size})
	}
	var err error
	seen := w.sightOf(w.name, c.Kind)
	if c.Kind == KindTree {
		err = w.compare(ctx, w.name, st, fromDisk)
	} else {
		err = w.compareChunks(ctx)
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return false, nil // whatever is wrong with it, it is written anew
	}
	w.setVerified(w.name, seen)
	return true, w.progress(Origins{Kept: c.Size})
}

// markUnusable comes before anything else is written. On a full disk the old
// version makes room for the word that it is gone.
func (w *writing) markUnusable() error {
	err := w.markWriting(w.top, w.name, w.after)
	if errors.Is(err, unix.ENOSPC) {
		if err = w.empty(w.name); err == nil {
			err = w.markWriting(w.top, w.name, w.after)
		}
	}
	if err == nil {
		return nil
	}
	if st, bad := w.readState(w.name); bad == nil && st.State == StateStaged {
		return errors.Join(err, w.slot.Remove(stateName+fresh)) // nothing was changed
	}
	return errors.Join(err, w.empty(w.name))
}

// write does all between the states.
func (w *writing) write(ctx context.Context) error {
	if w.before.State == StateWriting {
		w.resumed = w.readJournal(w.name, w.content.Digest)
	}
	var err error
	if w.journal, err = openJournal(w.slot, w.content.Digest, w.resumed); err != nil {
		return err
	}
	if err := w.progress(Origins{}); err != nil {
		return err
	}
	err = w.writeImage(ctx)
	if err := errors.Join(err, w.journal.file.Close()); err != nil {
		return err
	}
	return w.finish()
}

func (w *writing) writeImage(ctx context.Context) error {
	in := &supply{content: w.content, inUse: w.openInUse(ctx)}
	defer func() { closeStore(in.inUse) }()
	if w.content.Kind == KindTree {
		return w.writeTree(ctx, in)
	}
	return w.writeFile(ctx, in)
}

// progress tells what has come in since it told last.
func (w *writing) progress(more Origins) error {
	w.report.add(more)
	w.options.Progress(Progress{Done: w.report.sum(), Total: w.content.Size, Origins: w.report.Origins})
	return nil
}

// arrived follows each piece that was written.
func (w *writing) arrived(upTo int64, from Origins) error {
	if err := w.journal.note(upTo); err != nil {
		return err
	}
	return w.progress(from)
}

// besides is a file that lies beside the image.
type besides struct {
	name string
	data []byte
}

func (w *writing) beside() []besides {
	return []besides{{chunksName, encodeIndex(w.content.Chunks)}, {manifestName, w.content.Manifest}}
}

// mendBeside replaces what lies beside a whole image and is not as it comes now: it
// was damaged, or the same package was signed by another key since. The slot stays
// staged, since at every instant each file is the one before or the one after.
func (w *writing) mendBeside() error {
	for _, file := range w.beside() {
		have, err := w.readFile(w.name+"/"+file.name, int64(len(file.data)))
		if err == nil && bytes.Equal(have, file.data) {
			continue
		}
		if err := replaceFile(w.slot, file.name, file.data); err != nil {
			return fmt.Errorf("mend %s: %w", file.name, err)
		}
	}
	return nil
}

// finish puts beside the image what belongs to it, and only then says that the
// slot is whole.
func (w *writing) finish() error {
	for _, file := range w.beside() {
		if err := prepareFile(w.slot, file.name, file.data); err != nil {
			return err
		}
		if err := w.slot.Rename(file.name+fresh, file.name); err != nil {
			return err
		}
	}
	if err := w.slot.Remove(journalName); err != nil {
		return err
	}
	if err := w.slot.SyncDir("."); err != nil {
		return err
	}
	cost := *w.report
	w.after.Cost = &cost
	if err := w.markStaged(w.top, w.name, w.after, time.Now()); err != nil {
		return err
	}
	w.setVerified(w.name, w.seen)
	return nil
}
