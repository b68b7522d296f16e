package api_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"slipstream/adminpanel/api"
	"slipstream/adminpanel/order"
	"slipstream/adminpanel/view"
	"slipstream/verify"
	"slipstream/verify/trusttest"
)

// fleetOf gives the panel a fleet's root and the key of its orders.
func fleetOf(t *testing.T, root *verify.Root, key trusttest.Role) func(*api.Config) {
	return func(c *api.Config) {
		var err error
		c.Orders, err = order.New(order.Config{Store: c.Store, Audit: c.Audit, Releases: c.Releases, Roots: []*verify.Root{root}, Keys: key.Keys, Log: c.Log})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOrders(t *testing.T) {
	v := newVendor(t)
	keys := trusttest.Role{Keys: trusttest.Keys(t, 1)}
	root := trusttest.Root{
		Version: 1, Expires: time.Now().AddDate(3, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
		Root: trusttest.Role{Keys: trusttest.Keys(t, 1)}, Targets: keys,
	}.Parse(t)
	w := newWorld(t, v.judged(t.TempDir()), fleetOf(t, root, keys))
	slip := v.pack("2.0.0")
	rel := w.release(slip)
	w.enrol("north", "cam-1", "cam-2")
	w.enrol("south", "cam-3")
	w.eventually("all are there", func() bool { return w.cfg.Fleet.Table().Len() == 3 })
	path := "/releases/" + rel.ID + "/order"
	nora := by(w.token("nora", "releaser site:north"))

	w.call("GET", path, nil).fails(404, "no-order")
	w.call("POST", path, view.OrderRequest{}, nora).fails(403, "forbidden")
	w.call("POST", path, view.OrderRequest{Selector: "site:south"}, nora).fails(403, "forbidden")
	w.call("POST", path, view.OrderRequest{Selector: "site:north"}, by(w.token("otto", "operator"))).fails(403, "forbidden")
	w.call("POST", path, view.OrderRequest{Selector: "colour:red"}).fails(422, "selector")
	w.call("POST", path, view.OrderRequest{Selector: "site:west"}).fails(422, "invalid")
	w.call("POST", path, view.OrderRequest{Until: time.Unix(0, 0)}).fails(422, "invalid")
	w.call("POST", path, view.OrderRequest{Selector: "site:north"}, nora).is(200, &rel)
	if rel.Order == nil || rel.Order.Devices != "site:north" {
		t.Fatalf("ordered it is %+v", rel.Order)
	}
	w.call("GET", path, nil, nora).is(200, nil)
	w.call("GET", path, nil, by(w.token("sue", "releaser site:south"))).fails(403, "forbidden")
	w.call("GET", path+"?with=colour", nil).fails(422, "invalid")
	said, err := verify.ParseOrder([][]byte{w.call("GET", path, nil).is(200, nil).body}, root)
	if err != nil || !slices.Equal(said.Devices, []string{"cam-1", "cam-2"}) {
		t.Errorf("the file says %+v, %v", said, err)
	}
	stick := w.call("GET", path+"?with=package", nil).is(200, nil)
	if got, want := stick.header.Get("Content-Disposition"), "attachment; filename=sample-camera-2.0.0.slip"; got != want {
		t.Errorf("a browser stores it as %q", got)
	}
	dev := verify.Device{ID: "cam-1", Product: "sample-camera", Hardware: "rig", Time: time.Now(), Fleet: &verify.Fleet{Root: root}}
	if _, err := verify.Open(bytes.NewReader(stick.body), int64(len(stick.body)), v.trust, dev); err != nil {
		t.Errorf("the stick is refused: %v", err)
	}
	if _, err := verify.Open(bytes.NewReader(slip), int64(len(slip)), v.trust, dev); verify.Code(err) != verify.CodeNoOrder {
		t.Errorf("the bare package: %v", err)
	}
	var s view.Settings
	if w.call("GET", "/settings", nil).is(200, &s); !slices.Equal(s.Roots, root.Trust().KeyIDs()) {
		t.Errorf("people are shown %q", s.Roots)
	}
	if lines := w.lines(); !slices.Contains(lines, "release.order") {
		t.Errorf("the audit has %q", lines)
	}
}

func TestOrdersOfAPanelWithoutAFleet(t *testing.T) {
	v := newVendor(t)
	w := newWorld(t, v.judged(t.TempDir()))
	rel := w.release(v.pack("2.0.0"))
	w.call("POST", "/releases/"+rel.ID+"/order", view.OrderRequest{}).fails(501, "not-set-up")
	w.call("GET", "/releases/"+rel.ID+"/order", nil).fails(501, "not-set-up")
}
