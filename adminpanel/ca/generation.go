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
	"time"
)

const (
	rootLife    = 20 * 365 * 24 * time.Hour
	issuingLife = 10 * 365 * 24 * time.Hour
	// backdated is for peers whose clock is behind.
	backdated = 24 * time.Hour
)

// generation is one root with what signs for it.
type generation struct {
	number  int
	root    *x509.Certificate
	issuing *x509.Certificate
	key     *ecdsa.PrivateKey // of issuing
}

// parts are a generation as it is kept: PEM by name.
type parts map[string][]byte

const (
	partRootKey    = "root.key"
	partRoot       = "root.pem"
	partIssuingKey = "issuing.key"
	partIssuing    = "issuing.pem"
)

// makeGeneration makes one with new keys.
func makeGeneration(number int, now time.Time) (parts, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	issuingKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root := authority(fmt.Sprintf("Slipstream panel, root %d", number), now, rootLife)
	root.MaxPathLen = 1
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	if root, err = x509.ParseCertificate(rootDER); err != nil {
		return nil, err
	}
	issuing := authority(fmt.Sprintf("Slipstream panel, issuing %d", number), now, issuingLife)
	issuing.MaxPathLenZero = true
	issuingDER, err := x509.CreateCertificate(rand.Reader, issuing, root, issuingKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	rootPEM, err := keyPEM(rootKey)
	if err != nil {
		return nil, err
	}
	issuingPEM, err := keyPEM(issuingKey)
	if err != nil {
		return nil, err
	}
	return parts{
		partRootKey: rootPEM, partRoot: pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: rootDER}),
		partIssuingKey: issuingPEM, partIssuing: pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: issuingDER}),
	}, nil
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

// readGeneration reads what is needed day by day: the root's key is not.
func readGeneration(p parts, number int) (g generation, err error) {
	g.number = number
	if g.root, err = readCertificate(p, partRoot); err != nil {
		return generation{}, err
	}
	if g.issuing, err = readCertificate(p, partIssuing); err != nil {
		return generation{}, err
	}
	if g.key, err = readKey(p, partIssuingKey); err != nil {
		return generation{}, err
	}
	if !g.key.PublicKey.Equal(g.issuing.PublicKey) {
		return generation{}, errors.New("the key is not the certificate's")
	}
	if err := g.issuing.CheckSignatureFrom(g.root); err != nil {
		return generation{}, err
	}
	return g, nil
}

const (
	typeCertificate = "CERTIFICATE"
	typeKey         = "PRIVATE KEY"
)

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: typeKey, Bytes: der}), err
}

func readPEM(p parts, name, kind string) ([]byte, error) {
	block, _ := pem.Decode(p[name])
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no %s as PEM", name, kind)
	}
	return block.Bytes, nil
}

func readCertificate(p parts, name string) (*x509.Certificate, error) {
	der, err := readPEM(p, name, typeCertificate)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

func readKey(p parts, name string) (*ecdsa.PrivateKey, error) {
	der, err := readPEM(p, name, typeKey)
	if err != nil {
		return nil, err
	}
	any, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s holds no key of P-256", name)
	}
	return key, nil
}
