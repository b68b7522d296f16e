package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const (
	rootLife    = 20 * 365 * 24 * time.Hour
	issuingLife = 10 * 365 * 24 * time.Hour
	// backdated is for peers whose clock is behind.
	backdated = 24 * time.Hour
	maxFile   = 64 << 10
)

// generation is one root with what signs for it.
type generation struct {
	number  int
	root    *x509.Certificate
	issuing *x509.Certificate
	key     *ecdsa.PrivateKey // of issuing
}

// makeGeneration writes a generation into a directory that has none.
func makeGeneration(dir string, number int, now time.Time) error {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	issuingKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	root := authority(fmt.Sprintf("Slipstream panel, root %d", number), now, rootLife)
	root.MaxPathLen = 1
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return err
	}
	if root, err = x509.ParseCertificate(rootDER); err != nil {
		return err
	}
	issuing := authority(fmt.Sprintf("Slipstream panel, issuing %d", number), now, issuingLife)
	issuing.MaxPathLenZero = true
	issuingDER, err := x509.CreateCertificate(rand.Reader, issuing, root, issuingKey.Public(), rootKey)
	if err != nil {
		return err
	}
	return errors.Join(
		writeKey(filepath.Join(dir, "root.key"), rootKey), writePEM(filepath.Join(dir, "root.pem"), "CERTIFICATE", rootDER),
		writeKey(filepath.Join(dir, "issuing.key"), issuingKey), writePEM(filepath.Join(dir, "issuing.pem"), "CERTIFICATE", issuingDER),
	)
}

func authority(name string, now time.Time, life time.Duration) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// serial has 126 random bits.
func serial() *big.Int {
	var raw [16]byte
	rand.Read(raw[:])
	raw[0] = raw[0]&0x3f | 0x20 // positive, and always as long
	return new(big.Int).SetBytes(raw[:])
}

func readGeneration(dir string, number int) (g generation, err error) {
	g.number = number
	if g.root, err = readCertificate(filepath.Join(dir, "root.pem")); err != nil {
		return generation{}, err
	}
	if g.issuing, err = readCertificate(filepath.Join(dir, "issuing.pem")); err != nil {
		return generation{}, err
	}
	if g.key, err = readKey(filepath.Join(dir, "issuing.key")); err != nil {
		return generation{}, err
	}
	if !g.key.PublicKey.Equal(g.issuing.PublicKey) {
		return generation{}, fmt.Errorf("%s: the key is not the certificate's", dir)
	}
	if err := g.issuing.CheckSignatureFrom(g.root); err != nil {
		return generation{}, fmt.Errorf("%s: %w", dir, err)
	}
	return g, nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	return errors.Join(err, f.Sync(), f.Close())
}

func readPEM(path, kind string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is too long", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no %s as PEM", path, kind)
	}
	return block.Bytes, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	der, err := readPEM(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	der, err := readPEM(path, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	any, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s holds no key of P-256", path)
	}
	return key, nil
}
