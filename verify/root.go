package verify

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// What a root is for. Its [Terms] say it, so that one is never taken for the other.
const (
	KindVendor = "vendor" // its targets keys sign releases
	KindFleet  = "fleet"  // its targets keys sign orders, its timestamp keys the time
)

// What a fleet wants of its devices when a package comes without an order, on a
// stick: where there is no link, there may be no way to get one.
const (
	OfflineOrder   = "order"   // refuse it
	OfflineRelease = "release" // the vendor's signature is enough
)

// TermsMember is the signed member of a root that holds its [Terms].
const TermsMember = "slipstream"

// Terms are what a root says to devices beyond what TUF knows.
type Terms struct {
	Kind string `json:"kind"` // KindVendor or KindFleet

	// Of a vendor. Packages below these are refused, whatever the device had.
	SecurityEpoch int64            `json:"securityEpoch,omitempty"`
	Counters      map[string]int64 `json:"counters,omitempty"` // lowest releaseCounter, by product
	Revoked       []string         `json:"revoked,omitempty"`  // digests of packages taken back
	Keyless       *Keyless         `json:"keyless,omitempty"`  // who may sign without a key

	// Of a fleet: OfflineOrder or OfflineRelease.
	Offline string `json:"offline,omitempty"`
}

func (Terms) extensible() {}

// Root is TUF root metadata: the keys of every role, how many of them must sign,
// and the [Terms]. It is signed by enough of its own root keys. Why it is
// believed is another matter: because of where it lies (a factory's, or one
// enrolled), or because the one before it says so ([Root.Next]).
// It is immutable and safe for concurrent use.
type Root struct {
	raw       []byte
	version   int64
	expires   time.Time
	terms     Terms
	release   *Trust // the targets role: of releases, or of orders
	freshness *Trust // the timestamp role, nil if nobody has it
	before    *Root  // that it follows; nil if it is trusted because of where it lies
}

// ParseRoot reads a root that is trusted because of where it lies.
func ParseRoot(data []byte) (*Root, error) {
	r, err := DraftRoot(data)
	if err != nil {
		return nil, err
	}
	if _, err := trustedmetadata.New(data); err != nil {
		return nil, refuse(CodeRootUntrusted, "the %s's root %d is not signed by enough of its own root keys", r.terms.Kind, r.version)
	}
	return r, nil
}

