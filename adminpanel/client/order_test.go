package client_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/view"
	"slipstream/verify"
	"slipstream/verify/pack"
	"slipstream/verify/trusttest"
)

func TestAnOrderIsForAStick(t *testing.T) {
	dir, keys := t.TempDir(), trusttest.Keys(t, 2)
	root := trusttest.Root{
		Version: 1, Expires: time.Now().AddDate(3, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
		Root: trusttest.Role{Keys: keys[:1]}, Targets: trusttest.Role{Keys: keys[1:]},
	}
	text, err := pack.PrivatePEM(keys[1])
	if err != nil {
		t.Fatal(err)
	}
	cfg := plain()
	cfg.Fleet, cfg.Orders = filepath.Join(dir, "root.json"), []string{filepath.Join(dir, "order.key")}
	for name, text := range map[string][]byte{cfg.Fleet: root.Sign(t), cfg.Orders[0]: text} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := serve(t, cfg, nil)
	p := packageOf(t, "2.0.0")
	r, err := w.direct.AddRelease(t.Context(), p, client.Transfer{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = w.direct.Order(t.Context(), r.ID, view.OrderRequest{Until: time.Now().Add(time.Hour)}); err != nil || r.Order == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	word, err := w.direct.OrderFile(t.Context(), r.ID)
	if err != nil || len(word) == 0 {
		t.Errorf("%d bytes, %v", len(word), err)
	}
	var stick bytes.Buffer
	if err := w.direct.OrderPackage(t.Context(), r.ID, &stick); err != nil {
		t.Fatal(err)
	}
	if q, err := verify.Unverified(bytes.NewReader(stick.Bytes()), int64(stick.Len())); err != nil || q.Digest != r.Digest || int64(stick.Len()) <= p.Size {
		t.Errorf("the stick has %d bytes, the package %d: %v", stick.Len(), p.Size, err)
	}
	// What broke off is not taken for the whole.
	w.net.next(loseAnswer)
	if err := w.far.OrderPackage(t.Context(), r.ID, &bytes.Buffer{}); err == nil {
		t.Error("half a package is one")
	}
}
