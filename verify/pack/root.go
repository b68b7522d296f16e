package pack

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"slipstream/verify"
)

// The roles of a root in the words of those who hold the keys.
const (
	RoleRoot    = "root"    // signs the next root
	RoleRelease = "release" // of a vendor: signs packages
	RoleOrder   = "order"   // of a fleet: signs orders
	RoleTime    = "time"    // of a fleet: says what time it is
)

// rolesOf names TUF's role for each of ours.
func rolesOf(kind string) map[string]string {
	if kind == verify.KindFleet {
		return map[string]string{RoleRoot: metadata.ROOT, RoleOrder: metadata.TARGETS, RoleTime: metadata.TIMESTAMP}
	}
	return map[string]string{RoleRoot: metadata.ROOT, RoleRelease: metadata.TARGETS}
}

// Roles lists the roles of a vendor's or a fleet's root.
func Roles(kind string) []string {
	if kind == verify.KindFleet {
		return []string{RoleRoot, RoleOrder, RoleTime}
	}
	return []string{RoleRoot, RoleRelease}
}

// Root is root metadata in the making: it changes until the first key has signed
// it, and then only signatures are added.
type Root struct {
	meta  *metadata.Metadata[metadata.RootType]
	terms verify.Terms
}

// NewRoot begins a root 1 with no keys.
func NewRoot(terms verify.Terms, expires time.Time) *Root {
	meta := metadata.Root(expires.UTC().Truncate(time.Second))
	r := &Root{meta: meta}
	r.SetTerms(terms)
	return r
}

// ReadRoot takes a root apart, signed or not. What devices would refuse for its
// own sake is refused here.
func ReadRoot(data []byte) (*Root, error) {
	known, err := verify.DraftRoot(data)
	if err != nil {
		return nil, err
	}
	meta, err := (&metadata.Metadata[metadata.RootType]{}).FromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("read root: %w", err)
	}
	return &Root{meta: meta, terms: known.Terms()}, nil
}

