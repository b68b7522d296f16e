package order

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"slipstream/verify"
)

// File is the order for a release as a file, for slipstream-pack attach. Where the fleet's
// root asks for several signatures there are several files, and it is refused: take [Orders.Package].
func (o *Orders) File(ctx context.Context, release string) ([]byte, error) {
	r, err := o.valid(ctx, release)
	if err != nil {
		return nil, err
	}
	if o.newest().Trust().Threshold() > 1 {
		return nil, fmt.Errorf("%w as one file: the fleet's root asks for several signatures, so take the whole package with its order", ErrInvalid)
	}
	return r.Bundles[0], nil // that of a key of the newest root
}

func (o *Orders) valid(ctx context.Context, release string) (record, error) {
	found, err := read[record](ctx, o.cfg.Store, prefix+release)
	switch {
	case err != nil:
		return record{}, err
	case found.rev == 0:
		return record{}, ErrNone
	case !found.value.Until.After(time.Now()):
		return record{}, ErrExpired
	}
	return found.value, nil
}

// Package is a release's package with the newest order and the fleet's roots in it: what
// a stick needs. The caller closes it.
func (o *Orders) Package(ctx context.Context, release string) (*Package, error) {
	r, err := o.valid(ctx, release)
	if err != nil {
		return nil, err
	}
	f, rel, err := o.cfg.Releases.File(ctx, release)
	if err != nil {
		return nil, err
	}
	p, err := o.compose(f, rel.Size, r)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	p.Name, p.file = rel.Name+".slip", f
	return p, nil
}

// Package is read once, from its beginning.
type Package struct {
	io.Reader

	Name string
	Size int64
	file io.Closer
}

// Close closes the file that it is read from.
func (p *Package) Close() error { return p.file.Close() }

// compose puts another head before what follows the head of a package.
func (o *Orders) compose(f io.ReaderAt, size int64, r record) (*Package, error) {
	old, err := verify.Unverified(f, size)
	if err != nil {
		return nil, fmt.Errorf("read the package: %w", err)
	}
	var head bytes.Buffer
	add := func(name string, data []byte) {
		header := verify.Header(name, int64(len(data)))
		head.Write(header[:])
		head.Write(data)
		head.Write(make([]byte, verify.Padding(int64(len(data)))))
	}
	for i, data := range old.Head.Bundles {
		add(numbered("manifest", i), data)
	}
	for _, data := range old.Head.VendorRoots {
		root, err := verify.DraftRoot(data)
		if err != nil {
			return nil, err
		}
		add(fmt.Sprintf("trust/%d.root.json", root.Version()), data)
	}
	for _, root := range o.cfg.Roots[1:] {
		add(fmt.Sprintf("trust/fleet.%d.root.json", root.Version()), root.Bytes())
	}
	for i, data := range r.Bundles {
		add(numbered("trust/order", i), data)
	}
	if head.Len() > verify.MaxHead {
		return nil, fmt.Errorf("%w inside the package: its head would be larger than %d bytes", ErrInvalid, verify.MaxHead)
	}
	from := old.Members[len(old.Members)-1].Offset
	for _, m := range old.Members { // the first one that is signed follows the head
		if m.SHA256 != "" {
			from = m.Offset - verify.Record
			break
		}
	}
	rest := io.NewSectionReader(f, from, size-from)
	return &Package{Reader: io.MultiReader(&head, rest), Size: int64(head.Len()) + size - from}, nil
}

func numbered(document string, i int) string {
	if i == 0 {
		return document + ".sigstore.json"
	}
	return fmt.Sprintf("%s.%d.sigstore.json", document, i+1)
}
