package adminpanel_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"slipstream/adminpanel"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/store/backup"
	"slipstream/adminpanel/store/etcd/etcdtest"
	"slipstream/adminpanel/view"
)

// restored makes a panel of a backup, on an empty directory.
func restored(t *testing.T, cfg config.Config, path string) backup.Info {
	t.Helper()
	s := must(adminpanel.OpenStore(t.Context(), cfg))
	info, err := adminpanel.Restore(t.Context(), cfg, s, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return info
}

// A backup of a panel that runs is the whole of it: restored where nothing is it serves its
// people, its device comes back by the certificate that it has, and stages the release.
func aPanelIsRestored(t *testing.T, cluster *etcdtest.Cluster) {
	key, s := newKey(t), openSockets(t)
	cfg := blank(t.TempDir())
	cfg.Trust = trustFile(t, key)
	w := launchAt(t, cfg, s.at)
	w.ann = w.ask("POST", "/api/v1/setup", view.SetupRequest{Token: must(w.panel.SetupToken(t.Context())), Name: "ann", Password: annPassword}).is(http.StatusCreated, nil).cookies
	w.device("cam-1")
	release := w.upload(build(t, key, "2.0.0", 2))

	// Each panel is made of the one before: in a file, in a cluster, and in a file again.
	for _, kind := range []string{config.StoreBolt, config.StoreEtcd, config.StoreBolt} {
		path := filepath.Join(t.TempDir(), "panel.backup")
		got := w.ask("GET", "/api/v1/backup?packages=true", nil).is(http.StatusOK, nil)
		if err := os.WriteFile(path, got.body, 0o600); err != nil {
			t.Fatal(err)
		}
		w.stop()
		next := blank(t.TempDir())
		next.Trust = cfg.Trust
		if kind == config.StoreEtcd {
			next.Store.Kind, next.Store.Endpoints, next.Store.Prefix = kind, cluster.Endpoints(), "/restored/"
		}
		info := restored(t, next, path)
		wantFiles := int64(5) // the authority's four, and the package
		if cfg.Store.Kind == config.StoreEtcd {
			wantFiles = 1
		}
		if info.Files != wantFiles {
			t.Errorf("the backup of a panel with %s has %+v", cfg.Store.Kind, info)
		}
		cfg = next
		w = launchAt(t, cfg, adminpanel.Listeners{People: must(net.FileListener(s.files[0])), Devices: must(net.FileListener(s.files[1]))})
		w.login()
		w.until("cam-1", "back", func(d view.DeviceDetail) bool { return d.Online && d.Status != nil })
	}
	w.ask("POST", "/api/v1/devices/cam-1/stage", view.StageRequest{Release: release.ID}).is(http.StatusAccepted, nil)
	w.until("cam-1", "staged", func(d view.DeviceDetail) bool { return d.State == view.DeviceStaged })
}
