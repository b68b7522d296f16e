package pack

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"slipstream/verify"
)

// Difference is what an update from one package to another costs.
type Difference struct {
	Images []ImageDifference `json:"images"`
}

// ImageDifference is that of the images of one slot class.
type ImageDifference struct {
	Class      string       `json:"class"`
	Kind       string       `json:"kind"`
	Size       int64        `json:"size"`            // bytes of the new image
	Chunks     int          `json:"chunks"`          // of the new image
	FetchBytes int64        `json:"fetchBytes"`      // of chunks that the old image does not have
	FetchCount int          `json:"fetchCount"`      // of these chunks
	Ranges     int          `json:"ranges"`          // requests, when neighbours are asked for together
	Files      []FileChange `json:"files,omitempty"` // of a tree
}

// FileChange is one file of a tree that is not as it was.
type FileChange struct {
	Change string `json:"change"` // "added", "removed" or "changed"
	Path   string `json:"path"`
	Size   int64  `json:"size"` // of the new file; of a removed one: of the old
}

// Diff compares two packages, both of which should have been checked whole.
func Diff(ctx context.Context, before, after *verify.Package) (Difference, error) {
	var d Difference
	for _, next := range after.Images() {
		line := ImageDifference{Class: next.Image.Class, Kind: next.Image.Kind, Size: next.Image.Size, Chunks: len(next.Chunks)}
		old, _ := before.Image(next.Image.Class)
		line.count(old, next)
		if old != nil && isTree(old) && isTree(next) {
			var err error
			if line.Files, err = diffTrees(ctx, old, next); err != nil {
				return d, err
			}
		}
		d.Images = append(d.Images, line)
	}
	return d, nil
}

func isTree(p *verify.Payload) bool {
	return p.Image.Kind == verify.KindTree && p.Image.Encryption == nil
}

// count goes through the new image's chunks as a device does.
func (d *ImageDifference) count(old, next *verify.Payload) {
	have := map[[32]byte]bool{}
	if old != nil {
		for _, c := range old.Chunks {
			have[c.SHA256] = true
		}
	}
	apart := true // from the chunk fetched before
	for _, c := range next.Chunks {
		if have[c.SHA256] {
			apart = true
			continue
		}
		if apart {
			d.Ranges++
		}
		d.FetchBytes, d.FetchCount, apart = d.FetchBytes+int64(c.Length), d.FetchCount+1, false
	}
}

// treeFile is all that can differ in a tree.
type treeFile struct {
	kind byte
	mode int64
	size int64
	link string
	sum  [32]byte
}

func diffTrees(ctx context.Context, old, next *verify.Payload) ([]FileChange, error) {
	before, err := listTree(ctx, old)
	if err != nil {
		return nil, err
	}
	after, err := listTree(ctx, next)
	if err != nil {
		return nil, err
	}
	var changes []FileChange
	for path, f := range after {
		switch was, ok := before[path]; {
		case !ok:
			changes = append(changes, FileChange{"added", path, f.size})
		case was != f:
			changes = append(changes, FileChange{"changed", path, f.size})
		}
	}
	for path, f := range before {
		if _, ok := after[path]; !ok {
			changes = append(changes, FileChange{"removed", path, f.size})
		}
	}
	slices.SortFunc(changes, func(a, b FileChange) int { return strings.Compare(a.Path, b.Path) })
	return changes, nil
}

// listTree reads and hashes a tree's files; it unpacks nothing.
func listTree(ctx context.Context, p *verify.Payload) (map[string]treeFile, error) {
	files := map[string]treeFile{}
	in := tar.NewReader(&contextReader{ctx, p.Reader()})
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err == nil && len(files) == MaxEntries {
			err = fmt.Errorf("it holds more than %d files", MaxEntries)
		}
		if err != nil {
			return nil, fmt.Errorf("read tree %s: %w", p.Image.Name, err)
		}
		f := treeFile{kind: h.Typeflag, mode: h.Mode, size: h.Size, link: h.Linkname}
		hash := sha256.New()
		if _, err := io.Copy(hash, in); err != nil {
			return nil, fmt.Errorf("read %s of tree %s: %w", h.Name, p.Image.Name, err)
		}
		f.sum = [32]byte(hash.Sum(nil))
		files[h.Name] = f
	}
}
