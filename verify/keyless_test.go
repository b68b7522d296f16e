package verify_test

import (
	"bytes"
	"strings"
	"testing"

	"slipstream/verify"
)

func TestKeylessTerms(t *testing.T) {
	w := newTrustWorld(newFixture(t))
	good := verify.Keyless{Identities: []verify.Identity{{Issuer: "https://issuer.example", Subject: "build@example"}}, TrustedRoot: []byte("{}")}
	for name, change := range map[string]func(*verify.Keyless){
		"":                       func(*verify.Keyless) {},
		"no identity":            func(k *verify.Keyless) { k.Identities = []verify.Identity{} },
		"too many identities":    func(k *verify.Keyless) { k.Identities = make([]verify.Identity, 17) },
		"an identity of nobody":  func(k *verify.Keyless) { k.Identities = []verify.Identity{{Issuer: "x"}} },
		"a subject with escapes": func(k *verify.Keyless) { k.Identities = []verify.Identity{{Issuer: "x", Subject: "\x1b[2J"}} },
		"a subject of two lines": func(k *verify.Keyless) { k.Identities = []verify.Identity{{Issuer: "x", Subject: "a\nb"}} },
		"a long issuer": func(k *verify.Keyless) {
			k.Identities = []verify.Identity{{Issuer: strings.Repeat("x", 513), Subject: "a"}}
		},
		"no trusted root":      func(k *verify.Keyless) { k.TrustedRoot = []byte{} },
		"a large trusted root": func(k *verify.Keyless) { k.TrustedRoot = bytes.Repeat([]byte("x"), 32<<10+1) },
	} {
		terms := good
		change(&terms)
		root := w.vendor
		root.Terms.Keyless = &terms
		if _, err := verify.ParseRoot(root.Sign(t)); (verify.Code(err) == verify.CodeRoot) != (name != "") {
			t.Errorf("%q: %v", name, err)
		}
	}
	fleet := w.fleet
	fleet.Terms.Keyless = &good
	if _, err := verify.ParseRoot(fleet.Sign(t)); verify.Code(err) != verify.CodeRoot {
		t.Errorf("a fleet's: %v", err)
	}
}
