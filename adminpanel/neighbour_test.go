package adminpanel_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"slipstream/adminpanel/config"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/etcd/etcdtest"
	"slipstream/adminpanel/view"
)

// A device's page at a panel is the same wherever its link is: status, what it went through,
// buttons and pictures.
func linkedToAnotherPanel(t *testing.T, cluster *etcdtest.Cluster) {
	releases := t.TempDir()
	of := func(name string) config.Config {
		cfg := blank(t.TempDir())
		cfg.Store.Prefix = "/linked/"
		cfg.Panel, cfg.Store.Kind, cfg.Store.Endpoints, cfg.Store.Releases = name, config.StoreEtcd, cluster.Endpoints(), releases
		return cfg
	}
	one := start(t, of("one"))
	two := launch(t, of("two"))
	two.ann = one.ann
	two.device("cam-1", func(_ context.Context, offer string) (string, error) { return "answer to " + offer, nil })
	release := one.upload(build(t, newKey(t), "2.0.0", 2))

	d := one.until("cam-1", "known at the other panel", func(d view.DeviceDetail) bool { return d.Online && d.Status != nil })
	if len(d.Status.Slots) == 0 || d.StatusAgeMS < 0 || d.StatusAgeMS > patience.Milliseconds() {
		t.Errorf("its status there is %+v, %d ms old", d.Status, d.StatusAgeMS)
	}
	one.ask("POST", "/api/v1/devices/cam-1/stage?wait=60s", view.StageRequest{Release: release.ID}).is(http.StatusOK, nil)
	one.until("cam-1", "staged", func(d view.DeviceDetail) bool { return d.State == view.DeviceStaged })
	one.ask("POST", "/api/v1/devices/cam-1/activate?wait=60s", view.ActivateRequest{}).is(http.StatusOK, nil)
	denied := func(d view.DeviceDetail, name string) string {
		i := slices.IndexFunc(d.Actions, func(a view.Action) bool { return a.Name == name })
		return d.Actions[i].Denied
	}
	one.until("cam-1", "on trial, to be confirmed", func(d view.DeviceDetail) bool {
		return d.Status != nil && d.Status.Trial != nil && denied(d, "confirm") == "" && denied(d, "cancel") != ""
	})
	one.ask("POST", "/api/v1/devices/cam-1/confirm?wait=60s", nil).is(http.StatusOK, nil)
	one.until("cam-1", "confirmed", func(d view.DeviceDetail) bool { return d.Running == "2.0.0" && d.Status.Trial == nil })

	var here, there view.History
	one.ask("GET", "/api/v1/devices/cam-1/history", nil).is(http.StatusOK, &here)
	two.ask("GET", "/api/v1/devices/cam-1/history", nil).is(http.StatusOK, &there)
	if len(here.Records) != 2 || len(there.Records) != 2 || here.Records[0].To != "2.0.0" {
		t.Errorf("it went through %+v there, and %+v by itself", here, there)
	}
	offered := one.ask("POST", "/api/v1/devices/cam-1/whep/main", "v=0", "Content-Type", "application/sdp")
	if offered.status != http.StatusCreated || !strings.Contains(string(offered.body), "answer to v=0") {
		t.Errorf("an offer was answered %d %s", offered.status, offered.body)
	}
	if got := one.ask("DELETE", offered.header.Get("Location"), nil); got.status != http.StatusNoContent {
		t.Errorf("the end of the session was answered %d %s", got.status, got.body)
	}

	for what, got := range map[string]got{ // neither panel has a relay, and the device's says so
		"an offer": one.ask("POST", "/api/v1/devices/cam-1/whep/main?via=panel", "v=0", "Content-Type", "application/sdp"),
		"an end":   one.ask("DELETE", "/api/v1/devices/cam-1/whep/main/relay_s1_x", nil),
	} {
		if got.status != http.StatusNotImplemented || !strings.Contains(string(got.body), "linked to") {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}

	s := cluster.Open(t, "/linked/", 0)
	one.eventually("nothing of it is left in the store", func() bool {
		page, err := s.Scan(t.Context(), "far/", store.PrefixEnd("far/"), 10)
		return err == nil && len(page.Items) == 0
	})
	two.stop()
	one.until("cam-1", "gone with its panel", func(d view.DeviceDetail) bool { return !d.Online })
	if got := one.ask("GET", "/api/v1/devices/cam-1/history", nil); got.status != http.StatusServiceUnavailable {
		t.Errorf("its history is then %d %s", got.status, got.body)
	}
}
