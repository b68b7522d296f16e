package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"slipstream/verify"
)

// ageExtension ends the name of an encrypted image's member.
const ageExtension = ".age"

// maxIdentities bounds a file of age recipients or identities in bytes.
const maxIdentities = 64 << 10

// ParseRecipient reads an age recipient (age1…), or a file with one on each line.
func ParseRecipient(text string) ([]age.Recipient, error) {
	if !strings.HasPrefix(text, "age1") {
		data, err := readFile(text, "recipients", maxIdentities)
		if err != nil {
			return nil, err
		}
		text = string(data)
	}
	list, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read recipients: %w", err)
	}
	return list, nil
}

// LoadIdentities reads a file of age identities (AGE-SECRET-KEY-1…).
func LoadIdentities(path string) ([]age.Identity, error) {
	data, err := readFile(path, "identities", maxIdentities)
	if err != nil {
		return nil, err
	}
	list, err := age.ParseIdentities(strings.NewReader(string(data)))
	if err != nil {
		return nil, fmt.Errorf("read identities: %w", err)
	}
	return list, nil
}

// Encrypted says what to encrypt.
type Encrypted struct {
	Package    *verify.Package // whose images are taken
	Recipients []age.Recipient // who can read them
	Signers    []*Signer       // sign the new package: its statement is another one
	Unsigned   bool            // nobody signs yet
}

// EncryptFile writes a package with the same manifest and encrypted images. Only
// the images are secret: who carries the package still sees what it is for.
func EncryptFile(ctx context.Context, path string, e Encrypted) (err error) {
	if len(e.Recipients) == 0 {
		return errors.New("nobody is given who could decrypt the images")
	}
	p := &prepared{manifest: e.Package.Manifest}
	defer func() { err = errors.Join(err, p.Close()) }()
	p.manifest.Images = nil
	for _, plain := range e.Package.Images() {
		i, err := encryptImage(ctx, filepath.Dir(path), plain, e.Recipients)
		if err != nil {
			return fmt.Errorf("encrypt image %s: %w", plain.Image.Name, err)
		}
		p.images = append(p.images, i)
		p.manifest.Images = append(p.manifest.Images, i.entry())
	}
	if p.head.Bundles, err = signed(ctx, p.manifest, e.Signers, e.Unsigned); err != nil {
		return err
	}
	return writeWhole(path, func(w io.Writer) error { return p.write(ctx, w) })
}

// encryptImage goes by a file that has no name any more when it returns.
func encryptImage(ctx context.Context, dir string, plain *verify.Payload, to []age.Recipient) (_ *image, err error) {
	if plain.Image.Encryption != nil {
		return nil, errors.New("it is encrypted already")
	}
	tmp, err := os.CreateTemp(dir, "."+plain.Image.Name+"-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name())) }()
	in := &contextReader{ctx, plain.Reader()}
	if err := encryptTo(tmp, in, plain.Image.SHA256, to); err != nil {
		return nil, err
	}
	content, err := openFileImage(tmp.Name())
	if err != nil {
		return nil, err
	}
	m, err := measureContent(ctx, content)
	if err != nil {
		return nil, errors.Join(err, content.Close())
	}
	source := Source{Name: plain.Image.Name + ageExtension, Class: plain.Image.Class, Kind: plain.Image.Kind, Path: tmp.Name()}
	return &image{Source: source, measured: m, content: content, verity: plain.Image.Verity, secret: &verify.Encryption{
		Format: verify.EncryptionAge, Size: plain.Image.Size, SHA256: plain.Image.SHA256,
	}}, nil
}

func encryptTo(w io.Writer, r io.Reader, want string, to []age.Recipient) error {
	out, err := age.Encrypt(w, to...)
	if err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.Copy(out, io.TeeReader(r, hash)); err != nil {
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != want {
		return errors.New("the package is damaged: the image has the wrong content")
	}
	return out.Close()
}

// CheckDecrypted decrypts an image, keeps nothing of it, and compares its size and
// hash with what was signed: age itself does not say who encrypted.
func CheckDecrypted(ctx context.Context, p *verify.Payload, identities []age.Identity) error {
	in, err := age.Decrypt(&contextReader{ctx, p.Reader()}, identities...)
	if err != nil {
		return fmt.Errorf("decrypt image %s: %w", p.Image.Name, err)
	}
	hash := sha256.New()
	want := p.Image.Encryption
	n, err := io.Copy(hash, io.LimitReader(in, want.Size+1))
	if err != nil {
		return fmt.Errorf("decrypt image %s: %w", p.Image.Name, err)
	}
	if n != want.Size || hex.EncodeToString(hash.Sum(nil)) != want.SHA256 {
		return &verify.Error{Code: verify.CodeCorrupt,
			Message: fmt.Sprintf("image %s does not have the content that was signed once it is decrypted", p.Image.Name)}
	}
	return nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
