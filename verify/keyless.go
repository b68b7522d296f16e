package verify

import (
	"slices"
	"strings"
	"time"
)

// Keyless says who may sign releases without a key: a build that an identity
// provider vouched for, with a certificate of minutes (Fulcio), an entry in a log
// (Rekor) and a time stamp, all of which the bundle carries. Only programs built
// with the tag keyless check that; all others refuse such a bundle by name.
//
// It needs no network and no clock: what the certificates and the log are checked
// with, sigstore's trusted_root.json, stands in the vendor's root and is replaced
// with it.
type Keyless struct {
	Identities  []Identity `json:"identities"`
	TrustedRoot []byte     `json:"trustedRoot"` // the file, as it is
}

// Identity is a build or a person as a certificate names it. Both are compared whole.
type Identity struct {
	Issuer  string `json:"issuer"`  // of the token, such as https://token.actions.githubusercontent.com
	Subject string `json:"subject"` // the certificate's subject alternative name
}

// LogEntry is where a transparency log of the vendor's trusted root has a signature, so that
// everybody can see that it was made. Only signatures without a key have one.
type LogEntry struct {
	Log   string    // id of the log's key, hex
	Index int64     // in the log
	Time  time.Time // when the log took it in; zero: this log does not say
}

// KeylessSigner begins the id of a signer that is an identity.
const KeylessSigner = "keyless:"

const (
	maxIdentities  = 16
	maxIdentity    = 512      // bytes of an issuer or a subject
	maxTrustedRoot = 32 << 10 // bytes
)

func (k *Keyless) validate() error {
	switch {
	case k == nil:
		return nil
	case len(k.Identities) == 0 || len(k.Identities) > maxIdentities:
		return badRoot("it names %d identities that may sign without a key, allowed are 1 to %d", len(k.Identities), maxIdentities)
	case len(k.TrustedRoot) == 0 || len(k.TrustedRoot) > maxTrustedRoot:
		return badRoot("its trusted root for keyless signatures has %d bytes, allowed are 1 to %d", len(k.TrustedRoot), maxTrustedRoot)
	}
	bad := func(text string) bool {
		return text == "" || len(text) > maxIdentity || strings.ContainsFunc(text, func(r rune) bool { return r == '\n' || unprintable(r) })
	}
	if i := slices.IndexFunc(k.Identities, func(i Identity) bool { return bad(i.Issuer) || bad(i.Subject) }); i >= 0 {
		return badRoot("its identity %d lacks an issuer or a subject, or has one that cannot be shown", i+1)
	}
	return nil
}

// certified is verification material of a bundle that was signed without a key.
type certified struct {
	VerificationMaterial struct {
		Certificate *struct{} `json:"certificate"`
		Chain       *struct{} `json:"x509CertificateChain"`
	} `json:"verificationMaterial"`
}

func (c certified) keyless() bool {
	return c.VerificationMaterial.Certificate != nil || c.VerificationMaterial.Chain != nil
}
