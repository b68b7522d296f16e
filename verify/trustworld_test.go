package verify_test

import (
	"crypto/ecdsa"
	"slices"
	"testing"
	"time"

	"slipstream/verify"
	"slipstream/verify/trusttest"
)

// trustWorld is a vendor with two of three release keys, a fleet, and a device
// that belongs to both.
type trustWorld struct {
	t              testing.TB
	f              *fixture // whose statement is signed, and whose device it is
	vendor, fleet  trusttest.Root
	payload        []byte
	vendorRoot     *verify.Root
	dev            verify.Device
	digest         string
	order          verify.Order
	stranger, thin *ecdsa.PrivateKey // known to nobody; known to the fleet as a device
}

var today = time.Date(2027, 1, 15, 0, 0, 0, 0, time.UTC)

func newTrustWorld(f *fixture) *trustWorld {
	f.t.Helper()
	keys := trusttest.Keys(f.t, 13)
	w := &trustWorld{t: f.t, f: f, payload: f.payload, dev: f.dev, stranger: keys[10], thin: keys[11]}
	w.vendor = trusttest.Root{
		Version: 1, Expires: today.AddDate(10, 0, 0), Terms: verify.Terms{Kind: verify.KindVendor},
		Root: trusttest.Role{Keys: keys[0:3], Threshold: 2}, Targets: trusttest.Role{Keys: keys[3:6], Threshold: 2},
	}
	w.fleet = trusttest.Root{
		Version: 1, Expires: today.AddDate(3, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
		Root: trusttest.Role{Keys: keys[6:7]}, Targets: trusttest.Role{Keys: keys[7:8]}, Timestamps: trusttest.Role{Keys: keys[8:9]},
	}
	w.dev.ID, w.dev.Time = "cam-7", today
	w.vendorRoot = w.vendor.Parse(f.t)
	w.digest = digestOf(f.t, f)
	w.order = verify.Order{
		Devices: []string{"cam-6", "cam-7"}, Package: w.digest, Sequence: 5,
		IssuedAt: today.AddDate(0, 0, -1), Expires: today.AddDate(0, 0, 7),
	}
	return w
}

func digestOf(t testing.TB, f *fixture) string {
	t.Helper()
	_, d, err := verify.Recheck(f.head, f.trust)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// enrolled makes the device belong to the fleet.
func (w *trustWorld) enrolled() *trustWorld {
	w.dev.Fleet = &verify.Fleet{Root: w.fleet.Parse(w.t)}
	return w
}

// head is the package's head with the signatures of some keys.
func (w *trustWorld) head(by ...*ecdsa.PrivateKey) verify.Head {
	return verify.Head{Bundles: trusttest.Bundles(w.t, verify.PayloadType, w.payload, by...)}
}

// good is a head that the device accepts.
func (w *trustWorld) good() verify.Head {
	return w.ordering(w.head(w.vendor.Targets.Keys[:2]...))
}

// ordering adds the fleet's order.
func (w *trustWorld) ordering(h verify.Head) verify.Head {
	h.Orders = w.ordered(nil)
	return h
}

// ordered is the fleet's order, after a change.
func (w *trustWorld) ordered(change func(*verify.Order)) [][]byte {
	o := w.order
	if change != nil {
		change(&o)
	}
	return trusttest.Order(w.t, o, w.fleet.Targets.Keys...)
}

func (w *trustWorld) judge(h verify.Head) error {
	_, _, err := verify.JudgeHead(h, w.vendorRoot.Trust(), w.dev)
	return err
}

// withOrder judges the good package with another order.
func (w *trustWorld) withOrder(change func(*verify.Order)) error {
	h := w.good()
	h.Orders = w.ordered(change)
	return w.judge(h)
}

// next is the vendor's next root with a change, signed as the change leaves it by
// the old root keys and its own.
func next(r trusttest.Root, change func(*trusttest.Root)) trusttest.Root {
	r.Version++
	if change != nil {
		change(&r)
	}
	return r
}

// bothSign writes a root down with the root keys of the one before and its own.
func bothSign(t testing.TB, before, r trusttest.Root) []byte {
	t.Helper()
	by := slices.Clone(r.Root.Keys)
	for _, key := range before.Root.Keys {
		if !slices.Contains(by, key) {
			by = append(by, key)
		}
	}
	return r.Sign(t, by...)
}

// chain judges the good package with roots that follow the vendor's.
func (w *trustWorld) chain(roots ...[]byte) error {
	h := w.good()
	h.VendorRoots = roots
	return w.judge(h)
}
