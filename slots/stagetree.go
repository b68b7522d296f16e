package slots

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
)

// writeTree writes an image as files.
func (w *writing) writeTree(ctx context.Context, in *supply) error {
	if err := w.slot.Remove(imageName); err != nil {
		return err
	}
	old, err := w.oldTree()
	if err != nil {
		return err
	}
	defer old.Close()
	x := newExtractor(w.content.Size, w.slot, old.root, old.entries)
	x.unsafe = w.before.State != StateStaged
	in.target = earlierTree{guess{old, x}, w.readIndex(w.name), w.resumed}
	pages := &pages{ctx: ctx, in: in, arrived: w.arrived, sum: sha256.New()}
	x.in = pages
	err = x.extract()
	in.close()
	if err == nil {
		err = w.settleTree(ctx, pages)
	}
	if interrupted(err) {
		err = errors.Join(err, w.journal.write(in.off-int64(len(pages.rest))))
	}
	return err
}

// settleTree brings what extract wrote to storage, and reads it back.
func (w *writing) settleTree(ctx context.Context, pages *pages) error {
	if err := pages.finish(w.content.SHA256); err != nil {
		return err
	}
	if err := w.syncDirs(); err != nil {
		return err
	}
	if err := w.compare(ctx, w.name, w.after, fromDisk); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	return nil
}

// oldTree is the tree that is there. One that cannot be read, or that there is
// no room beside, goes first.
func (w *writing) oldTree() (*treeImage, error) {
	root, err := w.openTree(w.name)
	if err == nil {
		t, err := openTreeImage(root)
		if err == nil && w.roomBeside() {
			return t, nil
		}
		t.Close()
	}
	if err := w.slot.Remove(rootName); err != nil {
		return nil, err
	}
	if err := w.slot.Mkdir(rootName); err != nil {
		return nil, err
	}
	if root, err = w.openTree(w.name); err != nil {
		return nil, err
	}
	return &treeImage{root: root}, nil
}

// syncDirs syncs every directory of the tree. The files were, one by one.
func (w *writing) syncDirs() error {
	tree, err := w.openTree(w.name)
	if err != nil {
		return err
	}
	defer tree.Close()
	return fs.WalkDir(tree.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return w.slot.SyncDir(inRoot(path))
	})
}

func (s *Set) openTree(name string) (*os.Root, error) {
	return s.root.OpenRoot(name + "/" + rootName)
}

// pages reads an image chunk by chunk, keeping one in memory.
type pages struct {
	ctx     context.Context
	in      *supply
	arrived func(upTo int64, from Origins) error
	from    Origins // of the chunk being read
	buf     []byte
	rest    []byte // of that chunk
	sum     hash.Hash
}

func (p *pages) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		if err := p.turn(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// turn takes the next chunk in. What was read before it has been written, since
// whoever reads writes before reading on.
func (p *pages) turn() error {
	if err := p.told(); err != nil {
		return err
	}
	if p.in.next == len(p.in.content.Chunks) {
		return io.EOF
	}
	n := int(p.in.content.Chunks[p.in.next].Length)
	if n > cap(p.buf) {
		p.buf = make([]byte, n)
	}
	var err error
	if p.from, err = p.in.fetch(p.ctx, p.buf[:n]); err != nil {
		return err
	}
	p.rest = p.buf[:n]
	p.sum.Write(p.rest)
	return nil
}

func (p *pages) told() error {
	from := p.from
	p.from = Origins{}
	if from == (Origins{}) {
		return nil
	}
	return p.arrived(p.in.off, from)
}

// finish compares the whole. That all chunks are right is not enough: the list
// of chunks is signed by another hash than the image.
func (p *pages) finish(want [32]byte) error {
	if err := p.told(); err != nil {
		return err
	}
	if [32]byte(p.sum.Sum(nil)) != want {
		return fmt.Errorf("%w: its chunks together have another hash", ErrContent)
	}
	return nil
}
