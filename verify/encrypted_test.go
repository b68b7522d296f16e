package verify_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// sealed is a package that says, rightly signed, of what is not age's that it is.
func (f *fixture) sealed(image, plain []byte) *verify.Package {
	f.t.Helper()
	var index []byte
	for part := range slices.Chunk(image, verify.MaxChunk) {
		index = append(index, f.half(part)...)
	}
	hash := func(data []byte) string {
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	}
	head := f.sign(f.statement(func(m *verify.Manifest) {
		m.Images[0].Size, m.Images[0].SHA256 = int64(len(image)), hash(image)
		m.Images[0].Chunks = verify.ChunkIndex{SHA256: hash(index), Count: len(index) / len(f.index)}
		m.Images[0].Encryption = &verify.Encryption{Format: verify.EncryptionAge, Size: int64(len(plain)), SHA256: hash(plain)}
	}))
	file := archive(head, index, image)
	p, err := verify.Inspect(bytes.NewReader(file), int64(len(file)), f.trust)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.open(file); verify.Code(err) != verify.CodeEncrypted {
		f.t.Errorf("a device: %v", err)
	}
	return p
}

func encrypted(t *testing.T, plain []byte, to age.Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Who signs and who encrypts may be two, so a signed ciphertext is no better than
// any other one.
func TestCiphertextsThatLie(t *testing.T) {
	f := newFixture(t)
	ours, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	plain := bytes.Repeat([]byte("picture "), 16<<10+10) // two of age's chunks, and a short one
	good := encrypted(t, plain, ours.Recipient())
	passphrase, err := age.NewScryptRecipient("secret")
	if err != nil {
		t.Fatal(err)
	}
	passphrase.SetWorkFactor(10)
	word := base64.RawStdEncoding.EncodeToString(make([]byte, 32))
	stanzas := "age-encryption.org/v1\n" + strings.Repeat("-> X25519 "+word+"\n"+word+"\n", 10_000) + "--- " + word + "\n"
	// The work factor is not known before it is spent: 2^30 would take hours.
	hard := bytes.Replace(encrypted(t, plain, passphrase), []byte(" 10\n"), []byte(" 30\n"), 1)
	tests := []struct {
		name  string
		image []byte
	}{
		{"last chunk cut", good[:len(good)-1]},
		{"last chunk missing", good[:len(good)-len(plain)%(64<<10)-16]},
		{"a bit flipped", slices.Concat(good[:len(good)-100], []byte{good[len(good)-100] ^ 1}, good[len(good)-99:])},
		{"more behind it", append(slices.Clone(good), make([]byte, 100)...)},
		{"for somebody else", encrypted(t, plain, theirs.Recipient())},
		{"another content", encrypted(t, bytes.ToUpper(plain), ours.Recipient())},
		{"a longer content", encrypted(t, append(slices.Clone(plain), 'x'), ours.Recipient())},
		{"a shorter content", encrypted(t, plain[1:], ours.Recipient())},
		{"10 000 stanzas", append([]byte(stanzas), good...)},
		{"a passphrase of 2^30", hard},
		{"not age's", append(slices.Clone(plain), make([]byte, 100)...)},
	}
	check := func(image []byte) error {
		payload, _ := f.sealed(image, plain).Image(verify.ClassLive)
		return pack.CheckDecrypted(t.Context(), payload, []age.Identity{ours})
	}
	for _, test := range tests {
		if err := check(test.image); err == nil {
			t.Errorf("%s: accepted", test.name)
		}
	}
	if err := check(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}
