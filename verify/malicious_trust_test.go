package verify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"slipstream/verify"
	"slipstream/verify/trust"
	"slipstream/verify/trusttest"
)

// in runs a row in a vendor's and a fleet's world; the device is enrolled.
func in(run func(w *trustWorld) error) func(*fixture) error {
	return func(f *fixture) error { return run(newTrustWorld(f).enrolled()) }
}

// root is a row of a first root that is not valid.
func root(change func(*trusttest.Root)) func(*fixture) error {
	return in(func(w *trustWorld) error {
		r := w.vendor
		change(&r)
		_, err := verify.ParseRoot(r.Sign(w.t))
		return err
	})
}

// rootKeys is a row of a root whose keys and roles were edited.
func rootSigned(edit func(*metadata.RootType)) func(*fixture) error {
	return root(func(r *trusttest.Root) { r.Edit = edit })
}

var thresholds = []malicious{
	{7, "the same signature twice for a threshold of two", verify.CodeThreshold, in(func(w *trustWorld) error {
		h := w.good()
		h.Bundles[1] = h.Bundles[0]
		return w.judge(h)
	})},
	{7, "the same key twice, two signatures", verify.CodeThreshold, in(func(w *trustWorld) error {
		key := w.vendor.Targets.Keys[0]
		return w.judge(w.head(key, key))
	})},
	{7, "one of two signatures", verify.CodeThreshold, in(func(w *trustWorld) error { return w.judge(w.head(w.vendor.Targets.Keys[0])) })},
	{7, "one of two signatures, and a stranger's", verify.CodeThreshold, in(func(w *trustWorld) error {
		return w.judge(w.head(w.vendor.Targets.Keys[0], w.stranger))
	})},
	{8, "the same key under two ids in the root", verify.CodeRoot, rootSigned(func(r *metadata.RootType) {
		role := r.Roles[metadata.TARGETS]
		again := *r.Keys[role.KeyIDs[0]]
		again.Type = metadata.KeyTypeECDSA_SHA2_P256_COMPAT
		r.Keys["again"] = &again
		role.KeyIDs = append(role.KeyIDs, "again")
	})},
	{8, "the same key under two ids in two roles", verify.CodeRoot, rootSigned(func(r *metadata.RootType) {
		again := *r.Keys[r.Roles[metadata.TARGETS].KeyIDs[0]]
		r.Keys["again"] = &again
		r.Roles[metadata.SNAPSHOT].KeyIDs = []string{"again"}
	})},
	{29, "two trusted keys over two statements", verify.CodePayload, in(func(w *trustWorld) error {
		h := w.good()
		w.payload = w.f.statement(func(m *verify.Manifest) { m.Version = "2.0.1" })
		h.Bundles[1] = w.head(w.vendor.Targets.Keys[1]).Bundles[0]
		return w.judge(h)
	})},
	{25, "signed by a key that the next root left out", verify.CodeUntrusted, in(func(w *trustWorld) error {
		h := w.good()
		h.VendorRoots = [][]byte{bothSign(w.t, w.vendor, next(w.vendor, func(r *trusttest.Root) {
			r.Targets = trusttest.Role{Keys: trusttest.Keys(w.t, 1)}
		}))}
		return w.judge(h)
	})},
	{25, "one of two keys was left out by the next root", verify.CodeThreshold, in(func(w *trustWorld) error {
		h := w.good() // signed by keys 0 and 1
		h.VendorRoots = [][]byte{bothSign(w.t, w.vendor, next(w.vendor, func(r *trusttest.Root) { r.Targets.Keys = r.Targets.Keys[1:] }))}
		return w.judge(h)
	})},
	{26, "signed by the fleet's order key", verify.CodeUntrusted, in(func(w *trustWorld) error {
		return w.judge(w.head(w.fleet.Targets.Keys[0], w.fleet.Root.Keys[0]))
	})},
	{26, "signed by the vendor's root keys", verify.CodeUntrusted, in(func(w *trustWorld) error {
		return w.judge(w.head(w.vendor.Root.Keys...))
	})},
	{27, "signed by a device's key", verify.CodeUntrusted, in(func(w *trustWorld) error { return w.judge(w.head(w.thin)) })},
}

