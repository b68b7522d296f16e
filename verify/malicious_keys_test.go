package verify_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"slipstream/verify"
	"slipstream/verify/pack"
)

var signatures = []malicious{
	{19, "a trusted key's hint, a stranger's signature", verify.CodeUntrusted, func(f *fixture) error {
		return f.withHead(f.replace(signWith(f.t, f.stranger, f.payload), keyID(f.stranger), keyID(f.key)))
	}},
	{19, "a trusted key's keyid, a stranger's signature", verify.CodeUntrusted, func(f *fixture) error {
		head := f.replace(signWith(f.t, f.stranger, f.payload), `"keyid":""`, `"keyid":"`+keyID(f.key)+`"`)
		return f.withHead(head)
	}},
	{19, "a stranger's hint, a trusted key's signature", verify.CodeBundle, func(f *fixture) error {
		return f.bundle(keyID(f.key), keyID(f.stranger))
	}},
	{21, "SHA-1", verify.CodeUntrusted, func(f *fixture) error {
		sum := sha1.Sum(dsse.PAE(verify.PayloadType, f.payload))
		return f.signature(f.signDigest(sum[:]))
	}},
	{21, "SHA-512", verify.CodeUntrusted, func(f *fixture) error {
		sum := sha512.Sum512(dsse.PAE(verify.PayloadType, f.payload))
		return f.signature(f.signDigest(sum[:]))
	}},
	{22, "bytes after the signature's DER", verify.CodeUntrusted, func(f *fixture) error {
		return f.signature(append(f.goodSignature(), 0))
	}},
	{22, "r is zero", verify.CodeUntrusted, func(f *fixture) error {
		_, s := splitDER(f.t, f.goodSignature())
		return f.signature(joinDER(f.t, new(big.Int), s))
	}},
	{22, "r is negative", verify.CodeUntrusted, func(f *fixture) error {
		r, s := splitDER(f.t, f.goodSignature())
		return f.signature(joinDER(f.t, r.Sub(r, elliptic.P256().Params().N), s))
	}},
	{22, "r is above the order", verify.CodeUntrusted, func(f *fixture) error {
		r, s := splitDER(f.t, f.goodSignature())
		return f.signature(joinDER(f.t, r.Add(r, elliptic.P256().Params().N), s))
	}},
	{24, "base64 with a line end", verify.CodeBundle, func(f *fixture) error {
		return f.envelope(func(e *dsse.Envelope) { e.Payload = e.Payload[:8] + "\n" + e.Payload[8:] })
	}},
	{24, "base64 with the URL alphabet", verify.CodeBundle, func(f *fixture) error {
		return f.envelope(func(e *dsse.Envelope) {
			e.Payload = base64.URLEncoding.EncodeToString(append(f.payload, "\xff\xff\xff"...))
		})
	}},
	{24, "base64 without padding", verify.CodeBundle, func(f *fixture) error {
		return f.envelope(func(e *dsse.Envelope) {
			e.Signatures[0].Sig = base64.RawStdEncoding.EncodeToString(oneMoreThanThirds(f.goodSignature()))
		})
	}},
	{24, "base64 with too much padding", verify.CodeBundle, func(f *fixture) error {
		return f.envelope(func(e *dsse.Envelope) { e.Payload += "====" })
	}},
	{24, "base64 with stray bits", verify.CodeBundle, func(f *fixture) error {
		return f.envelope(func(e *dsse.Envelope) { e.Signatures[0].Sig = "MEUCIQB=" })
	}},
	{25, "key taken out of the trust file", verify.CodeUntrusted, func(f *fixture) error {
		return openAll(f.file, trustOf(f.t, f.stranger), f.dev)
	}},
}

