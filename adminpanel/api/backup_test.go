package api_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/backup"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/adminpanel/store/schema"
	"slipstream/adminpanel/view"
)

// A panel that works on gives a backup of one moment, tells of it in the audit, and what is
// restored from it is a panel whose chain holds.
func TestABackupOfAPanelThatWorks(t *testing.T) {
	w := newWorld(t)
	if err := schema.Prepare(t.Context(), w.cfg.Store); err != nil {
		t.Fatal(err)
	}
	w.enrol("north", "cam-1")
	rel := w.offer("2.0.0")
	for _, c := range []struct {
		with   with
		status int
		code   string
	}{{nobody, 401, "signed-out"}, {by(w.token("rita", "releaser")), 403, "forbidden"}, {by(w.token("nora", "admin site:north")), 403, "forbidden"}} {
		w.call("GET", "/backup", nil, c.with).fails(c.status, c.code)
	}
	w.call("GET", "/backup?packages=maybe", nil).fails(422, "invalid")
	w.call("GET", "/backup?package=true", nil).fails(422, "invalid")
	done := w.api.BackUpElsewhere()
	w.call("GET", "/backup", nil).fails(409, "backup-busy")
	done()

	// Somebody changes the panel all the time.
	var busy sync.WaitGroup
	stop, begun := make(chan struct{}), make(chan struct{})
	busy.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			note := strings.Repeat("x", i%50)
			if _, err := w.cfg.Fleet.Patch(t.Context(), audit.Who{Actor: "user ann"}, "cam-1", view.DevicePatch{Note: &note}, 0); err != nil {
				t.Error(err)
				return
			}
			if i == 3 {
				close(begun)
			}
		}
	})
	w.until("changes are made", begun)
	got := w.call("GET", "/backup", nil).is(200, nil)
	close(stop)
	busy.Wait()

	path := filepath.Join(t.TempDir(), "panel.backup")
	if err := os.WriteFile(path, got.body, 0o600); err != nil {
		t.Fatal(err)
	}
	to := bolttest.Open(t)
	info, err := backup.Restore(t.Context(), to, nil, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(t.Context(), to); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"d/cam-1", "rel/" + rel.ID, "u/ann"} {
		if _, err := to.Get(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	lines, _, err := w.cfg.Audit.Lines(t.Context(), audit.Query{Object: "panel"})
	if err != nil {
		t.Fatal(err)
	}
	var told []view.AuditLine
	for _, l := range lines {
		if l.Action == "panel.backup" {
			told = append(told, l)
		}
	}
	if len(told) != 1 || !strings.HasPrefix(told[0].Actor, "token ") || !strings.Contains(string(told[0].After), info.SHA256) {
		t.Errorf("the audit tells of it as %+v", told)
	}
	if page, err := to.Scan(t.Context(), "s/", store.PrefixEnd("s/"), 1); err != nil || len(page.Items) > 0 {
		t.Errorf("sessions are in it: %v %v", page.Items, err)
	}
}