var floors = []malicious{
	{47, "below the root's lowest release", verify.CodeRollback, in(func(w *trustWorld) error {
		return w.chain(bothSign(w.t, w.vendor, next(w.vendor, func(r *trusttest.Root) {
			r.Terms.Counters = map[string]int64{"gatecam": 8}
		})))
	})},
	{49, "too far above the root's lowest release", verify.CodeCounterJump, in(func(w *trustWorld) error {
		payload := w.f.statement(func(m *verify.Manifest) { m.ReleaseCounter = verify.MaxCounterStep + 8 })
		w.payload = payload
		return w.chain(bothSign(w.t, w.vendor, next(w.vendor, func(r *trusttest.Root) {
			r.Terms.Counters = map[string]int64{"gatecam": 7}
		})))
	})},
	{50, "security epoch below the device's", verify.CodeEpoch, in(func(w *trustWorld) error {
		w.dev.FloorEpoch = 1
		return w.judge(w.good())
	})},
	{50, "security epoch below the root's", verify.CodeEpoch, in(func(w *trustWorld) error {
		return w.chain(bothSign(w.t, w.vendor, next(w.vendor, func(r *trusttest.Root) { r.Terms.SecurityEpoch = 1 })))
	})},
	{50, "taken back by its digest", verify.CodeRevoked, in(func(w *trustWorld) error {
		return w.chain(bothSign(w.t, w.vendor, next(w.vendor, func(r *trusttest.Root) { r.Terms.Revoked = []string{w.digest} })))
	})},
	{51, "expired by secure time", verify.CodeExpired, in(func(w *trustWorld) error {
		w.payload = w.f.statement(func(m *verify.Manifest) { m.Expires = today.Add(-time.Second) })
		return w.judge(w.good())
	})},
	{51, "the vendor's root expired", verify.CodeRootExpired, in(func(w *trustWorld) error {
		w.dev.Time = w.vendor.Expires.Add(time.Second)
		w.dev.Fleet = nil
		return w.judge(w.good())
	})},
	{51, "the fleet's root expired", verify.CodeRootExpired, in(func(w *trustWorld) error {
		w.dev.Time = w.fleet.Expires.Add(time.Second)
		return w.judge(w.good())
	})},
	{51, "the root at the end of the chain expired", verify.CodeRootExpired, in(func(w *trustWorld) error {
		return w.chain(bothSign(w.t, w.vendor, next(w.vendor, func(r *trusttest.Root) { r.Expires = today.Add(-time.Second) })))
	})},
	{52, "issued after its keys expired", verify.CodeIssued, in(func(w *trustWorld) error {
		w.payload = w.f.statement(func(m *verify.Manifest) { m.IssuedAt = w.vendor.Expires.Add(time.Second) })
		return w.judge(w.good())
	})},
}

