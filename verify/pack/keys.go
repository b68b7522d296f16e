package pack

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"slipstream/verify"
)

// maxKeyFile bounds a private key file in bytes.
const maxKeyFile = 16 << 10

// GenerateKey makes a key that can sign packages.
func GenerateKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// PublicPEM returns the public half, as it stands in a file of trusted keys.
func PublicPEM(pub *ecdsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// PrivatePEM returns the key in PKCS #8.
func PrivatePEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Keygen makes a key and writes its halves to two files. It never overwrites
// one: a lost release key is lost for every device that trusts it.
func Keygen(privatePath, publicPath string) (*ecdsa.PrivateKey, error) {
	key, err := GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	private, err := PrivatePEM(key)
	if err != nil {
		return nil, err
	}
	public, err := PublicPEM(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := writeNew(privatePath, private, 0o600); err != nil {
		return nil, err
	}
	if err := writeNew(publicPath, public, 0o644); err != nil {
		return nil, errors.Join(err, os.Remove(privatePath))
	}
	return key, nil
}

// LoadKey reads a private key file: PEM, PKCS #8, ECDSA P-256.
func LoadKey(path string) (*ecdsa.PrivateKey, error) {
	data, err := readFile(path, "private key", maxKeyFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s holds no PEM block of type PRIVATE KEY", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read private key %s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s is not an ECDSA P-256 key", path)
	}
	return key, nil
}

func writeNew(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is never overwritten; choose another NAME: %w", path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write key: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// LoadPublicKey reads a file with one public key: PEM, ECDSA P-256.
func LoadPublicKey(path string) (*ecdsa.PublicKey, error) {
	data, err := readFile(path, "public key", maxKeyFile)
	if err != nil {
		return nil, err
	}
	// The reader on devices judges, so that what is taken here is taken there.
	trust, err := verify.ParseTrust(data)
	if err != nil {
		return nil, fmt.Errorf("public key %s: %w", path, err)
	}
	if len(trust.KeyIDs()) != 1 {
		return nil, fmt.Errorf("%s holds %d public keys, one is wanted", path, len(trust.KeyIDs()))
	}
	parsed, err := cryptoutils.UnmarshalPEMToPublicKey(data)
	if err != nil {
		return nil, fmt.Errorf("public key %s: %w", path, err)
	}
	return parsed.(*ecdsa.PublicKey), nil // ParseTrust takes no other
}

// OpenPublicKey takes a public key file, or the URI of a key as [OpenSigner] does.
func OpenPublicKey(ctx context.Context, ref string) (*ecdsa.PublicKey, error) {
	if !strings.Contains(ref, uriMark) {
		return LoadPublicKey(ref)
	}
	s, err := OpenSigner(ctx, ref)
	if err != nil {
		return nil, err
	}
	return s.public, nil
}

// signs says whether a signature is a key's over the data.
func signs(public *ecdsa.PublicKey, data, sig []byte) bool {
	sum := sha256.Sum256(data)
	return ecdsa.VerifyASN1(public, sum[:], sig)
}

func encode64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// readFile reads a whole file that may have at most so many bytes.
func readFile(path, what string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("read %s: %s has more than %d bytes", what, path, most)
	}
	return data, nil
}
