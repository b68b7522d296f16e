package pack

import (
	"archive/tar"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"slipstream/verify"
)

// Options say what to build.
type Options struct {
	Dir      string          // becomes the tree image of the live slot
	Manifest verify.Manifest // a template: images are computed, defaults filled in
	Key      *ecdsa.PrivateKey
}

// FileName is how a package's file is called: NAME-VERSION.slip.
func FileName(m verify.Manifest) string { return m.Product + "-" + m.Version + ".slip" }

// Build writes a package to w and returns the manifest as it was signed.
func Build(ctx context.Context, w io.Writer, opts Options) (verify.Manifest, error) {
	m, err := build(ctx, w, opts)
	if err != nil {
		return verify.Manifest{}, fmt.Errorf("pack: %w", err)
	}
	return m, nil
}

// BuildFile writes the package to outDir, under its [FileName], and returns its
// path. The file appears whole or not at all.
func BuildFile(ctx context.Context, outDir string, opts Options) (string, error) {
	tmp, err := os.CreateTemp(outDir, ".slip-*")
	if err != nil {
		return "", fmt.Errorf("pack: %w", err)
	}
	defer os.Remove(tmp.Name()) // fails, and may, after the rename
	m, err := Build(ctx, tmp, opts)
	if err != nil {
		return "", errors.Join(err, tmp.Close())
	}
	if err := errors.Join(tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return "", fmt.Errorf("pack: %w", err)
	}
	name := filepath.Join(outDir, FileName(m))
	if err := os.Rename(tmp.Name(), name); err != nil {
		return "", fmt.Errorf("pack: %w", err)
	}
	return name, nil
}

func build(ctx context.Context, w io.Writer, opts Options) (verify.Manifest, error) {
	m, err := withDefaults(opts.Manifest)
	if err != nil {
		return m, err
	}
	t, err := openTree(opts.Dir)
	if err != nil {
		return m, err
	}
	defer t.Close()
	if err := checkProgram(t, m.App); err != nil {
		return m, err
	}
	image, err := measureTree(ctx, t)
	if err != nil {
		return m, err
	}
	m.Images = []verify.Image{{
		Name: defaultImage, Class: verify.ClassLive, Kind: verify.KindTree,
		Size: image.size, SHA256: image.sha256,
		Chunks: verify.ChunkIndex{SHA256: sum(image.index), Count: image.count},
	}}
	head, err := signedHead(ctx, m, opts.Key)
	if err != nil {
		return m, err
	}
	return m, writePackage(ctx, w, head, image, t)
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

func writePackage(ctx context.Context, w io.Writer, head []byte, image measured, t *tree) error {
	if err := writeMember(w, verify.HeadName, head); err != nil {
		return err
	}
	if err := writeMember(w, defaultImage+verify.ChunksSuffix, image.index); err != nil {
		return err
	}
	if err := writeHeader(w, defaultImage, image.size); err != nil {
		return err
	}
	hash := sha256.New()
	if err := t.writeTo(ctx, io.MultiWriter(w, hash)); err != nil {
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != image.sha256 {
		return errors.New("the directory changed while it was packed")
	}
	return writeZeros(w, verify.Padding(image.size)+2*verify.Record)
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

// checkProgram finds the commonest mistake before a camera does.
func checkProgram(t *tree, app *verify.App) error {
	if app == nil || len(app.Exec) == 0 || path.IsAbs(app.Exec[0]) {
		return nil
	}
	e, ok := t.find(path.Clean(app.Exec[0]))
	if !ok {
		return fmt.Errorf("app.exec starts %q, which is not in the directory", app.Exec[0])
	}
	if e.kind == tar.TypeDir || e.kind == tar.TypeReg && !e.exec {
		return fmt.Errorf("app.exec starts %q, which is not an executable file", app.Exec[0])
	}
	return nil
}
