package slots

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Stage writes a version into a slot, replacing what it held. After nil the
// version is whole on disk. After an error the slot is empty, its space is free,
// and the other slot is untouched; a content that is refused for what it claims
// to be changes nothing at all, and neither does a slot in use (ErrBusy).
//
// The report says what it has cost, after an error too.
func (s *Set) Stage(ctx context.Context, name string, c Content, o StageOptions) (Report, error) {
	if err := checkName(name); err != nil {
		return Report{}, err
	}
	if err := c.check(); err != nil {
		return Report{}, fmt.Errorf("slots: stage into slot %s: %w", name, err)
	}
	s.busy[name].Lock()
	defer s.busy[name].Unlock()
	report := Report{}
	if err := s.release(name); err != nil {
		return report, fmt.Errorf("slots: stage into slot %s: %w", name, err)
	}
	if err := s.stage(ctx, name, c, o, &report); err != nil {
		return report, fmt.Errorf("slots: stage into slot %s: %w", name, errors.Join(err, s.empty(name)))
	}
	return report, nil
}

func (s *Set) stage(ctx context.Context, name string, c Content, o StageOptions, report *Report) error {
	st := state{Digest: c.Digest, Version: c.Version, Kind: c.Kind, Size: c.Size, SHA256: hexSum(c.SHA256), By: o.By, Verity: c.Verity}
	if err := s.markWriting(name, st); err != nil {
		return err
	}
	if err := s.removeFiles(name); err != nil {
		return err
	}
	if err := s.write(ctx, name, c, o, report); err != nil {
		return err
	}
	if err := s.compare(ctx, name, st, fromDisk); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	return s.markStaged(name, st, time.Now())
}

// write puts everything on disk and syncs it.
func (s *Set) write(ctx context.Context, name string, c Content, o StageOptions, report *Report) error {
	slot, err := s.disk.Sub(name)
	if err != nil {
		return err
	}
	defer slot.Close()
	if err := slot.Mkdir(rootName); err != nil {
		return err
	}
	root, err := slot.Sub(rootName)
	if err != nil {
		return err
	}
	defer root.Close()
	image := newImageReader(ctx, c, o.Progress, report)
	if err := extract(image, c.Size, root); err != nil {
		return err
	}
	if err := image.finish(); err != nil {
		return err
	}
	if err := s.syncDirs(name, root); err != nil {
		return err
	}
	if err := writeFile(slot, manifestName, fileMode, c.Manifest); err != nil {
		return err
	}
	return slot.SyncDir(".")
}

// syncDirs syncs every directory of the tree. The files were, one by one.
func (s *Set) syncDirs(name string, root disk) error {
	tree, err := s.openTree(name)
	if err != nil {
		return err
	}
	defer tree.Close()
	return fs.WalkDir(tree.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return root.SyncDir(path)
	})
}

func (s *Set) openTree(name string) (*os.Root, error) {
	return s.root.OpenRoot(name + "/" + rootName)
}
