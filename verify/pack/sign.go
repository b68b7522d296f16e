package pack

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore/pkg/signature"

	"slipstream/verify"
)

// Signer is a key that signs, wherever it is.
type Signer struct {
	signature.Signer
	public *ecdsa.PublicKey
	id     string
}

// ID is the key's id, see [verify.KeyID].
func (s *Signer) ID() string { return s.id }

// Public is the key's public half.
func (s *Signer) Public() *ecdsa.PublicKey { return s.public }

// KeySigner signs with a key in memory.
func KeySigner(key *ecdsa.PrivateKey) (*Signer, error) {
	s, err := signature.LoadSigner(key, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("load key: %w", err)
	}
	return newSigner("the key", inMemory{s, key})
}

// inMemory signs as RFC 6979 says: the same key and bytes give the same signature,
// so that a package is reproducible to its last byte. What is elsewhere signs as it
// likes.
type inMemory struct {
	signature.Signer
	key *ecdsa.PrivateKey
}

func (s inMemory) SignMessage(message io.Reader, _ ...signature.SignOption) ([]byte, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, message); err != nil {
		return nil, err
	}
	return s.key.Sign(nil, hash.Sum(nil), crypto.SHA256)
}

func newSigner(what string, s signature.Signer) (*Signer, error) {
	public, err := s.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("%s: ask for its public half: %w", what, flat{err})
	}
	key, ok := public.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s is not an ECDSA P-256 key", what)
	}
	id, err := verify.KeyID(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return &Signer{s, key, id}, nil
}

// Sign wraps a statement into a bundle with one signature.
func Sign(ctx context.Context, key *ecdsa.PrivateKey, payload []byte) ([]byte, error) {
	s, err := KeySigner(key)
	if err != nil {
		return nil, err
	}
	return s.Bundle(ctx, payload)
}

// Bundle wraps a statement into a bundle with one signature.
func (s *Signer) Bundle(ctx context.Context, payload []byte) ([]byte, error) {
	return s.bundle(ctx, verify.PayloadType, payload)
}

func (s *Signer) bundle(ctx context.Context, payloadType string, payload []byte) ([]byte, error) {
	sig, err := s.SignMessage(bytes.NewReader(dsse.PAE(payloadType, payload)))
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", s.id, flat{err})
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return signedBundle(s.public, payloadType, payload, sig)
}

// PAE is what is signed: DSSE's pre-authentication encoding of a statement.
func PAE(payload []byte) []byte { return dsse.PAE(verify.PayloadType, payload) }

// signedBundle wraps a document and a signature over its pre-authentication
// encoding, which it checks: what comes out of a hardware module by hand is easily
// over something else.
func signedBundle(public *ecdsa.PublicKey, payloadType string, payload, sig []byte) ([]byte, error) {
	id, err := verify.KeyID(public)
	if err != nil {
		return nil, err
	}
	if !signs(public, dsse.PAE(payloadType, payload), sig) {
		return nil, fmt.Errorf("the signature is not one that key %s made over this statement's pre-authentication encoding", id)
	}
	return encodeBundle(&verify.PublicKey{Hint: id}, payloadType, payload, oneSignature(sig))
}

// encodeBundle names the key once, by the bundle's hint: the envelope's keyid
// stays empty.
func encodeBundle(key *verify.PublicKey, payloadType string, payload []byte, sigs []dsse.Signature) ([]byte, error) {
	return json.Marshal(verify.Bundle{
		MediaType:            verify.MediaType,
		VerificationMaterial: verify.VerificationMaterial{PublicKey: key},
		DSSE:                 &dsse.Envelope{PayloadType: payloadType, Payload: encode64(payload), Signatures: sigs},
	})
}
