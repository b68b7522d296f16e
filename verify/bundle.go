package verify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"

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

	identified *identified // instead of dsse and hint: signed without a key
}

// signed is a payload with the trusted keys and identities that signed it, and the one claimed
// by the first signature.
type signed struct {
	payload []byte
	signers []string // ids, none twice
	logged  []LogEntry
	hint    string
}

// wording names a kind of signed document to people, with the codes of its refusals.
type wording struct {
	file      string // of signatures
	document  string
	untrusted string // code
}

var packageWords = wording{"the package's signature file", "the package", CodeUntrusted}

// checkSignatures asks for enough distinct keys among one signature each over
// identical bytes. Nothing of the payload is parsed before. Keys are told apart by
// their material. A signature by a key that is not trusted here is passed over:
// around a rotation a package has those of old and new keys.
func checkSignatures(w wording, envelopes []envelope, trust *Trust) (signed, error) {
	if trust == nil || len(trust.keys) == 0 {
		return signed{}, refuse(w.untrusted, "no trusted keys are set up here, so %s cannot be accepted", w.document)
	}
	s := signed{payload: envelopes[0].payload, hint: envelopes[0].hint}
	for _, e := range envelopes {
		if !bytes.Equal(e.payload, s.payload) {
			return signed{}, refuse(CodePayload, "the signatures of %s are over different documents", w.document)
		}
		id, logged, err := signer(e, trust)
		switch {
		case err != nil:
			return signed{}, err
		case id == "" || slices.Contains(s.signers, id):
			continue
		case e.hint != "" && e.hint != id:
			return signed{}, refuse(CodeBundle, "%s names another key than the one that signed it", w.document)
		}
		s.signers, s.logged = append(s.signers, id), append(s.logged, logged...)
	}
	switch n := len(s.signers); {
	case n == 0:
		return signed{}, refuse(w.untrusted, "%s is not signed by a key that is trusted here, or it was changed after signing", w.document)
	case n < trust.threshold:
		return signed{}, refuse(CodeThreshold, "%s is signed by %d of the keys that are trusted here, at least %d must have signed", w.document, n, trust.threshold)
	}
	return s, nil
}

// signer is the id of the trusted key that made an envelope's signature, "" if
// none did, with where logs have it.
func signer(e envelope, trust *Trust) (string, []LogEntry, error) {
	if e.identified != nil {
		return e.identified.signer(trust)
	}
	providers := make([]dsse.Verifier, 0, len(trust.keys))
	for _, k := range trust.keys {
		providers = append(providers, k)
	}
	verifier, err := dsse.NewMultiEnvelopeVerifier(1, providers...)
	if err != nil {
		return "", nil, err
	}
	accepted, payload, err := verifier.VerifyAndDecode(context.Background(), e.dsse)
	if err != nil || len(accepted) != 1 || !bytes.Equal(payload, e.payload) {
		return "", nil, nil
	}
	return accepted[0].KeyID, nil, nil
}

// parseBundles takes every bundle's shape apart, and asks for one document.
func parseBundles(w wording, payloadType string, files [][]byte) ([]envelope, error) {
	if len(files) == 0 || len(files) > MaxSignatures {
		return nil, refuse(CodeSignatureCount, "%s has %d signature files, allowed are 1 to %d", w.document, len(files), MaxSignatures)
	}
	var all []envelope
	for _, data := range files {
		e, err := parseBundle(w, payloadType, data)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func parseBundle(w wording, payloadType string, data []byte) (envelope, error) {
	what := w.file
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
	var c certified
	if err := json.Unmarshal(data, &c); err == nil && c.keyless() {
		return parseKeyless(w, payloadType, data)
	}
	var b Bundle
	if err := decodeStrict(what, data, &b); err != nil {
		return envelope{}, err
	}
	return checkBundle(w, payloadType, b)
}

func checkBundle(w wording, payloadType string, b Bundle) (envelope, error) {
	what := w.file
	switch {
	case b.VerificationMaterial.PublicKey == nil:
		return envelope{}, refuse(CodeBundle, "%s is not made with a public key", what)
	case b.DSSE == nil:
		return envelope{}, refuse(CodeBundle, "%s holds no DSSE envelope", what)
	case b.DSSE.PayloadType != payloadType:
		return envelope{}, refuse(CodeWrongDocument, "%s signs another type of document than it should", what)
	case len(b.DSSE.Signatures) == 0 || len(b.DSSE.Signatures) == 1 && b.DSSE.Signatures[0].Sig == "":
		return envelope{}, refuse(CodeUnsigned, "%s is not signed", w.document)
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