var fleetOrders = []malicious{
	{53, "order for other devices", verify.CodeOrderForeign, in(func(w *trustWorld) error {
		return w.withOrder(func(o *verify.Order) { o.Devices = []string{"cam-70", "CAM-7", "cam-"} })
	})},
	{53, "order for other hardware", verify.CodeOrderForeign, in(func(w *trustWorld) error {
		return w.withOrder(func(o *verify.Order) { o.Devices, o.Hardware = nil, []string{"cam-a2"} })
	})},
	{53, "the number of an order that was obeyed, for another one", verify.CodeOrderReplayed, in(func(w *trustWorld) error {
		w.dev.Fleet.Sequence, w.dev.Fleet.Newest = 5, strings.Repeat("0", 64)
		return w.judge(w.good())
	})},
	{53, "order signed by a stranger", verify.CodeOrderSigner, in(func(w *trustWorld) error {
		h := w.good()
		h.Orders = trusttest.Order(w.t, w.order, w.stranger)
		return w.judge(h)
	})},
	{53, "order signed by the freshness key", verify.CodeOrderSigner, in(func(w *trustWorld) error {
		h := w.good()
		h.Orders = trusttest.Order(w.t, w.order, w.fleet.Timestamps.Keys...)
		return w.judge(h)
	})},
	{53, "order signed by the release keys", verify.CodeOrderSigner, in(func(w *trustWorld) error {
		h := w.good()
		h.Orders = trusttest.Order(w.t, w.order, w.vendor.Targets.Keys...)
		return w.judge(h)
	})},
	{54, "order for another package", verify.CodeOrderPackage, in(func(w *trustWorld) error {
		return w.withOrder(func(o *verify.Order) { o.Package = strings.Repeat("0", 64) })
	})},
	{54, "no order", verify.CodeNoOrder, in(func(w *trustWorld) error {
		h := w.good()
		h.Orders = nil
		return w.judge(h)
	})},
	{54, "no order by the link, whatever the policy for sticks", verify.CodeNoOrder, in(func(w *trustWorld) error {
		w.fleet.Terms.Offline = verify.OfflineRelease
		w.enrolled().dev.Fleet.Linked = true
		h := w.good()
		h.Orders = nil
		return w.judge(h)
	})},
	{54, "a bad order beats the policy for none", verify.CodeOrderForeign, in(func(w *trustWorld) error {
		w.fleet.Terms.Offline = verify.OfflineRelease
		return w.enrolled().withOrder(func(o *verify.Order) { o.Devices = []string{"cam-8"} })
	})},
	{54, "an order alone is no release", verify.CodeUntrusted, in(func(w *trustWorld) error {
		h := w.head(w.stranger, w.thin)
		h.Orders = w.ordered(nil)
		return w.judge(h)
	})},
	{54, "the order as the release", verify.CodeUntrusted, in(func(w *trustWorld) error {
		return w.judge(verify.Head{Bundles: w.ordered(nil), Orders: w.ordered(nil)})
	})},
	{54, "a release as the order", verify.CodeWrongDocument, in(func(w *trustWorld) error {
		h := w.good()
		h.Orders = w.head(w.fleet.Targets.Keys...).Bundles
		return w.judge(h)
	})},
	{54, "order of a newer format", verify.CodeNewerFormat, in(func(w *trustWorld) error {
		return w.withOrder(func(o *verify.Order) { o.Format = 2 })
	})},
	{54, "order for devices and for all", verify.CodeOrder, in(func(w *trustWorld) error {
		return w.withOrder(func(o *verify.Order) { o.All = true })
	})},
	{54, "order without a number", verify.CodeOrder, in(func(w *trustWorld) error {
		return w.withOrder(func(o *verify.Order) { o.Sequence = 0 })
	})},
	{61, "older than the order that was obeyed", verify.CodeOrderOlder, in(func(w *trustWorld) error {
		w.dev.Fleet.Sequence, w.dev.Fleet.Newest = 6, strings.Repeat("0", 64)
		return w.judge(w.good())
	})},
	{61, "expired order", verify.CodeOrderExpired, in(func(w *trustWorld) error {
		w.dev.Time = w.order.Expires.Add(time.Second)
		return w.judge(w.good())
	})},
	{61, "order under an older root of the fleet", verify.CodeOrderSigner, in(func(w *trustWorld) error {
		h := w.good()
		newer := next(w.fleet, func(r *trusttest.Root) { r.Targets.Keys = trusttest.Keys(w.t, 1) })
		h.FleetRoots = [][]byte{bothSign(w.t, w.fleet, newer)}
		return w.judge(h)
	})},
}

