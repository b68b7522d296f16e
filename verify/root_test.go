package verify_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/verify"
	"slipstream/verify/trusttest"
)

func mustAccept(t *testing.T, err error, what string) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func TestGoodPackageOfAnEnrolledDevice(t *testing.T) {
	f := newFixture(t)
	w := newTrustWorld(f).enrolled()
	m, learned, err := verify.JudgeHead(w.good(), w.vendorRoot.Trust(), w.dev)
	mustAccept(t, err, "the good package")
	if m.Version != "2.0.0" || learned.Order == nil || learned.Order.Sequence != 5 || learned.Vendor != nil || learned.Fleet != nil {
		t.Errorf("learned %+v of version %s", learned, m.Version)
	}
	if !learned.Time.IsZero() {
		t.Errorf("a release tells an enrolled device the time: %v", learned.Time)
	}
	mustAccept(t, w.judge(w.ordering(w.head(w.vendor.Targets.Keys[1:]...))), "two other keys")
	mustAccept(t, w.judge(w.ordering(w.head(w.vendor.Targets.Keys...))), "all three keys")
	mustAccept(t, w.judge(w.ordering(w.head(w.stranger, w.vendor.Targets.Keys[0], w.vendor.Targets.Keys[2]))), "a stranger's signature beside enough others")
	for what, change := range map[string]func(*verify.Order){
		"for all":            func(o *verify.Order) { o.Devices, o.All = nil, true },
		"for its hardware":   func(o *verify.Order) { o.Devices, o.Hardware = nil, []string{"cam-b", "cam-a1"} },
		"with a long number": func(o *verify.Order) { o.Sequence = verify.MaxJSONInteger },
	} {
		mustAccept(t, w.withOrder(change), "an order "+what)
	}
	w.dev.Fleet.Sequence, w.dev.Fleet.Newest = 5, learned.Order.Digest
	h := w.good()
	w.dev.Fleet.Orders, h.Orders = h.Orders, nil
	w.dev.Fleet.Newest = orderDigest(t, w, w.dev.Fleet.Orders)
	mustAccept(t, w.judge(h), "the same order again, by the link")
	w.dev.Time = time.Time{}
	mustAccept(t, w.judge(h), "a device that does not know the time")
}

func orderDigest(t *testing.T, w *trustWorld, files [][]byte) string {
	t.Helper()
	o, err := verify.ParseOrder(files, w.dev.Fleet.Root)
	if err != nil {
		t.Fatal(err)
	}
	return o.Digest
}

func TestStickWithoutAnOrder(t *testing.T) {
	w := newTrustWorld(newFixture(t))
	h := w.good()
	h.Orders = nil
	mustAccept(t, w.judge(h), "a device without a fleet")
	w.fleet.Terms.Offline = verify.OfflineRelease
	w.enrolled()
	mustAccept(t, w.judge(h), "a fleet whose policy is the release")
}

// A release moves time at most to its root's expiry, and only where no fleet does.
func TestWhatAReleaseTellsOfTime(t *testing.T) {
	w := newTrustWorld(newFixture(t))
	issued := w.vendor.Expires
	w.payload = w.f.statement(func(m *verify.Manifest) { m.IssuedAt = issued })
	_, learned, err := verify.JudgeHead(w.good(), w.vendorRoot.Trust(), w.dev)
	mustAccept(t, err, "issued on the last day")
	if !learned.Time.Equal(issued) {
		t.Errorf("it tells %v", learned.Time)
	}
	w.fleet.Timestamps = trusttest.Role{}
	w.enrolled()
	if _, learned, err = verify.JudgeHead(w.good(), w.vendorRoot.Trust(), w.dev); err == nil && !learned.Time.Equal(issued) {
		t.Errorf("in a fleet that does not say what time it is, it tells %v", learned.Time)
	}
	if _, learned, err = verify.JudgeHead(verify.Head{Bundles: [][]byte{w.f.head}}, w.f.trust, w.f.dev); err != nil || !learned.Time.IsZero() {
		t.Errorf("under a file of keys it tells %v (%v)", learned.Time, err)
	}
}

