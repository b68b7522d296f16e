package pack

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature/kms"
)

// uriMark tells the URI of a key from the name of a file.
const uriMark = "://"

// kmsTags are the build tags by which slipstream-pack learns to speak with a KMS
// itself. Each brings its maker's libraries along.
var kmsTags = map[string]string{
	"awskms": "kms_aws", "azurekms": "kms_azure", "gcpkms": "kms_gcp",
	"hashivault": "kms_hashivault", "openbao": "kms_hashivault",
}

// OpenSigner takes a private key file, or the URI of a key in a KMS or an HSM. Of
// those KMSs that are compiled in the URI is asked itself; NAME://KEY of any other
// is asked of the program sigstore-kms-NAME, as cosign does it.
func OpenSigner(ctx context.Context, ref string) (*Signer, error) {
	if !strings.Contains(ref, uriMark) {
		key, err := LoadKey(ref)
		if err != nil {
			return nil, err
		}
		return KeySigner(key)
	}
	s, err := kms.Get(ctx, ref, crypto.SHA256)
	if _, ok := errors.AsType[*kms.ProviderNotFoundError](err); ok {
		return nil, fmt.Errorf("key %s: %s", ref, nobodyToAsk(ref))
	}
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", ref, flat{err})
	}
	return newSigner("key "+ref, s)
}

// nobodyToAsk says what there is to do about a URI that nothing here understands.
func nobodyToAsk(ref string) string {
	name, _, _ := strings.Cut(ref, uriMark)
	missing := fmt.Sprintf("there is no program sigstore-kms-%s on the path to ask for it", name)
	if tag, ok := kmsTags[name]; ok {
		missing += fmt.Sprintf(", and this slipstream-pack was built without -tags %s", tag)
	}
	return missing + " (" + KMSHelp() + ")"
}

// KMSHelp says in one sentence which KMSs this program speaks with itself.
func KMSHelp() string {
	known := kms.SupportedProviders()
	slices.Sort(known)
	if len(known) == 0 {
		return "slipstream-pack speaks with no KMS itself; built with -tags kms it speaks with all that sigstore knows"
	}
	return "slipstream-pack speaks with " + strings.Join(known, ", ") + " itself"
}

// flat makes one line of an error that a KMS's library has spread over many.
type flat struct{ error }

func (e flat) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }

func (e flat) Unwrap() error { return e.error }