var roots = []malicious{
	{57, "a root is left out of the chain", verify.CodeRootStep, in(func(w *trustWorld) error {
		third := next(next(w.vendor, nil), nil)
		return w.chain(bothSign(w.t, w.vendor, third))
	})},
	{57, "roots in the wrong order", verify.CodeRootStep, in(func(w *trustWorld) error {
		second := next(w.vendor, nil)
		return w.chain(bothSign(w.t, second, next(second, nil)), bothSign(w.t, w.vendor, second))
	})},
	{57, "the fleet's root after the vendor's", verify.CodeRoot, in(func(w *trustWorld) error {
		return w.chain(bothSign(w.t, w.vendor, next(w.fleet, nil)))
	})},
	{58, "signed by new keys only", verify.CodeRootUntrusted, in(func(w *trustWorld) error {
		return w.chain(next(w.vendor, func(r *trusttest.Root) { r.Root.Keys = trusttest.Keys(w.t, 2) }).Sign(w.t))
	})},
	{58, "signed by old keys only", verify.CodeRootUntrusted, in(func(w *trustWorld) error {
		r := next(w.vendor, func(r *trusttest.Root) { r.Root.Keys = trusttest.Keys(w.t, 2) })
		return w.chain(r.Sign(w.t, w.vendor.Root.Keys...))
	})},
	{58, "signed by one of two old keys", verify.CodeRootUntrusted, in(func(w *trustWorld) error {
		r := next(w.vendor, func(r *trusttest.Root) { r.Root = trusttest.Role{Keys: r.Root.Keys[:1]} })
		return w.chain(r.Sign(w.t))
	})},
	{58, "changed after signing", verify.CodeRootUntrusted, in(func(w *trustWorld) error {
		return w.chain(bytes.Replace(bothSign(w.t, w.vendor, next(w.vendor, nil)), []byte(`"version":2`), []byte(`"version":2,"x":1`), 1))
	})},
	{59, "threshold of nobody", verify.CodeRoot, rootSigned(func(r *metadata.RootType) { r.Roles[metadata.TARGETS].Threshold = 0 })},
	{59, "root threshold of nobody", verify.CodeRoot, rootSigned(func(r *metadata.RootType) { r.Roles[metadata.ROOT].Threshold = 0 })},
	{59, "negative threshold", verify.CodeRoot, rootSigned(func(r *metadata.RootType) { r.Roles[metadata.TARGETS].Threshold = -1 })},
	{59, "threshold that nobody can reach", verify.CodeRoot, rootSigned(func(r *metadata.RootType) { r.Roles[metadata.TARGETS].Threshold = 4 })},
	{59, "a key twice in a role", verify.CodeRoot, rootSigned(func(r *metadata.RootType) {
		role := r.Roles[metadata.TARGETS]
		role.KeyIDs = append(role.KeyIDs, role.KeyIDs[0])
	})},
	{59, "a key that is not there", verify.CodeRoot, rootSigned(func(r *metadata.RootType) {
		r.Roles[metadata.TARGETS].KeyIDs[0] = strings.Repeat("0", 64)
	})},
	{59, "no targets role", verify.CodeRoot, rootSigned(func(r *metadata.RootType) { delete(r.Roles, metadata.TARGETS) })},
	{59, "nobody in the targets role", verify.CodeRoot, root(func(r *trusttest.Root) { r.Targets = trusttest.Role{} })},
	{59, "a key of another curve", verify.CodeRoot, rootSigned(func(r *metadata.RootType) {
		key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err == nil {
			r.Keys[r.Roles[metadata.TARGETS].KeyIDs[0]], err = metadata.KeyFromPublicKey(key.Public())
		}
		if err != nil {
			panic(err) // nothing in it can fail
		}
	})},
	{59, "a key of another scheme", verify.CodeRoot, rootSigned(func(r *metadata.RootType) {
		r.Keys[r.Roles[metadata.TARGETS].KeyIDs[0]].Scheme = metadata.KeySchemeECDSA_SHA2_P384
	})},
	{59, "not signed by its own keys", verify.CodeRootUntrusted, in(func(w *trustWorld) error {
		_, err := verify.ParseRoot(w.vendor.Sign(w.t, w.stranger, w.thin))
		return err
	})},
	{59, "kind unknown", verify.CodeRoot, root(func(r *trusttest.Root) { r.Terms.Kind = "panel" })},
	{59, "no terms", verify.CodeRoot, rootSigned(func(r *metadata.RootType) { r.UnrecognizedFields = nil })},
	{59, "a fleet that takes packages back", verify.CodeRoot, root(func(r *trusttest.Root) {
		r.Terms = verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder, SecurityEpoch: 9}
	})},
	{59, "duplicate member", verify.CodeJSON, rootText(`"version":1`, `"version":1,"version":2`)},
	{59, "member in capitals beside its own", verify.CodeJSON, rootText(`"version":1`, `"version":1,"VERSION":2`)},
	{59, "member in capitals instead of its own", verify.CodeJSON, rootText(`"version":1`, `"Version":1`)},
	{59, "member outside of what is signed", verify.CodeUnknownField, rootText(`{"signatures":`, `{"note":1,"signatures":`)},
	{59, "second document behind it", verify.CodeJSON, in(func(w *trustWorld) error {
		_, err := verify.ParseRoot(append(w.vendor.Sign(w.t), "{}"...))
		return err
	})},
	{59, "root of 65 KiB", verify.CodeTooLarge, in(func(w *trustWorld) error {
		_, err := verify.ParseRoot(append(w.vendor.Sign(w.t), bytes.Repeat([]byte(" "), verify.MaxTrustFile)...))
		return err
	})},
	{60, "the root before, again", verify.CodeRootReplayed, in(func(w *trustWorld) error {
		second, err := w.vendorRoot.Next(bothSign(w.t, w.vendor, next(w.vendor, nil)))
		if err == nil {
			_, err = second.Next(w.vendor.Sign(w.t))
		}
		return err
	})},
	{60, "another root of the same number", verify.CodeRootReplayed, in(func(w *trustWorld) error {
		_, err := w.vendorRoot.Next(w.vendor.Sign(w.t, w.vendor.Root.Keys[:2]...))
		return err
	})},
	{60, "the keys of an older root that the package carries", verify.CodeUntrusted, in(func(w *trustWorld) error {
		h := w.good()
		h.VendorRoots = [][]byte{w.vendor.Sign(w.t)}
		newer := bothSign(w.t, w.vendor, next(w.vendor, func(r *trusttest.Root) { r.Targets.Keys = trusttest.Keys(w.t, 2) }))
		var err error
		if w.vendorRoot, err = w.vendorRoot.Next(newer); err != nil {
			return err
		}
		return w.judge(h)
	})},
}

