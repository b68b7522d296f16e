package pack

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore/pkg/signature"

	"slipstream/verify"
)

// signer adapts a sigstore signer to go-securesystemslib's dsse. The key is
// named once, by the bundle's hint, so the envelope's keyid stays empty.
type signer struct{ signature.Signer }

func (s signer) Sign(_ context.Context, data []byte) ([]byte, error) {
	return s.SignMessage(bytes.NewReader(data))
}

func (s signer) KeyID() (string, error) { return "", nil }

// Sign wraps a statement into a bundle with one signature.
func Sign(ctx context.Context, key *ecdsa.PrivateKey, payload []byte) ([]byte, error) {
	s, err := signature.LoadSigner(key, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("load key: %w", err)
	}
	wrap, err := dsse.NewEnvelopeSigner(signer{s})
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	envelope, err := wrap.SignPayload(ctx, verify.PayloadType, payload)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	id, err := verify.KeyID(&key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return json.Marshal(verify.Bundle{
		MediaType:            verify.MediaType,
		VerificationMaterial: verify.VerificationMaterial{PublicKey: &verify.PublicKey{Hint: id}},
		DSSE:                 envelope,
	})
}