// DraftRoot reads a root as [ParseRoot] does, and asks for no signature: for those
// who are about to make one. Nothing may trust what it returns.
func DraftRoot(data []byte) (*Root, error) {
	const what = "the root"
	if len(data) > MaxTrustFile {
		return nil, refuse(CodeTooLarge, "%s has %d bytes, the limit is %d", what, len(data), MaxTrustFile)
	}
	// The type first: another document should be called so, and not be refused for
	// the members that make it another one.
	if err := scanJSON(what, data, nil); err != nil {
		return nil, err
	}
	var outer struct {
		Signed struct {
			Type string `json:"_type"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(data, &outer); err != nil || outer.Signed.Type != metadata.ROOT {
		return nil, refuse(CodeWrongDocument, "the file is not the root of a vendor or of a fleet")
	}
	var f rootFile
	if err := decodeStrict(what, data, &f); err != nil {
		return nil, err
	}
	return f.root(data)
}

// Next is the root that follows: exactly one number higher, and signed both by
// enough root keys of the one before and by enough of its own. That one may have
// expired, or nobody could ever follow an expired root.
func (r *Root) Next(data []byte) (*Root, error) {
	next, err := DraftRoot(data)
	switch {
	case err != nil:
		return nil, err
	case next.terms.Kind != r.terms.Kind:
		return nil, refuse(CodeRoot, "a %s's root cannot follow a %s's", next.terms.Kind, r.terms.Kind)
	case next.version <= r.version:
		return nil, refuse(CodeRootReplayed, "the %s's root %d is older than the root %d that is trusted here", r.terms.Kind, next.version, r.version)
	case next.version != r.version+1:
		return nil, refuse(CodeRootStep, "the %s's root %d cannot follow root %d: every root between them is needed", r.terms.Kind, next.version, r.version)
	}
	trusted, err := trustedmetadata.New(r.raw)
	if err != nil {
		return nil, fmt.Errorf("read root %d again: %w", r.version, err)
	}
	if _, err := trusted.UpdateRoot(data); err != nil {
		return nil, refuse(CodeRootUntrusted, "the %s's root %d is not signed by enough keys of the root before it and of its own", r.terms.Kind, next.version)
	}
	next.before = r
	return next, nil
}

// Steps are the roots by which [Root.Next] came from the first one to this one, in
// order and without the first: with it and them this root can be proved again.
func (r *Root) Steps() [][]byte {
	var steps [][]byte
	for ; r.before != nil; r = r.before {
		steps = append(steps, r.raw)
	}
	slices.Reverse(steps)
	return steps
}

// First is the root that this one came from in the end, which is trusted because
// of where it lies.
func (r *Root) First() *Root {
	for r.before != nil {
		r = r.before
	}
	return r
}

// Descends says whether this root is another, or came from it by [Root.Next].
func (r *Root) Descends(from *Root) bool {
	for ; r != nil; r = r.before {
		if bytes.Equal(r.raw, from.raw) {
			return true
		}
	}
	return false
}

// Follow goes along a chain of roots, and returns the last. What the chain has of
// the time up to this root is skipped: a package carries it for devices that are
// further behind.
func (r *Root) Follow(chain [][]byte) (*Root, error) {
	if len(chain) > MaxRootSteps {
		return nil, refuse(CodeTooLarge, "a chain of %d roots is too long, the limit is %d", len(chain), MaxRootSteps)
	}
	newest := r
	for _, data := range chain {
		step, err := DraftRoot(data)
		if err != nil {
			return nil, err
		}
		if step.terms.Kind == r.terms.Kind && step.version <= newest.version {
			continue
		}
		if newest, err = newest.Next(data); err != nil {
			return nil, err
		}
	}
	return newest, nil
}

// Version is the root's number.
func (r *Root) Version() int64 { return r.version }

// Expires is when the root's keys lose their word.
func (r *Root) Expires() time.Time { return r.expires }

// Terms are the root's own. They are shared: do not change them.
func (r *Root) Terms() Terms { return r.terms }

// Bytes is the root as it came. They are shared: do not change them.
func (r *Root) Bytes() []byte { return r.raw }

// Digest names the root: lower-case hex SHA-256 of its bytes.
func (r *Root) Digest() string { return digest(r.raw) }

// Trust is what a vendor's root says of releases, or a fleet's of orders.
func (r *Root) Trust() *Trust { return r.release }

// Freshness is what a fleet's root says of the time; nil if nobody may move it.
func (r *Root) Freshness() *Trust { return r.freshness }

// CheckExpiry refuses a root whose time is over. A zero time judges nothing.
func (r *Root) CheckExpiry(at time.Time) error {
	if at.After(r.expires) {
		return refuse(CodeRootExpired, "the %s's root %d expired on %s: a newer one is needed", r.terms.Kind, r.version, day(r.expires))
	}
	return nil
}

// Withdraws says whether a key that a role had is gone from it in a later root:
// then what the role has signed so far is worth nothing any more.
func withdraws(before, after *Trust) bool {
	if before == nil {
		return false
	}
	return slices.ContainsFunc(before.keys, func(k key) bool { return after == nil || !after.has(k.id) })
}

// SignersWithdrawn says whether a key that signs releases, or orders, by this root
// does not by a later one.
func (r *Root) SignersWithdrawn(later *Root) bool { return withdraws(r.release, later.release) }

// FreshnessWithdrawn says whether a freshness key of this root is none in a later one.
func (r *Root) FreshnessWithdrawn(later *Root) bool { return withdraws(r.freshness, later.freshness) }

// rootFile is a root's exact shape. go-tuf reads the same bytes, more generously;
// what is refused here it never sees.
type rootFile struct {
	Signed     rootSigned      `json:"signed"`
	Signatures []rootSignature `json:"signatures"`
}

type rootSigned struct {
	Type       string              `json:"_type"`
	Spec       string              `json:"spec_version"`
	Consistent bool                `json:"consistent_snapshot"`
	Version    int64               `json:"version"`
	Expires    time.Time           `json:"expires"`
	Keys       map[string]rootKey  `json:"keys"`
	Roles      map[string]rootRole `json:"roles"`
	Terms      Terms               `json:"slipstream"`
}

func (rootSigned) extensible() {}

type rootKey struct {
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Value  struct {
		Public string `json:"public"`
	} `json:"keyval"`
}

func (rootKey) extensible() {}

type rootRole struct {
	KeyIDs    []string `json:"keyids"`
	Threshold int      `json:"threshold"`
}

func (rootRole) extensible() {}

type rootSignature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// root judges everything but the signatures.
func (f *rootFile) root(data []byte) (*Root, error) {
	s := f.Signed
	switch {
	case s.Version < 1:
		return nil, badRoot("its version is %d", s.Version)
	case s.Expires.Year() < minYear || s.Expires.Year() > maxYear:
		return nil, badRoot("it expires in no year between %d and %d", minYear, maxYear)
	case len(f.Signatures) > MaxTrustKeys:
		return nil, badRoot("it has %d signatures, the limit is %d", len(f.Signatures), MaxTrustKeys)
	}
	for _, sig := range f.Signatures {
		if _, err := hex.DecodeString(sig.Sig); err != nil {
			return nil, badRoot("a signature is not in hex")
		}
	}
	if err := s.Terms.validate(); err != nil {
		return nil, err
	}
	keys, err := s.keys()
	if err != nil {
		return nil, err
	}
	if _, err := s.role(metadata.ROOT, keys); err != nil {
		return nil, err
	}
	r := &Root{raw: slices.Clone(data), version: s.Version, expires: s.Expires, terms: s.Terms}
	if r.release, err = s.role(metadata.TARGETS, keys); err != nil {
		return nil, err
	}
	r.release.root = r
	if r.terms.Kind == KindFleet && len(s.Roles[metadata.TIMESTAMP].KeyIDs) > 0 {
		if r.freshness, err = s.role(metadata.TIMESTAMP, keys); err != nil {
			return nil, err
		}
		r.freshness.root = r
	}
	return r, nil
}

func badRoot(format string, args ...any) error {
	return refuse(CodeRoot, "the root is not valid: "+format, args...)
}

// keys reads every key. One key under two names would count twice.
func (s *rootSigned) keys() (map[string]key, error) {
	if len(s.Keys) > MaxTrustKeys {
		return nil, badRoot("it has %d keys, the limit is %d", len(s.Keys), MaxTrustKeys)
	}
	keys, names := map[string]key{}, map[string]string{}
	for name, written := range s.Keys {
		if (written.Type != metadata.KeyTypeECDSA_SHA2_P256 && written.Type != metadata.KeyTypeECDSA_SHA2_P256_COMPAT) ||
			written.Scheme != metadata.KeySchemeECDSA_SHA2_P256 {
			return nil, badRoot("key %s is not ECDSA P-256", quote(name))
		}
		parsed, err := ParseTrust([]byte(written.Value.Public))
		if err != nil || len(parsed.keys) != 1 {
			return nil, badRoot("key %s is not one ECDSA P-256 key in PEM", quote(name))
		}
		k := parsed.keys[0]
		if other, twice := names[k.id]; twice {
			return nil, badRoot("keys %s and %s are the same key", quote(min(name, other)), quote(max(name, other)))
		}
		keys[name], names[k.id] = k, name
	}
	return keys, nil
}

// role reads who has a role, and how many of them must sign.
func (s *rootSigned) role(name string, keys map[string]key) (*Trust, error) {
	role, ok := s.Roles[name]
	if !ok || len(role.KeyIDs) == 0 {
		return nil, badRoot("nobody has the role %s", name)
	}
	t := &Trust{threshold: role.Threshold}
	for _, id := range role.KeyIDs {
		k, ok := keys[id]
		if !ok {
			return nil, badRoot("role %s names a key that is not there: %s", name, quote(id))
		}
		if t.has(k.id) {
			return nil, badRoot("role %s names key %s twice", name, quote(id))
		}
		t.keys = append(t.keys, k)
	}
	if t.threshold < 1 || t.threshold > len(t.keys) {
		return nil, badRoot("role %s asks for %d signatures of %d keys", name, t.threshold, len(t.keys))
	}
	return t, nil
}

func (t *Terms) validate() error {
	switch {
	case t.Kind != KindVendor && t.Kind != KindFleet:
		return badRoot("it says of itself neither that it is a vendor's nor that it is a fleet's")
	case t.SecurityEpoch < 0:
		return badRoot("its security epoch is negative")
	case len(t.Counters) > MaxHardware || len(t.Revoked) > MaxRevoked:
		return badRoot("it lists more than %d products or %d packages", MaxHardware, MaxRevoked)
	case t.Kind == KindVendor && t.Offline != "" || t.Kind == KindFleet && t.Offline != OfflineOrder && t.Offline != OfflineRelease:
		return badRoot("its policy for packages without an order is %s, not %q or %q", quote(t.Offline), OfflineOrder, OfflineRelease)
	case t.Kind == KindFleet && (t.SecurityEpoch != 0 || t.Counters != nil || t.Revoked != nil || t.Keyless != nil):
		return badRoot("a fleet cannot say what only the vendor may")
	}
	for product, counter := range t.Counters {
		if !isName(product) || counter < 0 {
			return badRoot("the lowest release of product %s is not valid", quote(product))
		}
	}
	if i := slices.IndexFunc(t.Revoked, func(d string) bool { return !isSHA256(d) }); i >= 0 {
		return badRoot("%s is not the digest of a package", quote(t.Revoked[i]))
	}
	return t.Keyless.validate()
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
