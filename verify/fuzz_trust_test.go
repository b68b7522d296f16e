package verify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"slipstream/verify"
	"slipstream/verify/trusttest"
)

// Nothing that was not signed follows a root, and a root that is accepted is read
// by go-tuf as we read it.
func FuzzRoot(f *testing.F) {
	var keys []*ecdsa.PrivateKey // fixed, or a corpus would say nothing
	for i := range byte(3) {
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), append(make([]byte, 31), i+1))
		if err != nil {
			f.Fatal(err)
		}
		keys = append(keys, key)
	}
	r := trusttest.Root{
		Version: 1, Expires: today, Terms: verify.Terms{Kind: verify.KindVendor},
		Root: trusttest.Role{Keys: keys[:2]}, Targets: trusttest.Role{Keys: keys[2:]},
	}
	first := r.Parse(f)
	second := next(r, nil)
	good := second.Sign(f)
	signed := signedPart(f, good)
	f.Add(good)
	f.Add(next(second, nil).Sign(f))
	f.Add([]byte(`{"signed":{"_type":"root","version":2},"signatures":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := verify.DraftRoot(data)
		if err != nil {
			if verify.Code(err) == "" {
				t.Fatalf("not a refusal: %v", err)
			}
			return
		}
		var meta metadata.Metadata[metadata.RootType]
		if err := json.Unmarshal(data, &meta); err != nil {
			t.Fatalf("go-tuf does not read it: %v", err)
		}
		if meta.Signed.Version != root.Version() || !meta.Signed.Expires.Equal(root.Expires()) ||
			meta.Signed.Roles[metadata.TARGETS].Threshold != root.Trust().Threshold() ||
			len(meta.Signed.Roles[metadata.TARGETS].KeyIDs) != len(root.Trust().KeyIDs()) {
			t.Fatalf("go-tuf reads another root: %+v", meta.Signed)
		}
		if _, err := first.Next(data); err == nil && !bytes.Equal(signedPart(t, data), signed) {
			t.Fatalf("what nobody signed follows the root: %s", data)
		}
	})
}

func signedPart(t testing.TB, root []byte) []byte {
	t.Helper()
	var meta metadata.Metadata[metadata.RootType]
	if err := json.Unmarshal(root, &meta); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(meta.Signed)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
