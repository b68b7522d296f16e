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
	CodeUntrusted      = "untrusted"         // no trusted key made the signature
	CodeWrongDocument  = "wrong-document"    // signed, but not a release manifest
	CodeNewerFormat    = "newer-format"      // made for a later Slipstream
	CodeSubjects       = "bad-subjects"      // the statement's subjects are not the manifest's members
	CodeManifest       = "bad-manifest"      // a value of the manifest is missing or out of range
	CodeClass          = "unsupported-class" // slot class
	CodeKind           = "unsupported-kind"  // image kind
	CodeCodec          = "unsupported-codec"
	CodeWrongProduct   = "wrong-product"
	CodeWrongHardware  = "wrong-hardware"
	CodeRollback       = "rollback"       // release counter below the device's floor
	CodeCounterReused  = "counter-reused" // same release counter as the installed package, other content
	CodeCounterJump    = "counter-jump"   // release counter too far above the floor
	CodeStep           = "needs-step"     // must be reached over a version in between
	CodeIndex          = "bad-index"      // a chunk index contradicts the manifest
	CodeCorrupt        = "corrupt"        // content does not have the signed hash
	CodeTrust          = "bad-trust"      // the file of trusted keys
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