// Every kind of rotation, one after another in one package.
func TestChain(t *testing.T) {
	w := newTrustWorld(newFixture(t)).enrolled()
	fresh := trusttest.Keys(t, 4)
	steps := []func(*trusttest.Root){
		nil, // only a new date
		func(r *trusttest.Root) { r.Targets.Keys = append(slices.Clone(r.Targets.Keys), fresh[0]) }, // a key more
		func(r *trusttest.Root) { r.Targets.Keys = r.Targets.Keys[1:] },                             // a key less
		func(r *trusttest.Root) { r.Root.Keys = append(slices.Clone(r.Root.Keys[1:]), fresh[1]) },   // another root key
		func(r *trusttest.Root) { r.Root = trusttest.Role{Keys: fresh[1:4], Threshold: 3} },         // another threshold
		func(r *trusttest.Root) { r.Expires = today.AddDate(0, 0, -1) },                             // expired in between
		func(r *trusttest.Root) { r.Expires = today.AddDate(20, 0, 0) },
	}
	r := w.vendor
	var chain [][]byte
	for _, step := range steps {
		before := r
		r = next(r, step)
		chain = append(chain, bothSign(t, before, r))
	}
	h := w.ordering(w.head(r.Targets.Keys[1], fresh[0]))
	h.VendorRoots = chain
	_, learned, err := verify.JudgeHead(h, w.vendorRoot.Trust(), w.dev)
	if err != nil {
		t.Fatal(err)
	}
	if v := learned.Vendor.Version(); v != int64(1+len(steps)) || len(learned.Vendor.Steps()) != len(steps) {
		t.Errorf("the newest root is %d after %d steps", v, len(learned.Vendor.Steps()))
	}
	if learned.Vendor.First().Version() != 1 || !learned.Vendor.Descends(w.vendorRoot) || w.vendorRoot.Descends(learned.Vendor) {
		t.Error("the newest root does not come from the first")
	}
	// A device that is half on its way takes the rest of the same chain.
	half, err := w.vendorRoot.Follow(chain[:3])
	if err != nil {
		t.Fatal(err)
	}
	_, learned, err = verify.JudgeHead(h, half.Trust(), w.dev)
	mustAccept(t, err, "a device at root 4")
	if learned.Vendor.Version() != int64(1+len(steps)) {
		t.Errorf("it stays at root %d", learned.Vendor.Version())
	}
}

// A fleet's keys rotate in a package and beside one, and its order is judged by the
// newest.
func TestFleetRotation(t *testing.T) {
	for _, byLink := range []bool{false, true} {
		w := newTrustWorld(newFixture(t)).enrolled()
		w.dev.Fleet.Sequence, w.dev.Fleet.Newest = 9, strings.Repeat("0", 64)
		newer := next(w.fleet, func(r *trusttest.Root) { r.Targets.Keys = trusttest.Keys(t, 1) })
		root := bothSign(t, w.fleet, newer)
		w.fleet = newer
		h := w.good() // order 5, below 9, by the new key
		if byLink {
			w.dev.Fleet.Roots = [][]byte{root}
		} else {
			h.FleetRoots = [][]byte{root}
		}
		_, learned, err := verify.JudgeHead(h, w.vendorRoot.Trust(), w.dev)
		if err != nil || learned.Fleet.Version() != 2 || learned.Order.Sequence != 5 {
			t.Errorf("by link %v: %v", byLink, err)
		}
	}
}

// A threshold of orders is counted like one of releases.
func TestOrderThreshold(t *testing.T) {
	w := newTrustWorld(newFixture(t))
	w.fleet.Targets.Keys = trusttest.Keys(t, 3)
	w.fleet.Targets.Threshold = 2
	w.enrolled()
	for n, want := range map[int]string{1: verify.CodeThreshold, 2: "", 3: ""} {
		h := w.good()
		h.Orders = trusttest.Order(t, w.order, w.fleet.Targets.Keys[:n]...)
		if err := w.judge(h); verify.Code(err) != want {
			t.Errorf("%d signatures: %v", n, err)
		}
	}
}

func TestTrustFiles(t *testing.T) {
	w := newTrustWorld(newFixture(t))
	dir := t.TempDir()
	writeFile(t, dir+"/vendor.json", string(w.vendor.Sign(t)), 0o600)
	writeFile(t, dir+"/fleet.json", string(w.fleet.Sign(t)), 0o600)
	writeFile(t, dir+"/keys.pem", string(publicPEM(t, w.f.key)), 0o600)
	trust, err := verify.LoadTrust(dir + "/vendor.json")
	if err != nil || trust.Threshold() != 2 || len(trust.KeyIDs()) != 3 || trust.Root().Version() != 1 {
		t.Errorf("the vendor's root: %v", err)
	}
	if trust, err = verify.LoadTrust(dir + "/keys.pem"); err != nil || trust.Threshold() != 1 || trust.Root() != nil {
		t.Errorf("a file of keys: %v", err)
	}
	if _, err = verify.LoadTrust(dir + "/fleet.json"); verify.Code(err) != verify.CodeRoot {
		t.Errorf("a fleet's root as the vendor's: %v", err)
	}
	if _, err = verify.LoadFleet(dir + "/vendor.json"); verify.Code(err) != verify.CodeRoot {
		t.Errorf("a vendor's root as a fleet's: %v", err)
	}
	if root, err := verify.LoadFleet(dir + "/fleet.json"); err != nil || root.Freshness() == nil {
		t.Errorf("a fleet's root: %v", err)
	}
}

func TestWallClockChangesNothing(t *testing.T) {
	w := newTrustWorld(newFixture(t)).enrolled()
	h := w.good()
	synctest.Test(t, func(t *testing.T) {
		mustAccept(t, w.judge(h), "in the year 2000")
		time.Sleep(time.Until(time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC)))
		mustAccept(t, w.judge(h), "in the year 2099")
	})
}
