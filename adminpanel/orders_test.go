package adminpanel_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/view"
	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/agent/link"
	"slipstream/verify"
	"slipstream/verify/pack"
	"slipstream/verify/trusttest"
)

// blind is a device without pictures.
type blind struct{}

func (blind) WHEP(context.Context, string, []byte) ([]byte, string, string, error) {
	return nil, "", "", errors.New("there is no picture")
}

func (blind) TellWHEP(context.Context, string, string, []byte) (int, string, []byte, error) {
	return 0, "", nil, errors.New("there is no picture")
}

func (blind) EndWHEP(string) {}

// keyFile writes a key as a panel reads it.
func keyFile(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "order.key")
	if err := os.WriteFile(file, must(pack.PrivatePEM(key)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// linked has a real agent keep a link to its panel.
func (r running) linked(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = link.Run(ctx, r.Identity(), r.Agent, blind{}, slog.New(slog.DiscardHandler)) // it ends with ctx
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

// staged asks for a release to be staged, and waits until the device shows it.
func (w *world) staged(a *agent.Agent, release view.Release) {
	w.Helper()
	w.ask("POST", "/api/v1/devices/cam-1/stage", view.StageRequest{Release: release.ID}).is(http.StatusAccepted, nil)
	w.eventually("the device has staged "+release.Version, func() bool {
		s, err := a.Status(w.Context())
		if err != nil {
			w.Fatal(err)
		}
		return slices.ContainsFunc(s.Slots, func(slot control.Slot) bool {
			return slot.Digest == release.Digest && slot.State == control.StateStaged
		})
	})
}

// A device of a fleet takes by its link what the vendor and the fleet have signed, and goes on
// to do so when the fleet's root names another key, and the panel has that one alone.
func TestADeviceTakesWhatTheFleetOrders(t *testing.T) {
	roots := t.TempDir()
	keys := trusttest.Keys(t, 3)
	root := trusttest.Root{
		Version: 1, Expires: time.Now().AddDate(3, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
		Root: trusttest.Role{Keys: keys[:1]}, Targets: trusttest.Role{Keys: keys[1:2]},
	}
	publish := func(name string) {
		if err := os.WriteFile(filepath.Join(roots, name), root.Sign(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	publish("fleet.1.root.json")
	cfg := ofFleet(t, roots)
	cfg.Orders = []string{keyFile(t, keys[1])}
	w := start(t, cfg)
	vendor := newKey(t)
	on := bareDevice(t, t.TempDir())
	on.Trust = trustFile(t, vendor)
	a := must(run(t.Context(), on))
	t.Cleanup(func() {
		if err := a.end(); err != nil {
			t.Error(err)
		}
	})
	if r := a.enrol(t.Context(), w.link, w.token("cam-1").String()); r.Exit != control.ExitDone {
		t.Fatalf("enroll: %+v", r)
	}
	a.linked(t)
	w.online()
	first := w.upload(build(t, vendor, "1.0.0", 1))
	if g := w.ask("POST", "/api/v1/devices/cam-1/stage", view.StageRequest{Release: first.ID}); g.status != http.StatusConflict || !strings.Contains(string(g.body), "not ordered") {
		t.Errorf("without an order: %d %s", g.status, g.body)
	}
	w.ask("POST", "/api/v1/releases/"+first.ID+"/order", view.OrderRequest{}).is(http.StatusOK, nil)
	w.staged(a.Agent, first)

	root.Version, root.Targets.Keys = 2, keys[2:]
	publish("fleet.2.root.json")
	cfg.Orders, cfg.Devices = []string{keyFile(t, keys[2])}, strings.TrimPrefix(w.link, "https://")
	w.stop()
	again := launch(t, cfg)
	again.ann = w.ann
	again.eventually("the device has heard of the new root", func() bool { return rootOf(t, on) == 2 })
	again.online()
	second := again.upload(build(t, vendor, "1.1.0", 2))
	again.ask("POST", "/api/v1/releases/"+second.ID+"/order", view.OrderRequest{Selector: "id:cam-1"}).is(http.StatusOK, nil)
	again.staged(a.Agent, second)
}

// online waits until the device is linked.
func (w *world) online() {
	w.Helper()
	w.eventually("the device is linked", func() bool {
		g := w.ask("GET", "/api/v1/devices/cam-1", nil)
		return g.status == http.StatusOK && strings.Contains(string(g.body), `"online":true`)
	})
}

// rootOf is the number of the fleet's root that a device knows.
func rootOf(t *testing.T, cfg config.Config) int64 {
	t.Helper()
	_, device, err := agent.Trust(cfg)
	if err != nil || device.Fleet == nil {
		t.Fatalf("the device's trust: %+v, %v", device.Fleet, err)
	}
	return device.Fleet.Root.Version()
}
