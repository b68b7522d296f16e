package pack_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// secret is an encrypted package, read back, and the plain one.
type secret struct {
	plain, hidden *verify.Package
	file          []byte // the plain package
	gates, other  *age.X25519Identity
	opts          pack.Options
}

func newSecret(t *testing.T) *secret {
	t.Helper()
	dir := t.TempDir()
	noise(t, filepath.Join(dir, "disk"), 300_000)
	s := &secret{opts: options(t, ""), gates: identity(t), other: identity(t)}
	s.opts.Images = []pack.Source{{Kind: verify.KindDisk, Path: filepath.Join(dir, "disk")}}
	s.plain, s.file = build(t, s.opts)
	path := filepath.Join(dir, "secret.slip")
	if err := pack.EncryptFile(t.Context(), path, s.encrypt(t, s.plain)); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left %v behind: %v", left, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.hidden, err = verify.Inspect(bytes.NewReader(data), int64(len(data)), trustOf(t, s.opts)); err != nil {
		t.Fatal(err)
	}
	if err := s.hidden.CheckAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *secret) encrypt(t *testing.T, p *verify.Package) pack.Encrypted {
	t.Helper()
	signer, err := pack.KeySigner(s.opts.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pack.Encrypted{Package: p, Recipients: []age.Recipient{s.gates.Recipient()}, Signers: []*pack.Signer{signer}}
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	i, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestEncryptedImage(t *testing.T) {
	s := newSecret(t)
	image := s.hidden.Images()[0]
	in, err := age.Decrypt(image.Reader(), s.gates)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(s.plain.Images()[0].Reader())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("decrypted, the image is not the one that was packed: %v", err)
	}
	if hidden, err := io.ReadAll(image.Reader()); err != nil || bytes.Contains(hidden, want[:64]) {
		t.Errorf("the image can be read: %v", err)
	}
	if s.hidden.Digest == s.plain.Digest {
		t.Error("both packages have one digest")
	}
	if err := pack.CheckDecrypted(t.Context(), image, []age.Identity{s.other, s.gates}); err != nil {
		t.Error(err)
	}
}

// What is decrypted is compared with what was signed: whoever has the recipient can
// encrypt anything.
func TestDecryptedImageThatWasNotSigned(t *testing.T) {
	s := newSecret(t)
	for name, change := range map[string]func(*verify.Encryption){
		"another hash": func(e *verify.Encryption) { e.SHA256 = strings.Repeat("0", 64) },
		"longer":       func(e *verify.Encryption) { e.Size-- },
		"shorter":      func(e *verify.Encryption) { e.Size++ },
	} {
		image := *s.hidden.Images()[0]
		said := *image.Image.Encryption
		change(&said)
		image.Image.Encryption = &said
		if err := pack.CheckDecrypted(t.Context(), &image, []age.Identity{s.gates}); verify.Code(err) != verify.CodeCorrupt {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := pack.CheckDecrypted(t.Context(), s.hidden.Images()[0], []age.Identity{s.other}); err == nil {
		t.Error("a stranger can read it")
	}
}

func TestDamagedPackageIsNotEncrypted(t *testing.T) {
	s := newSecret(t)
	s.file[len(s.file)-5000] ^= 1
	p, err := verify.Inspect(bytes.NewReader(s.file), int64(len(s.file)), trustOf(t, s.opts))
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "x.slip")
	if err := pack.EncryptFile(t.Context(), out, s.encrypt(t, p)); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) > 0 {
		t.Errorf("left %v behind: %v", left, err)
	}
	nobody := s.encrypt(t, s.plain)
	nobody.Recipients = nil
	if err := pack.EncryptFile(t.Context(), out, nobody); err == nil {
		t.Error("encrypted for nobody")
	}
}