var trustFiles = []malicious{
	{20, "P-384 key", verify.CodeTrust, func(f *fixture) error {
		key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		return f.trusting(key.Public(), err)
	}},
	{20, "RSA key", verify.CodeTrust, func(f *fixture) error {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		return f.trusting(key.Public(), err)
	}},
	{20, "Ed25519 key", verify.CodeTrust, func(f *fixture) error {
		pub, _, err := ed25519.GenerateKey(rand.Reader)
		return f.trusting(pub, err)
	}},
	{20, "secp256k1 key", verify.CodeTrust, func(f *fixture) error { return trustPEM("PUBLIC KEY", secp256k1DER(f.t)) }},
	{20, "point that is not on the curve", verify.CodeTrust, func(f *fixture) error {
		der, err := x509.MarshalPKIXPublicKey(f.key.Public())
		if err != nil {
			return err
		}
		der[len(der)-1] ^= 1
		return trustPEM("PUBLIC KEY", der)
	}},
	{23, "private key", verify.CodeTrust, func(f *fixture) error {
		text, err := pack.PrivatePEM(f.key)
		if err != nil {
			return err
		}
		return trustText(text)
	}},
	{23, "certificate", verify.CodeTrust, func(f *fixture) error { return trustPEM("CERTIFICATE", []byte{0x30, 0}) }},
	{23, "the same key twice", verify.CodeTrust, func(f *fixture) error {
		return trustText(join(publicPEM(f.t, f.key), publicPEM(f.t, f.key)))
	}},
	{23, "a damaged key before a good one", verify.CodeTrust, func(f *fixture) error {
		damaged := bytes.Replace(publicPEM(f.t, f.stranger), []byte("END PUBLIC"), []byte("ENT PUBLIC"), 1)
		return trustText(join(damaged, publicPEM(f.t, f.key)))
	}},
	{23, "a key with PEM headers", verify.CodeTrust, func(f *fixture) error {
		return trustText(bytes.Replace(publicPEM(f.t, f.key), []byte("KEY-----\n"), []byte("KEY-----\nRole: root\n\n"), 1))
	}},
	{23, "text behind the keys", verify.CodeTrust, func(f *fixture) error {
		return trustText(append(publicPEM(f.t, f.key), "more"...))
	}},
	{23, "no key", verify.CodeTrust, func(f *fixture) error { return trustText([]byte("# none yet\n")) }},
	{23, "too many keys", verify.CodeTrust, func(f *fixture) error {
		var file []byte
		for range verify.MaxTrustKeys + 1 {
			file = append(file, publicPEM(f.t, newKey(f.t))...)
		}
		return trustText(file)
	}},
}

func (f *fixture) goodSignature() []byte {
	sum := sha256.Sum256(dsse.PAE(verify.PayloadType, f.payload))
	return f.signDigest(sum[:])
}

func (f *fixture) signDigest(sum []byte) []byte {
	f.t.Helper()
	sig, err := ecdsa.SignASN1(rand.Reader, f.key, sum)
	if err != nil {
		f.t.Fatal(err)
	}
	return sig
}

func (f *fixture) trusting(pub crypto.PublicKey, err error) error {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		f.t.Fatal(err)
	}
	return trustPEM("PUBLIC KEY", der)
}

func trustPEM(kind string, der []byte) error {
	return trustText(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func trustText(text []byte) error {
	_, err := verify.ParseTrust(text)
	return err
}

// oneMoreThanThirds appends until base64 needs padding.
func oneMoreThanThirds(b []byte) []byte {
	for len(b)%3 == 0 {
		b = append(b, 0)
	}
	return b
}

func splitDER(t testing.TB, sig []byte) (r, s *big.Int) {
	t.Helper()
	r, s = new(big.Int), new(big.Int)
	in, inner := cryptobyte.String(sig), cryptobyte.String(nil)
	if !in.ReadASN1(&inner, asn1.SEQUENCE) || !inner.ReadASN1Integer(r) || !inner.ReadASN1Integer(s) {
		t.Fatal("the signature is not DER")
	}
	return r, s
}

func joinDER(t testing.TB, r, s *big.Int) []byte {
	t.Helper()
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(r)
		b.AddASN1BigInt(s)
	})
	out, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// secp256k1DER is the public key 1 of a curve that Go does not have.
func secp256k1DER(t testing.TB) []byte {
	t.Helper()
	x, _ := new(big.Int).SetString("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", 16)
	y, _ := new(big.Int).SetString("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8", 16)
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier([]int{1, 2, 840, 10045, 2, 1})
			b.AddASN1ObjectIdentifier([]int{1, 3, 132, 0, 10})
		})
		b.AddASN1BitString(append([]byte{4}, append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)...))
	})
	der, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// The one row of the list that must pass: n-s is as valid as s, and must not
// make another package of it.
func TestMalleatedSignatureKeepsTheDigest(t *testing.T) {
	f := newFixture(t)
	r, s := splitDER(t, f.goodSignature())
	other := joinDER(t, r, s.Sub(elliptic.P256().Params().N, s))
	head := f.spoilt(func(e *dsse.Envelope) { e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(other) })
	if bytes.Equal(head, f.head) {
		t.Fatal("the signature is the same")
	}
	_, want, err := verify.Recheck(f.head, f.trust)
	if err != nil {
		t.Fatal(err)
	}
	if _, got, err := verify.Recheck(head, f.trust); err != nil || got != want {
		t.Errorf("digest %s, error %v; want %s", got, err, want)
	}
}
