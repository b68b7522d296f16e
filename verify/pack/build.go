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
	Dir      string          // becomes the tree image of the live slot
	Manifest verify.Manifest // a template: images are computed, defaults filled in
	Key      *ecdsa.PrivateKey
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
	defer p.tree.Close()
	return p.manifest, p.write(ctx, w)
}

// BuildFile writes the package to outDir, under its [FileName], and returns its
// path. It makes outDir if there is none, but not before it knows that there is
// a package to put there. The file appears whole or not at all.
func BuildFile(ctx context.Context, outDir string, opts Options) (string, error) {
	if err := checkOut(outDir, opts.Dir); err != nil {
		return "", err
	}
	p, err := prepare(ctx, opts)
	if err != nil {
		return "", err
	}
	defer p.tree.Close()
	if err := os.MkdirAll(outDir, 0o755); err != nil {
		return "", fmt.Errorf("make the output directory: %w", err)
	}
	return p.writeFile(ctx, filepath.Join(outDir, FileName(p.manifest)))
}

// prepared is a package of which all is known and signed, and whose image is
// still the directory.
type prepared struct {
	manifest verify.Manifest
	head     []byte
	image    measured
	tree     *tree
}

// prepare opens p.tree, which its caller closes.
func prepare(ctx context.Context, opts Options) (p *prepared, err error) {
	m, err := withDefaults(opts.Manifest)
	if err != nil {
		return nil, err
	}
	t, err := openTree(opts.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if err := checkProgram(opts.Dir, t, m.App); err != nil {
		return nil, err
	}
	image, err := measureTree(ctx, t)
	if err != nil {
		return nil, err
	}
	m.Images = []verify.Image{{
		Name: defaultImage, Class: verify.ClassLive, Kind: verify.KindTree,
		Size: image.size, SHA256: image.sha256,
		Chunks: verify.ChunkIndex{SHA256: sum(image.index), Count: image.count},
	}}
	head, err := signedHead(ctx, m, opts.Key)
	if err != nil {
		return nil, err
	}
	return &prepared{m, head, image, t}, nil
}

func (p *prepared) writeFile(ctx context.Context, name string) (string, error) {
	tmp, err := os.CreateTemp(filepath.Dir(name), extension+"-*")
	if err != nil {
		return "", fmt.Errorf("write package: %w", err)
	}
	defer os.Remove(tmp.Name()) // fails, and may, after the rename
	if err := p.write(ctx, tmp); err != nil {
		return "", errors.Join(err, tmp.Close())
	}
	if err := errors.Join(tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return "", fmt.Errorf("write package: %w", err)
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return "", fmt.Errorf("write package: %w", err)
	}
	return name, nil
}

// signedHead validates before it signs: what a device would refuse is never made.
func signedHead(ctx context.Context, m verify.Manifest, key *ecdsa.PrivateKey) ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if key == nil {
		return nil, errors.New("no key to sign with")
	}
	payload, err := json.Marshal(m.Statement())
	if err != nil {
		return nil, fmt.Errorf("encode statement: %w", err)
	}
	head, err := Sign(ctx, key, payload)
	if err != nil {
		return nil, err
	}
	if len(head) > verify.MaxBundle {
		return nil, fmt.Errorf("the signed manifest has %d bytes, the limit is %d", len(head), verify.MaxBundle)
	}
	return head, nil
}

func (p *prepared) write(ctx context.Context, w io.Writer) error {
	if err := writeMember(w, verify.HeadName, p.head); err != nil {
		return err
	}
	if err := writeMember(w, defaultImage+verify.ChunksSuffix, p.image.index); err != nil {
		return err
	}
	if err := writeHeader(w, defaultImage, p.image.size); err != nil {
		return err
	}
	hash := sha256.New()
	if err := p.tree.writeTo(ctx, io.MultiWriter(w, hash)); err != nil {
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != p.image.sha256 {
		return errors.New("the directory changed while it was packed")
	}
	return writeZeros(w, verify.Padding(p.image.size)+2*verify.Record)
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
