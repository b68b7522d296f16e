//go:build keyless

package verify

import (
	"encoding/hex"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/proto"
)

// identified is a keyless signature of the right shape.
type identified struct{ bundle *bundle.Bundle }

// parseKeyless takes a bundle with a certificate apart. Only releases may be signed
// so: a fleet's orders and its time are the fleet's keys' own.
func parseKeyless(w wording, payloadType string, data []byte) (envelope, error) {
	if w != packageWords {
		return envelope{}, refuse(CodeKeyless, "%s is signed without a key (keyless), which only packages may be", w.document)
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(data); err != nil {
		return envelope{}, refuse(CodeBundle, "%s is not made with a certificate as it should be: %v", w.file, err)
	}
	inner := b.Bundle.GetDsseEnvelope()
	switch {
	case inner == nil:
		return envelope{}, refuse(CodeBundle, "%s holds no DSSE envelope", w.file)
	case inner.PayloadType != payloadType:
		return envelope{}, refuse(CodeWrongDocument, "%s signs another type of document than it should", w.file)
	case len(inner.Signatures) == 0:
		return envelope{}, refuse(CodeUnsigned, "%s is not signed", w.document)
	case len(inner.Signatures) > 1:
		return envelope{}, refuse(CodeSignatureCount, "%s holds %d signatures, only one is allowed", w.file, len(inner.Signatures))
	}
	return envelope{payload: inner.Payload, identified: &identified{&b}}, nil
}

// signer is the identity that made the signature, "" if it is none that the root
// names, or if anything about it is wrong. The time that certificates are judged by
// is that of the time stamp, which an authority of the trusted root signed: no clock
// is asked.
func (i *identified) signer(trust *Trust) (string, []LogEntry, error) {
	if trust.root == nil || trust.root.terms.Keyless == nil {
		return "", nil, nil
	}
	terms := trust.root.terms.Keyless
	material, err := root.NewTrustedRootFromJSON(terms.TrustedRoot)
	if err != nil {
		return "", nil, badRoot("its trusted root for keyless signatures cannot be read")
	}
	options := []sigstore.VerifierOption{sigstore.WithTransparencyLog(1), sigstore.WithSignedTimestamps(1)}
	if len(material.CTLogs()) > 0 {
		options = append(options, sigstore.WithSignedCertificateTimestamps(1))
	}
	verifier, err := sigstore.NewVerifier(material, options...)
	if err != nil {
		return "", nil, badRoot("its trusted root for keyless signatures is not enough to check them")
	}
	var who []sigstore.PolicyOption
	for _, known := range terms.Identities {
		identity, err := sigstore.NewShortCertificateIdentity(known.Issuer, "", known.Subject, "")
		if err != nil {
			return "", nil, badRoot("an identity that may sign without a key cannot be used: %v", err)
		}
		who = append(who, sigstore.WithCertificateIdentity(identity))
	}
	// The files are compared with the statement later, as with every other signature.
	result, err := verifier.Verify(i.bundle, sigstore.NewPolicy(sigstore.WithoutArtifactUnsafe(), who...))
	if err != nil {
		return "", nil, nil
	}
	return KeylessSigner + result.Signature.Certificate.SubjectAlternativeName, i.logged(material), nil
}

// logged are the entries of logs that hold, each looked at alone: a signature is accepted
// when one holds, and those that nobody can check must not be shown beside it.
func (i *identified) logged(material root.TrustedMaterial) (list []LogEntry) {
	entries, err := i.bundle.TlogEntries()
	if err != nil {
		return nil
	}
	for k, entry := range entries {
		one := proto.CloneOf(i.bundle.Bundle)
		one.VerificationMaterial.TlogEntries = one.VerificationMaterial.TlogEntries[k : k+1]
		alone, err := bundle.NewBundle(one)
		if err != nil {
			continue
		}
		if _, err := sigstore.VerifyTlogEntry(alone, material, 1, false); err != nil {
			continue
		}
		line := LogEntry{Log: hex.EncodeToString([]byte(entry.LogKeyID())), Index: entry.LogIndex()}
		if at := entry.IntegratedTime(); at.Unix() > 0 {
			line.Time = at.UTC()
		}
		list = append(list, line)
	}
	return list
}
