package pack_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/verify"
	"slipstream/verify/pack"
)

func TestOutputInsideTheDirectoryIsRefusedUnread(t *testing.T) {
	base := t.TempDir()
	app := filepath.Join(base, "app")
	write(t, app, "unread", "", 0o644)
	link(t, app, "bad", "/etc") // reading the directory would be refused too, in other words
	link(t, base, "alias", "app")
	for _, out := range []string{app, filepath.Join(app, "out"), filepath.Join(base, "alias", "x", "y"), filepath.Join(base, "app", "..", "app")} {
		_, err := pack.BuildFile(t.Context(), out, options(t, app))
		if err == nil || !strings.Contains(err.Error(), "lies inside the app's directory") {
			t.Errorf("--out %s: %v", out, err)
		}
	}
	if entries, err := os.ReadDir(app); err != nil || len(entries) != 2 {
		t.Errorf("the app's directory holds %v now, %v", entries, err)
	}
}

func TestOutputDirectoryIsMadeForAGoodPackageOnly(t *testing.T) {
	base := t.TempDir()
	app, out := filepath.Join(base, "app"), filepath.Join(base, "application", "out")
	write(t, app, "f", "", 0o644)
	opts := options(t, app)
	if path, err := pack.BuildFile(t.Context(), filepath.Join(base, "x.slip"), opts); err == nil {
		t.Errorf("a file's name for the directory's gave %s", path)
	}
	opts.Manifest.Version = "two"
	if path, err := pack.BuildFile(t.Context(), out, opts); err == nil {
		t.Fatalf("built %s", path)
	}
	if _, err := os.Stat(filepath.Dir(out)); !os.IsNotExist(err) {
		t.Errorf("a refused build left a directory: %v", err)
	}
	opts.Manifest.Version = "2.0.0"
	path, err := pack.BuildFile(t.Context(), out, opts)
	if want := filepath.Join(out, "gatecam-2.0.0.slip"); err != nil || path != want {
		t.Errorf("built %q, want %q: %v", path, want, err)
	}
}

func TestWarningOfAFarJump(t *testing.T) {
	for _, row := range []struct {
		counter, from int64
		warns         bool
	}{{1, 0, false}, {verify.MaxCounterStep, 0, false}, {verify.MaxCounterStep + 1, 0, true}, {20_261_123, 0, true}, {12_000, 5_000, false}} {
		m := verify.Manifest{ReleaseCounter: row.counter, MinFromCounter: row.from}
		if text := pack.Warning(m); (text != "") != row.warns {
			t.Errorf("release %d from %d: %q", row.counter, row.from, text)
		}
	}
}
