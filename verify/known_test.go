package verify_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/verify"
)

func TestKnownByItsDigestAlone(t *testing.T) {
	f := newFixture(t)
	want, digest, err := verify.Recheck(f.head, f.trust)
	if err != nil {
		t.Fatal(err)
	}
	got, err := verify.Known(f.head, digest)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("manifest (-verified +known):\n%s", diff)
	}
	other := f.sign(f.statement(func(m *verify.Manifest) { m.Version = "9.9.9" }))
	for name, head := range map[string][]byte{"another package": other, "no bundle": []byte("{}"), "nothing": nil} {
		if m, err := verify.Known(head, digest); verify.Code(err) == "" {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}