// rootText is a row of a root that was edited as text.
func rootText(old, new string) func(*fixture) error {
	return in(func(w *trustWorld) error {
		_, err := verify.ParseRoot(w.f.replace(w.vendor.Sign(w.t), old, new))
		return err
	})
}

// clocks are rows whose wall clock stands where an attacker, or a dead battery,
// has put it: in 2000, and in 2099.
func clocks(run func(w *trustWorld) error) func(*fixture) error {
	return in(func(w *trustWorld) error {
		var early, late error
		synctest.Test(w.t.(*testing.T), func(*testing.T) {
			early = run(w)
			time.Sleep(time.Until(time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC)))
			late = run(w)
		})
		if verify.Code(early) != verify.Code(late) {
			return fmt.Errorf("in 2000: %w; in 2099: %w", early, late)
		}
		return late
	})
}

// kept opens a device's state after something has happened to its files, and judges
// the good package by it.
func kept(spoil func(dir string) error) func(*fixture) error {
	return in(func(w *trustWorld) error {
		dir, counter := w.t.TempDir(), trust.FileCounter(w.t.TempDir()+"/counter")
		open := func() (*trust.Store, error) {
			return trust.Open(dir, trust.Factory{Vendor: w.vendorRoot.Trust(), Counter: counter})
		}
		s, err := open()
		if err == nil {
			err = s.Committed(trust.Installed{Product: "gatecam", Digest: w.digest, Counter: 8, Epoch: 1})
		}
		if err == nil {
			err = spoil(dir)
		}
		if err == nil {
			s, err = open()
		}
		if err == nil {
			w.dev, err = s.Device("gatecam")
		}
		if err != nil {
			return err
		}
		w.dev.Hardware = "cam-a1"
		w.payload = w.f.statement(func(m *verify.Manifest) { m.SecurityEpoch = 0 })
		return w.judge(w.good())
	})
}

// spoiled flips a bit in some of a directory's files.
func spoiled(names ...string) func(dir string) error {
	return func(dir string) error {
		for _, name := range names {
			raw, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			raw[len(raw)/2] ^= 1
			if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
				return err
			}
		}
		return nil
	}
}

var states = []malicious{
	{62, "expired, whatever the wall clock says", verify.CodeExpired, clocks(func(w *trustWorld) error {
		w.payload = w.f.statement(func(m *verify.Manifest) { m.Expires = today.Add(-time.Second) })
		return w.judge(w.good())
	})},
	{62, "expired root, whatever the wall clock says", verify.CodeRootExpired, clocks(func(w *trustWorld) error {
		w.dev.Time = w.fleet.Expires.Add(time.Second)
		return w.judge(w.good())
	})},
	{62, "expired order, whatever the wall clock says", verify.CodeOrderExpired, clocks(func(w *trustWorld) error {
		w.dev.Time = w.order.Expires.Add(time.Second)
		return w.judge(w.good())
	})},
	{94, "one copy of the state damaged", verify.CodeRollback, kept(spoiled("state.0"))},
	{94, "the other copy damaged", verify.CodeRollback, kept(spoiled("state.1"))},
	{94, "both copies damaged: the hardware's counter is left", verify.CodeEpoch, kept(spoiled("state.0", "state.1"))},
	{94, "both copies gone: the hardware's counter is left", verify.CodeEpoch, kept(os.RemoveAll)},
}
