package verify

import (
	"context"
	"encoding/base64"
	"encoding/json"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Types fixed for every package; each is compared whole.
const (
	MediaType   = "application/vnd.dev.sigstore.bundle.v0.3+json"
	PayloadType = "application/vnd.in-toto+json"
)

// Bundle is the part of a sigstore bundle v0.3 that a package may use: one DSSE
// envelope, made by a key that both sides know.
type Bundle struct {
	MediaType            string               `json:"mediaType"`
	VerificationMaterial VerificationMaterial `json:"verificationMaterial"`
	DSSE                 *dsse.Envelope       `json:"dsseEnvelope"`
}

// VerificationMaterial says which key signed.
type VerificationMaterial struct {
	PublicKey *PublicKey `json:"publicKey"`
}

// PublicKey names a key. A hint only: the keys of the [Trust] decide.
type PublicKey struct {
	Hint string `json:"hint,omitempty"` // "" or the key's id, see [KeyID]
}

// envelope is a bundle of the right shape; nothing is said about who signed it.
type envelope struct {
	dsse    *dsse.Envelope
	hint    string
	payload []byte
}

// signed is a payload with the trusted key that signed it, and the one claimed.
type signed struct {
	payload []byte
	keyID   string
	hint    string
}

// verifyBundle checks the signature. Nothing of the payload is parsed before.
func verifyBundle(data []byte, trust *Trust) (signed, error) {
	e, err := parseBundle(data)
	if err != nil {
		return signed{}, err
	}
	if trust == nil || len(trust.keys) == 0 {
		return signed{}, refuse(CodeUntrusted, "no trusted keys are set up here, so no package can be accepted")
	}
	providers := make([]dsse.Verifier, 0, len(trust.keys))
	for _, k := range trust.keys {
		providers = append(providers, k)
	}
	verifier, err := dsse.NewMultiEnvelopeVerifier(1, providers...)
	if err != nil {
		return signed{}, err
	}
	accepted, payload, err := verifier.VerifyAndDecode(context.Background(), e.dsse)
	if err != nil || len(accepted) != 1 {
		return signed{}, refuse(CodeUntrusted, "the package is not signed by a key that is trusted here, or it was changed after signing")
	}
	id := accepted[0].KeyID
	if e.hint != "" && e.hint != id {
		return signed{}, refuse(CodeBundle, "the package names another key than the one that signed it")
	}
	return signed{payload: payload, keyID: id, hint: e.hint}, nil
}

func parseBundle(data []byte) (envelope, error) {
	const what = "the package's signature file"
	if len(data) > MaxBundle {
		return envelope{}, refuse(CodeTooLarge, "%s has %d bytes, the limit is %d", what, len(data), MaxBundle)
	}
	// The type first: another type of bundle should be called so, and not be
	// refused for the members that make it another type.
	if err := scanJSON(what, data, nil); err != nil {
		return envelope{}, err
	}
	var outer struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(data, &outer); err != nil || outer.MediaType != MediaType {
		return envelope{}, refuse(CodeBundle, "%s is not a sigstore bundle v0.3", what)
	}
	var b Bundle
	if err := decodeStrict(what, data, &b); err != nil {
		return envelope{}, err
	}
	return checkBundle(what, b)
}

func checkBundle(what string, b Bundle) (envelope, error) {
	switch {
	case b.VerificationMaterial.PublicKey == nil:
		return envelope{}, refuse(CodeBundle, "%s is not made with a public key", what)
	case b.DSSE == nil:
		return envelope{}, refuse(CodeBundle, "%s holds no DSSE envelope", what)
	case b.DSSE.PayloadType != PayloadType:
		return envelope{}, refuse(CodeWrongDocument, "%s signs another type of document than a package's manifest", what)
	case len(b.DSSE.Signatures) == 0 || len(b.DSSE.Signatures) == 1 && b.DSSE.Signatures[0].Sig == "":
		return envelope{}, refuse(CodeUnsigned, "the package is not signed")
	case len(b.DSSE.Signatures) > 1:
		return envelope{}, refuse(CodeSignatureCount, "%s holds %d signatures, only one is allowed", what, len(b.DSSE.Signatures))
	}
	payload, ok := strictBase64(b.DSSE.Payload)
	if _, sigOK := strictBase64(b.DSSE.Signatures[0].Sig); !ok || !sigOK {
		return envelope{}, refuse(CodeBundle, "%s holds base64 text that is not in its one standard form", what)
	}
	return envelope{dsse: b.DSSE, hint: b.VerificationMaterial.PublicKey.Hint, payload: payload}, nil
}

// strictBase64 accepts the one text that encodes the bytes: the dsse library
// takes the URL alphabet too, and Go's decoder skips line ends and stray bits.
func strictBase64(text string) ([]byte, bool) {
	data, err := base64.StdEncoding.DecodeString(text)
	return data, err == nil && base64.StdEncoding.EncodeToString(data) == text
}
