package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"slices"

	v1 "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore/pkg/signature"
)

// Trust is a set of keys, and how many of them must have signed what a device
// accepts. It comes from a [Root], or from a file of PEM keys: then any one of
// them is enough, and there is no rotation, no revocation and no expiry but by
// changing the file on every device.
// It is immutable and safe for concurrent use. The zero value trusts nobody.
type Trust struct {
	keys      []key
	threshold int
	root      *Root // nil: a file of keys
}

// key adapts a sigstore verifier to go-securesystemslib's dsse.
type key struct {
	signature.Verifier
	id string
}

func (k key) Verify(_ context.Context, data, sig []byte) error {
	return k.VerifySignature(bytes.NewReader(sig), bytes.NewReader(data))
}

func (k key) KeyID() (string, error) { return k.id, nil }

func (k key) Public() crypto.PublicKey {
	pub, err := k.PublicKey()
	if err != nil {
		return nil
	}
	return pub
}

// LoadTrust reads a vendor's root, or a file of PEM public keys.
func LoadTrust(path string) (*Trust, error) {
	data, err := readTrustFile(path)
	if err != nil {
		return nil, err
	}
	parse := ParseTrust
	if bytes.HasPrefix(data, []byte("{")) {
		parse = vendorTrust
	}
	trust, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("verify: %s: %w", path, err)
	}
	return trust, nil
}

// LoadFleet reads the root of the fleet that a device belongs to.
func LoadFleet(path string) (*Root, error) {
	data, err := readTrustFile(path)
	if err != nil {
		return nil, err
	}
	r, err := ParseRoot(data)
	if err == nil && r.terms.Kind != KindFleet {
		err = refuse(CodeRoot, "it is a %s's root, not a fleet's", r.terms.Kind)
	}
	if err != nil {
		return nil, fmt.Errorf("verify: %s: %w", path, err)
	}
	return r, nil
}

func vendorTrust(data []byte) (*Trust, error) {
	r, err := ParseRoot(data)
	if err != nil {
		return nil, err
	}
	if r.terms.Kind != KindVendor {
		return nil, refuse(CodeRoot, "it is a %s's root, not a vendor's", r.terms.Kind)
	}
	return r.release, nil
}

func readTrustFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("verify: read trusted keys: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxTrustFile+1)) // the parsers refuse the byte too many
	if err != nil {
		return nil, fmt.Errorf("verify: read trusted keys: %w", err)
	}
	return data, nil
}

// ParseTrust reads PEM blocks of type PUBLIC KEY, each an ECDSA P-256 key.
// Between them only blank lines and lines that start with # may stand, so that
// a damaged key is an error and never a key silently left out.
func ParseTrust(data []byte) (*Trust, error) {
	if len(data) > MaxTrustFile {
		return nil, refuse(CodeTrust, "the file of trusted keys is larger than %d bytes", MaxTrustFile)
	}
	t := &Trust{threshold: 1}
	for rest := skipComments(data); len(rest) > 0; rest = skipComments(rest) {
		block, tail := nextKey(rest)
		if block == nil {
			return nil, refuse(CodeTrust, "the file of trusted keys holds something else than PEM public keys")
		}
		k, err := parseKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		if t.has(k.id) {
			return nil, refuse(CodeTrust, "the file of trusted keys lists key %s twice", k.id)
		}
		if len(t.keys) == MaxTrustKeys {
			return nil, refuse(CodeTrust, "the file of trusted keys holds more than %d keys", MaxTrustKeys)
		}
		t.keys = append(t.keys, k)
		rest = tail
	}
	if len(t.keys) == 0 {
		return nil, refuse(CodeTrust, "the file of trusted keys is empty")
	}
	return t, nil
}

// Root is the root that the keys are from, nil if they are from a file of keys.
func (t *Trust) Root() *Root { return t.root }

// Threshold is how many of the keys must have signed.
func (t *Trust) Threshold() int { return t.threshold }

func (t *Trust) has(id string) bool {
	return slices.ContainsFunc(t.keys, func(k key) bool { return k.id == id })
}

// KeyIDs lists the trusted keys by their ids.
func (t *Trust) KeyIDs() []string {
	ids := make([]string, 0, len(t.keys))
	for _, k := range t.keys {
		ids = append(ids, k.id)
	}
	return ids
}

func skipComments(data []byte) []byte {
	for {
		data = bytes.TrimLeft(data, " \t\r\n")
		if len(data) == 0 || data[0] != '#' {
			return data
		}
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
}

// nextKey decodes the PEM block that data begins with. pem.Decode alone would
// skip a damaged block and return the next one.
func nextKey(data []byte) (*pem.Block, []byte) {
	begin, end := []byte("-----BEGIN PUBLIC KEY-----"), []byte("-----END PUBLIC KEY-----")
	if !bytes.HasPrefix(data, begin) {
		return nil, nil
	}
	n := bytes.Index(data, end)
	if n < 0 || bytes.Contains(data[len(begin):n], []byte("-----")) {
		return nil, nil
	}
	n += len(end)
	block, _ := pem.Decode(data[:n])
	if block == nil || len(block.Headers) > 0 {
		return nil, nil
	}
	return block, data[n:]
}

// allowed is the list of signature algorithms: one.
var allowed = []v1.PublicKeyDetails{v1.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256}

func parseKey(der []byte) (key, error) {
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return key{}, refuse(CodeTrust, "the file of trusted keys holds a public key that cannot be read")
	}
	registry, err := signature.NewAlgorithmRegistryConfig(allowed)
	if err != nil {
		return key{}, fmt.Errorf("list allowed algorithms: %w", err)
	}
	if ok, err := registry.IsAlgorithmPermitted(pub, crypto.SHA256); err != nil || !ok {
		return key{}, refuse(CodeTrust, "the file of trusted keys holds a key that is not ECDSA P-256")
	}
	id, err := KeyID(pub.(*ecdsa.PublicKey))
	if err != nil {
		return key{}, err
	}
	verifier, err := signature.LoadVerifier(pub, crypto.SHA256)
	if err != nil {
		return key{}, refuse(CodeTrust, "the file of trusted keys holds a key that cannot be used: %v", err)
	}
	return key{Verifier: verifier, id: id}, nil
}

// KeyID names a public key as sigstore's own tools do in a bundle's hint: the
// base64 SHA-256 of its DER form. By hand:
//
//	openssl pkey -pubin -in key.pub -outform DER | openssl dgst -sha256 -binary | base64
func KeyID(pub *ecdsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}
