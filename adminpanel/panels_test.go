package adminpanel_test

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"slipstream/adminpanel"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/store/etcd/etcdtest"
	"slipstream/adminpanel/view"
)

// Two panels on one etcd are one to people and to devices: one authority, one set of
// accounts, tokens that are good once, and a device that one of them shuts out has no link to
// the other.
func TestTwoPanelsOnEtcd(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.New(t)
	releases := t.TempDir()
	of := func(name string) config.Config {
		cfg := blank(t.TempDir())
		cfg.Panel, cfg.Store.Kind, cfg.Store.Endpoints, cfg.Store.Releases = name, config.StoreEtcd, cluster.Endpoints(), releases
		return cfg
	}
	one := start(t, of("one"))
	two := launch(t, of("two"))
	twin := make(chan error, 1)
	go func() { twin <- refused(t, of("one")) }() // it waits for a lease to end that does not
	two.ann = one.ann                             // a session of one is good at the other
	var me view.Me
	if two.ask("GET", "/api/v1/me", nil).is(http.StatusOK, &me); me.Name != "ann" {
		t.Errorf("the other panel takes ann for %+v", me)
	}
	if token, err := two.panel.SetupToken(t.Context()); token != "" || err != nil {
		t.Errorf("the other panel makes a first account of its own: %q, %v", token, err)
	}

	// A token of one enrols at the other, which pins that authority; the device calls there.
	made := one.token("cam-1")
	two.enrolBy(made, "cam-1")
	two.until("cam-1", "linked", func(d view.DeviceDetail) bool { return d.Online && d.Status != nil })
	one.until("cam-1", "seen from the other panel", func(d view.DeviceDetail) bool { return d.Online })
	if _, err := simulated(t, "cam-1", one.link, made); err == nil || !strings.Contains(err.Error(), "used already") {
		t.Errorf("the token a second time, at the other panel: %v", err)
	}
	release := one.upload(build(t, newKey(t), "2.0.0", 2))
	var asked view.Asked
	one.ask("POST", "/api/v1/devices/cam-1/stage", view.StageRequest{Release: release.ID}).is(http.StatusAccepted, &asked)
	two.until("cam-1", "staged at the word of the other panel", func(d view.DeviceDetail) bool { return d.State == view.DeviceStaged })

	one.ask("DELETE", "/api/v1/devices/cam-1", nil, "If-Match", "*").is(http.StatusNoContent, nil)
	two.eventually("the link to the other panel is ended", func() bool { return two.links() == 0 })
	if got := two.ask("GET", "/api/v1/devices/cam-1", nil); got.status != http.StatusNotFound {
		t.Errorf("the other panel still shows it: %d", got.status)
	}

	if err := <-twin; !errors.Is(err, adminpanel.ErrNameTaken) || !strings.Contains(err.Error(), `"one" runs on `) || !strings.Contains(err.Error(), "panel = ") {
		t.Errorf("a second panel of the name one: %v", err)
	}
	if code := one.ask("GET", "/healthz", nil).status; code != http.StatusOK {
		t.Errorf("the first one of that name: %d", code)
	}
	one.stop()
	launch(t, of("one")) // the name is free
}

// refused is why a panel cannot be started.
func refused(t *testing.T, cfg config.Config) error {
	at, err := adminpanel.Listen(cfg)
	if err != nil {
		return err
	}
	p, err := adminpanel.New(t.Context(), cfg, at, slog.New(slog.DiscardHandler))
	if err == nil {
		return errors.Join(errors.New("it started"), p.Close())
	}
	return errors.Join(err, at.Close())
}