// LoadRoot is [ReadRoot] of a file.
func LoadRoot(path string) (*Root, error) {
	data, err := readFile(path, "root", verify.MaxTrustFile)
	if err != nil {
		return nil, err
	}
	r, err := ReadRoot(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Bytes is the root as a file. What no device would take is not written.
func (r *Root) Bytes() ([]byte, error) {
	data, err := r.meta.ToBytes(true)
	if err != nil {
		return nil, fmt.Errorf("encode root: %w", err)
	}
	if _, err := verify.DraftRoot(data); err != nil {
		return nil, err
	}
	return data, nil
}

// FileName is how a root's file is called, alone and in a package.
func (r *Root) FileName() string { return rootFileName(r.terms.Kind, r.Version()) }

func rootFileName(kind string, version int64) string {
	if kind == verify.KindFleet {
		return fmt.Sprintf("fleet.%d.root.json", version)
	}
	return fmt.Sprintf("%d.root.json", version)
}

// Before is the name of the file of the root before this one, "" of the first.
func (r *Root) Before() string {
	if r.Version() < 2 {
		return ""
	}
	return rootFileName(r.terms.Kind, r.Version()-1)
}

// Version is the root's number.
func (r *Root) Version() int64 { return r.meta.Signed.Version }

// Expires is when its keys lose their word.
func (r *Root) Expires() time.Time { return r.meta.Signed.Expires }

// Terms are what it says to devices beyond the keys.
func (r *Root) Terms() verify.Terms { return r.terms }

// SetTerms says it anew.
func (r *Root) SetTerms(terms verify.Terms) {
	r.terms = terms
	r.meta.Signed.UnrecognizedFields = map[string]any{verify.TermsMember: terms}
}

// Next begins the root that follows: the same keys and terms, no signatures.
func (r *Root) Next(expires time.Time) (*Root, error) {
	data, err := r.Bytes()
	if err != nil {
		return nil, err
	}
	next, err := ReadRoot(data)
	if err != nil {
		return nil, err
	}
	next.meta.ClearSignatures()
	next.meta.Signed.Version++
	next.meta.Signed.Expires = expires.UTC().Truncate(time.Second)
	return next, nil
}

// errSigned keeps a root from changing under its signatures.
var errSigned = errors.New("it is signed already: make the next root first, by `slipstream-pack root rotate`")

// role finds TUF's role for one of ours.
func (r *Root) role(name string) (*metadata.Role, string, error) {
	tuf, ok := rolesOf(r.terms.Kind)[name]
	if !ok {
		return nil, "", fmt.Errorf("a %s's root has no role %q; its roles are %v", r.terms.Kind, name, Roles(r.terms.Kind))
	}
	return r.meta.Signed.Roles[tuf], tuf, nil
}

// AddKey gives a key a role.
func (r *Root) AddKey(role string, public *ecdsa.PublicKey) error {
	return r.edit(role, public, func(there *metadata.Role, tuf string, key *metadata.Key, id string) error {
		if slices.Contains(there.KeyIDs, id) {
			return fmt.Errorf("the key has the role %s already", role)
		}
		return r.meta.Signed.AddKey(key, tuf)
	})
}

// RemoveKey takes a role from a key.
func (r *Root) RemoveKey(role string, public *ecdsa.PublicKey) error {
	return r.edit(role, public, func(there *metadata.Role, tuf string, _ *metadata.Key, id string) error {
		switch left := len(there.KeyIDs) - 1; {
		case !slices.Contains(there.KeyIDs, id):
			return fmt.Errorf("the key does not have the role %s", role)
		case left < there.Threshold && tuf != metadata.TIMESTAMP:
			return fmt.Errorf("of the %d keys left with the role %s %d would have to sign: add another key first, or lower the threshold (--threshold %s=%d)",
				left, role, there.Threshold, role, max(left, 1))
		}
		return r.meta.Signed.RevokeKey(id, tuf)
	})
}

// edit changes a key's part in a role, as long as nobody has signed the root.
func (r *Root) edit(role string, public *ecdsa.PublicKey, change func(there *metadata.Role, tuf string, key *metadata.Key, id string) error) error {
	there, tuf, err := r.role(role)
	if err != nil {
		return err
	}
	if len(r.meta.Signatures) > 0 {
		return errSigned
	}
	key, id, err := tufKey(public)
	if err != nil {
		return err
	}
	return change(there, tuf, key, id)
}

// SetThreshold says how many keys of a role must sign.
func (r *Root) SetThreshold(role string, n int) error {
	there, _, err := r.role(role)
	if err != nil {
		return err
	}
	if len(r.meta.Signatures) > 0 {
		return errSigned
	}
	if n < 1 || n > len(there.KeyIDs) {
		return fmt.Errorf("%d of the %d keys with the role %s cannot be asked for", n, len(there.KeyIDs), role)
	}
	there.Threshold = n
	return nil
}

// Sign adds a key's signature. Only a root key of this root, or of the one before
// it, has anything to sign here.
func (r *Root) Sign(s *Signer, before *Root) error {
	_, id, err := tufKey(s.public)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(r.meta.Signatures, func(sig metadata.Signature) bool { return sig.KeyID == id }) {
		return fmt.Errorf("key %s has signed this root already", s.id)
	}
	may := slices.Contains(r.meta.Signed.Roles[metadata.ROOT].KeyIDs, id)
	if before != nil {
		may = may || slices.Contains(before.meta.Signed.Roles[metadata.ROOT].KeyIDs, id)
	}
	if !may {
		return fmt.Errorf("key %s is no root key of this root or of the one before it: its signature would count for nothing", s.id)
	}
	if _, err := r.meta.Sign(s); err != nil {
		return fmt.Errorf("sign with key %s: %w", s.id, err)
	}
	return nil
}

func tufKey(public *ecdsa.PublicKey) (*metadata.Key, string, error) {
	key, err := metadata.KeyFromPublicKey(public)
	if err != nil {
		return nil, "", fmt.Errorf("describe key: %w", err)
	}
	id, err := key.ID()
	if err != nil {
		return nil, "", fmt.Errorf("describe key: %w", err)
	}
	return key, id, nil
}

// canonical is what a root's signatures are over.
func (r *Root) canonical() ([]byte, error) { return cjson.EncodeCanonical(r.meta.Signed) }
