package verify

import (
	"errors"
	"fmt"
)

// Codes of refusals. They are stable: scripts, the panel and the history keep them.
const (
	CodeNotPackage     = "not-a-package"     // does not begin as a package does
	CodeTruncated      = "truncated"         // ends before its manifest says
	CodeTrailing       = "trailing-data"     // goes on after its end
	CodeHeader         = "bad-header"        // a tar header is not the one byte sequence allowed there
	CodePadding        = "bad-padding"       // bytes that must be zero are not
	CodeTooLarge       = "too-large"         // a size is above its limit
	CodeJSON           = "bad-json"          // not the strict JSON that signed documents must be
	CodeUnknownField   = "unknown-field"     // a member that this version does not know
	CodeBundle         = "bad-bundle"        // not a sigstore bundle v0.3 as described in the package comment
	CodeUnsigned       = "unsigned"          // no signature
	CodeSignatureCount = "signature-count"   // more than one signature in a bundle
	CodeKeyless        = "keyless"           // signed by an identity without a key, which this program does not check
	CodeUntrusted      = "untrusted"         // no trusted key made the signature
	CodeWrongDocument  = "wrong-document"    // signed, but not a release manifest
	CodeNewerFormat    = "newer-format"      // made for a later Slipstream
	CodeSubjects       = "bad-subjects"      // the statement's subjects are not the manifest's members
	CodeManifest       = "bad-manifest"      // a value of the manifest is missing or out of range
	CodeClass          = "unsupported-class" // slot class
	CodeKind           = "unsupported-kind"  // image kind
	CodeCodec          = "unsupported-codec"
	CodeEncrypted      = "encrypted" // an image is encrypted, and this device cannot decrypt any
	CodeWrongProduct   = "wrong-product"
	CodeWrongHardware  = "wrong-hardware"
	CodeRollback       = "rollback"       // release counter below the device's floor
	CodeCounterReused  = "counter-reused" // same release counter as the installed package, other content
	CodeCounterJump    = "counter-jump"   // release counter too far above the floor
	CodeStep           = "needs-step"     // must be reached over a version in between
	CodeIndex          = "bad-index"      // a chunk index contradicts the manifest
	CodeCorrupt        = "corrupt"        // content does not have the signed hash
	CodeTrust          = "bad-trust"      // the file of trusted keys

	CodeThreshold     = "threshold"         // fewer distinct keys have signed than are asked for
	CodePayload       = "payload-differs"   // the signatures of one package are over different statements
	CodeEpoch         = "security-epoch"    // securityEpoch below the device's floor
	CodeExpired       = "expired"           // the package's own expiry has passed, by secure time
	CodeIssued        = "issued-too-late"   // signed after its keys had expired: the date or the key is false
	CodeRevoked       = "revoked"           // taken back by name in the root
	CodeRoot          = "bad-root"          // not a root as package verify wants it
	CodeRootUntrusted = "root-untrusted"    // not signed by enough keys of the root before it and its own
	CodeRootStep      = "root-step"         // does not follow directly on the root before it
	CodeRootReplayed  = "root-replayed"     // older than the root that is there, or another of the same number
	CodeRootExpired   = "root-expired"      // the newest root has expired, by secure time
	CodeNoOrder       = "no-order"          // this device belongs to a fleet, and its order is missing
	CodeOrder         = "bad-order"         // not a fleet order
	CodeOrderSigner   = "order-untrusted"   // no order key of the fleet's root made the signature
	CodeOrderForeign  = "order-foreign"     // for other devices
	CodeOrderPackage  = "order-other"       // for another package
	CodeOrderReplayed = "order-replayed"    // its number was used for another order before
	CodeOrderOlder    = "order-rolled-back" // older than an order that this device obeyed
	CodeOrderExpired  = "order-expired"     // its time has passed, by secure time
	CodeFreshness     = "bad-freshness"     // not a statement of the time by the fleet's freshness key
	CodeVerity        = "verity-mismatch"   // an image's data, hash tree and root hash do not fit together
	CodeCounter       = "no-counter"        // the hardware's rollback counter cannot be read
)

// Error is a refusal: the package (or the trust file) is at fault, not the
// machine. Message is one plain sentence for the person who holds the package.
type Error struct {
	Code    string
	Message string
}

func (e *Error) Error() string { return e.Message }

// Code returns the stable code of a refusal, "" if err is none, for example
// because reading failed.
func Code(err error) string {
	if refusal, ok := errors.AsType[*Error](err); ok {
		return refusal.Code
	}
	return ""
}

func refuse(code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
