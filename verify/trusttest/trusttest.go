// Package trusttest makes roots, orders and statements of the time for tests, right
// ones and such that no honest tool would make.
//
// It writes them with go-tuf and the dsse library and not with what packs and
// checks them here, so that a mistake made on both sides is seen.
package trusttest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"slipstream/verify"
)

// Keys makes n keys.
func Keys(t testing.TB, n int) []*ecdsa.PrivateKey {
	t.Helper()
	var keys []*ecdsa.PrivateKey
	for range n {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// Role is some keys, and how many of them must sign: 0 means all.
type Role struct {
	Keys      []*ecdsa.PrivateKey
	Threshold int
}

func (r Role) threshold() int {
	if r.Threshold == 0 {
		return len(r.Keys)
	}
	return r.Threshold
}

// Root is what a root says.
type Root struct {
	Version                   int64
	Expires                   time.Time
	Terms                     verify.Terms
	Root, Targets, Timestamps Role
	Edit                      func(*metadata.RootType) // last, before it is signed
}

// Sign writes the root down, signed by the keys given, or else by its own root keys.
func (r Root) Sign(t testing.TB, by ...*ecdsa.PrivateKey) []byte {
	t.Helper()
	meta := metadata.Root(r.Expires)
	meta.Signed.Version = r.Version
	meta.Signed.UnrecognizedFields = map[string]any{verify.TermsMember: r.Terms}
	for name, role := range map[string]Role{metadata.ROOT: r.Root, metadata.TARGETS: r.Targets, metadata.TIMESTAMP: r.Timestamps} {
		for _, key := range role.Keys {
			must(t, meta.Signed.AddKey(tufKey(t, key), name))
		}
		meta.Signed.Roles[name].Threshold = max(role.threshold(), 1)
	}
	if r.Edit != nil {
		r.Edit(&meta.Signed)
	}
	if len(by) == 0 {
		by = r.Root.Keys
	}
	for _, key := range by {
		_, err := meta.Sign(signer(t, key))
		must(t, err)
	}
	data, err := meta.ToBytes(false)
	must(t, err)
	return data
}

// Parse is [verify.ParseRoot] of what Sign writes.
func (r Root) Parse(t testing.TB) *verify.Root {
	t.Helper()
	root, err := verify.ParseRoot(r.Sign(t))
	must(t, err)
	return root
}

// Order signs an order once with each key.
func Order(t testing.TB, o verify.Order, by ...*ecdsa.PrivateKey) [][]byte {
	t.Helper()
	if o.Format == 0 {
		o.Format = verify.OrderFormat
	}
	payload, err := json.Marshal(o.Statement())
	must(t, err)
	return Bundles(t, verify.PayloadType, payload, by...)
}

// Freshness signs a statement of the time once with each key.
func Freshness(t testing.TB, at time.Time, by ...*ecdsa.PrivateKey) [][]byte {
	t.Helper()
	payload, err := json.Marshal(verify.Freshness{Format: verify.FreshnessFormat, Time: at})
	must(t, err)
	return Bundles(t, verify.FreshnessPayloadType, payload, by...)
}

// Bundles signs a payload once with each key, and names no key.
func Bundles(t testing.TB, payloadType string, payload []byte, by ...*ecdsa.PrivateKey) [][]byte {
	t.Helper()
	var all [][]byte
	for _, key := range by {
		wrap, err := dsse.NewEnvelopeSigner(dsseSigner{signer(t, key)})
		must(t, err)
		envelope, err := wrap.SignPayload(t.Context(), payloadType, payload)
		must(t, err)
		data, err := json.Marshal(verify.Bundle{
			MediaType:            verify.MediaType,
			VerificationMaterial: verify.VerificationMaterial{PublicKey: &verify.PublicKey{}},
			DSSE:                 envelope,
		})
		must(t, err)
		all = append(all, data)
	}
	return all
}

type dsseSigner struct{ signature.Signer }

func (s dsseSigner) Sign(_ context.Context, data []byte) ([]byte, error) {
	return s.SignMessage(bytes.NewReader(data))
}

func (dsseSigner) KeyID() (string, error) { return "", nil }

func signer(t testing.TB, key *ecdsa.PrivateKey) signature.Signer {
	t.Helper()
	s, err := signature.LoadSigner(key, crypto.SHA256)
	must(t, err)
	return s
}

func tufKey(t testing.TB, key *ecdsa.PrivateKey) *metadata.Key {
	t.Helper()
	k, err := metadata.KeyFromPublicKey(key.Public())
	must(t, err)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
