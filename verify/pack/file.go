package pack

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"slipstream/verify"
)

// File is a package whose head can be changed: signatures, roots and orders are
// put in, the statement and the images stay. It may be one that nobody has signed
// yet. Nobody's signature is judged here.
type File struct {
	Manifest verify.Manifest
	Payload  []byte // the statement
	Digest   string // the package's
	Head     verify.Head

	file *os.File
	rest *io.SectionReader // from the first image's header to the end
}

// OpenFile reads a package's head. The caller closes the file.
func OpenFile(path string) (f *File, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f = &File{file: file}
	end, err := f.readHead(info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.rest = io.NewSectionReader(file, end, info.Size()-end)
	if err := f.readStatement(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// errNotPackage has one sentence for all that does not begin as packages do.
var errNotPackage = errors.New("it is not a Slipstream package")

// readHead returns where the first image's header stands.
func (f *File) readHead(size int64) (end int64, err error) {
	for range verify.MaxSignatures + verify.MaxTrust + 1 {
		var h [verify.Record]byte
		if _, err := f.file.ReadAt(h[:], end); err != nil {
			return 0, errNotPackage
		}
		name, n, ok := splitHeader(h)
		if !ok {
			return 0, errNotPackage
		}
		if n > verify.MaxBundle || end+verify.Record+n > size {
			break // no file of a head
		}
		data := make([]byte, n)
		if _, err := f.file.ReadAt(data, end+verify.Record); err != nil {
			return 0, err
		}
		if !take(&f.Head, name, data) {
			break
		}
		end += verify.Record + n + verify.Padding(n)
	}
	if len(f.Head.Bundles) == 0 {
		return 0, errNotPackage
	}
	return end, nil
}

// splitHeader reads the name and size out of a header, which must be the one that
// they make.
func splitHeader(h [verify.Record]byte) (name string, size int64, ok bool) {
	raw, _, _ := bytes.Cut(h[:100], []byte{0})
	name = string(raw)
	if _, err := fmt.Sscanf(string(h[124:135]), "%o", &size); err != nil || size < 0 {
		return "", 0, false
	}
	return name, size, verify.Header(name, size) == h
}

// readStatement takes the manifest as devices do: what they would refuse for its
// own sake is not worth a signature.
func (f *File) readStatement() error {
	_, payload, err := openBundle(f.Head.Bundles[0])
	if err != nil {
		return err
	}
	f.Payload, f.Digest = payload, sum(payload)
	// It may not be signed yet, or in a way that this program does not check: the
	// reader of stored bundles is shown a bundle of the right shape.
	shape, err := encodeBundle(&verify.PublicKey{}, verify.PayloadType, payload, oneSignature([]byte("nobody")))
	if err != nil {
		return err
	}
	f.Manifest, err = verify.Known(shape, f.Digest)
	return err
}

// Unsigned says that nobody has signed the package yet.
func (f *File) Unsigned() bool {
	b, _, err := openBundle(f.Head.Bundles[0])
	return err == nil && len(b.DSSE.Signatures) == 0
}

// Hints are the ids of the keys that the signature files name, "" for one that
// names none, [verify.KeylessSigner] for one of an identity. It is their own word.
func (f *File) Hints() []string {
	var hints []string
	for _, data := range f.Head.Bundles {
		b, _, err := openBundle(data)
		switch {
		case err != nil || len(b.DSSE.Signatures) != 1:
		case b.VerificationMaterial.PublicKey != nil:
			hints = append(hints, b.VerificationMaterial.PublicKey.Hint)
		default:
			hints = append(hints, verify.KeylessSigner)
		}
	}
	return hints
}

// SignedBy says whether a key has signed the package.
func (f *File) SignedBy(public *ecdsa.PublicKey) bool {
	return slices.ContainsFunc(f.Head.Bundles, func(data []byte) bool {
		b, payload, err := openBundle(data)
		if err != nil || len(b.DSSE.Signatures) != 1 {
			return false
		}
		sig, err := base64.StdEncoding.DecodeString(b.DSSE.Signatures[0].Sig)
		return err == nil && signs(public, PAE(payload), sig)
	})
}

// Save writes the package, with its head as it is now, to a path, which may be
// the one that it was opened at. The file appears whole or not at all.
func (f *File) Save(path string) error {
	return writeWhole(path, func(w io.Writer) error {
		if err := writeHead(w, f.Head); err != nil {
			return err
		}
		if _, err := f.rest.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(w, f.rest); err != nil {
			return fmt.Errorf("copy the images: %w", err)
		}
		return nil
	})
}

// writeWhole makes a file by way of another one beside it.
func writeWhole(path string, write func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name()) // fails, and may, after the rename
	if err := write(tmp); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := errors.Join(tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// ReplaceFile writes a small file whole or not at all.
func ReplaceFile(path string, data []byte) error {
	return writeWhole(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// ReadFile reads a signature, a bundle, a root or an order.
func ReadFile(path string) ([]byte, error) { return readFile(path, "file", verify.MaxBundle) }
