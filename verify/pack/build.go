package pack

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"slipstream/verify"
)

// Options say what to build.
type Options struct {
	Dir      string            // becomes the tree image of the live slot; "" if Images have it
	Images   []Source          // further images, in the order of the package
	Manifest verify.Manifest   // a template: images are computed, defaults filled in
	Key      *ecdsa.PrivateKey // signs
	Signers  []*Signer         // sign too
	Unsigned bool              // nobody signs yet: see [File.Sign]
	NoVerity bool              // file systems get no hash tree
}

func (o Options) sources() []Source {
	if o.Dir == "" {
		return o.Images
	}
	return append([]Source{{Name: defaultImage, Class: verify.ClassLive, Kind: verify.KindTree, Path: o.Dir}}, o.Images...)
}

func (o Options) signers() ([]*Signer, error) {
	if o.Key == nil {
		return o.Signers, nil
	}
	s, err := KeySigner(o.Key)
	return append([]*Signer{s}, o.Signers...), err
}

// FileName is how a package's file is called: PRODUCT-VERSION.slip.
func FileName(m verify.Manifest) string { return m.Product + "-" + m.Version + extension }

const extension = ".slip"

// Build writes a package to w and returns the manifest as it was signed.
func Build(ctx context.Context, w io.Writer, opts Options) (verify.Manifest, error) {
	p, err := prepare(ctx, opts)
	if err != nil {
		return verify.Manifest{}, err
	}
	defer p.Close()
	return p.manifest, p.write(ctx, w)
}

// BuildFile writes the package to outDir, under its [FileName], and returns its
// path. It makes outDir if there is none, but not before it knows that there is
// a package to put there. The file appears whole or not at all.
func BuildFile(ctx context.Context, outDir string, opts Options) (string, error) {
	for _, source := range opts.sources() {
		if err := checkOut(outDir, source.Path); err != nil {
			return "", err
		}
	}
	p, err := prepare(ctx, opts)
	if err != nil {
		return "", err
	}
	defer p.Close()
	if err := os.MkdirAll(outDir, 0o755); err != nil {
		return "", fmt.Errorf("make the output directory: %w", err)
	}
	path := filepath.Join(outDir, FileName(p.manifest))
	return path, writeWhole(path, func(w io.Writer) error { return p.write(ctx, w) })
}

// prepared is a package of which all is known and signed, and whose images are
// still where they came from.
type prepared struct {
	manifest verify.Manifest
	head     verify.Head
	images   []*image
}

// Close forgets the images.
func (p *prepared) Close() error {
	var errs []error
	for _, i := range p.images {
		errs = append(errs, i.content.Close())
	}
	return errors.Join(errs...)
}

// prepare opens the images, which its caller closes.
func prepare(ctx context.Context, opts Options) (_ *prepared, err error) {
	m, err := withDefaults(opts.Manifest)
	if err != nil {
		return nil, err
	}
	signers, err := opts.signers()
	if err != nil {
		return nil, err
	}
	p := &prepared{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	for _, source := range opts.sources() {
		if err := p.add(ctx, source, m, !opts.NoVerity); err != nil {
			return nil, err
		}
	}
	m.Images = nil
	for _, i := range p.images {
		m.Images = append(m.Images, i.entry())
	}
	p.manifest = m
	p.head.Bundles, err = signed(ctx, m, signers, opts.Unsigned)
	return p, err
}

// add opens and measures one image.
func (p *prepared) add(ctx context.Context, source Source, m verify.Manifest, tree bool) error {
	source, err := source.withDefaults()
	if err != nil {
		return err
	}
	content, err := source.open(ctx, m.App)
	if err != nil {
		return err
	}
	i := &image{Source: source, content: content}
	p.images = append(p.images, i)
	var guarded *guardedImage
	if tree && (source.Kind == verify.KindErofs || source.Kind == verify.KindSquashfs) {
		guarded = &guardedImage{content: content, salt: veritySalt(m.Product)}
		i.content = guarded
	}
	if i.measured, err = measureContent(ctx, i.content); err != nil {
		return err
	}
	if guarded != nil {
		i.verity = new(verify.Verity(guarded.params))
	}
	return nil
}

// signed validates before it signs: what a device would refuse is never made.
func signed(ctx context.Context, m verify.Manifest, signers []*Signer, unsigned bool) ([][]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if len(signers) == 0 && !unsigned {
		return nil, errors.New("no key to sign with")
	}
	payload, err := json.Marshal(m.Statement())
	if err != nil {
		return nil, fmt.Errorf("encode statement: %w", err)
	}
	none, err := unsignedBundle(payload)
	if err != nil {
		return nil, fmt.Errorf("encode statement: %w", err)
	}
	f := &File{Payload: payload, Head: verify.Head{Bundles: [][]byte{none}}}
	for _, s := range signers {
		if err := f.Sign(ctx, s); err != nil {
			return nil, err
		}
	}
	return f.Head.Bundles, nil
}

func (p *prepared) write(ctx context.Context, w io.Writer) error {
	if err := writeHead(w, p.head); err != nil {
		return err
	}
	for _, i := range p.images {
		if err := i.write(ctx, w); err != nil {
			return err
		}
	}
	return writeZeros(w, 2*verify.Record)
}

func (i *image) write(ctx context.Context, w io.Writer) error {
	if err := writeMember(w, i.Name+verify.ChunksSuffix, i.index); err != nil {
		return err
	}
	if err := writeHeader(w, i.Name, i.size); err != nil {
		return err
	}
	hash := sha256.New()
	if err := i.content.writeTo(ctx, io.MultiWriter(w, hash)); err != nil {
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != i.sha256 {
		return fmt.Errorf("%s changed while it was packed", i.Path)
	}
	return writeZeros(w, verify.Padding(i.size))
}

func writeMember(w io.Writer, name string, data []byte) error {
	if err := writeHeader(w, name, int64(len(data))); err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return writeZeros(w, verify.Padding(int64(len(data))))
}

func writeHeader(w io.Writer, name string, size int64) error {
	h := verify.Header(name, size)
	if _, err := w.Write(h[:]); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func writeZeros(w io.Writer, n int64) error {
	if _, err := w.Write(make([]byte, n)); err != nil {
		return fmt.Errorf("write padding: %w", err)
	}
	return nil
}
