package order

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"slipstream/verify"
)

const maxKeyFile = 16 << 10

// LoadRoots reads the fleet's root from a file, or all of its roots from the files *.json of
// a directory: each must follow the one before.
func LoadRoots(path string) (roots []*verify.Root, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("the fleet's root: %w", err)
	}
	if !info.IsDir() {
		root, err := verify.LoadFleet(path)
		if err != nil {
			return nil, fmt.Errorf("the fleet's root: %w", err)
		}
		return []*verify.Root{root}, nil
	}
	files, err := filepath.Glob(filepath.Join(path, "*.json"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(err, fmt.Errorf("the fleet's root: there are no files *.json in %s", path))
	}
	for _, file := range files {
		root, err := verify.LoadFleet(file)
		if err != nil {
			return nil, fmt.Errorf("the fleet's root: %w", err)
		}
		roots = append(roots, root)
	}
	slices.SortFunc(roots, func(a, b *verify.Root) int { return int(a.Version() - b.Version()) })
	for i, next := range roots[1:] {
		if roots[i+1], err = roots[i].Next(next.Bytes()); err != nil {
			return nil, fmt.Errorf("the fleet's roots in %s: %w", path, err)
		}
	}
	return roots, nil
}

// LoadKey reads a key that signs orders: PEM, PKCS #8, ECDSA P-256. Nobody else may be
// able to read it.
func LoadKey(path string) (*ecdsa.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("a key of orders: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("a key of orders: %s must be a file that only its owner can read: %w", path, fs.ErrPermission)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("a key of orders: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("a key of orders: %s holds no PEM block of type PRIVATE KEY", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("a key of orders: %s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("a key of orders: %s is not an ECDSA P-256 key", path)
	}
	return key, nil
}

// signer is a key that some root lets sign orders.
type signer struct {
	key *ecdsa.PrivateKey
	id  string
}

// signersOf are those of the keys that the roots name, the newest root's first. They must
// be enough for that one.
func signersOf(roots []*verify.Root, keys []*ecdsa.PrivateKey) (signers []signer, err error) {
	newest := roots[len(roots)-1]
	held := map[string]*ecdsa.PrivateKey{}
	for _, key := range keys {
		id, err := verify.KeyID(&key.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("a key of orders: %w", err)
		}
		held[id] = key
	}
	for _, root := range slices.Backward(roots) {
		for _, id := range root.Trust().KeyIDs() {
			if key, ok := held[id]; ok && len(signers) < verify.MaxSignatures {
				signers = append(signers, signer{key, id})
				delete(held, id)
			}
		}
		if root == newest && len(signers) < newest.Trust().Threshold() {
			return nil, fmt.Errorf("the fleet's root %d asks for %d signatures of orders, and the panel has %d of the keys: give it those that %s names",
				newest.Version(), newest.Trust().Threshold(), len(signers), strings.Join(newest.Trust().KeyIDs(), ", "))
		}
	}
	return signers, nil
}

// sign writes an order down, once for each key.
func sign(signers []signer, o verify.Order) (bundles [][]byte, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(o.Statement())
	if err != nil {
		return nil, fmt.Errorf("write an order: %w", err)
	}
	hash := sha256.Sum256(dsse.PAE(verify.PayloadType, payload))
	for _, s := range signers {
		sig, err := ecdsa.SignASN1(rand.Reader, s.key, hash[:])
		if err != nil {
			return nil, fmt.Errorf("sign an order: %w", err)
		}
		text, err := json.Marshal(verify.Bundle{
			MediaType:            verify.MediaType,
			VerificationMaterial: verify.VerificationMaterial{PublicKey: &verify.PublicKey{Hint: s.id}},
			DSSE: &dsse.Envelope{
				PayloadType: verify.PayloadType, Payload: base64.StdEncoding.EncodeToString(payload),
				Signatures: []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(sig)}},
			},
		})
		if err != nil {
			return nil, fmt.Errorf("write an order: %w", err)
		}
		bundles = append(bundles, text)
	}
	return bundles, nil
}
