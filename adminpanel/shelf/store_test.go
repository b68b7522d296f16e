package shelf_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/shelf"
)

func open(t *testing.T, dir string) *shelf.Store {
	t.Helper()
	s, err := shelf.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func takeAll(io.ReaderAt, int64) (shelf.Release, error) {
	return shelf.Release{Product: "camera", Version: "1.0"}, nil
}

func TestNamesOfDevices(t *testing.T) {
	for _, good := range []string{"cam-1", "a", "site.north_7", strings.Repeat("x", 64)} {
		if err := shelf.CheckDevice(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", ".", "..", "a/b", "-a", "a b", "a..b", "a~b", "ä", strings.Repeat("x", 65)} {
		if shelf.CheckDevice(bad) == nil {
			t.Errorf("%q names a device", bad)
		}
	}
}

func TestAReleaseIsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	refusal := errors.New("not this one")
	if _, _, err := s.AddRelease(strings.NewReader("bad"), func(io.ReaderAt, int64) (shelf.Release, error) { return shelf.Release{}, refusal }, "test"); !errors.Is(err, refusal) {
		t.Errorf("a refused upload: %v", err)
	}
	cut := io.MultiReader(strings.NewReader("half"), failing{})
	if _, _, err := s.AddRelease(cut, takeAll, "test"); err == nil {
		t.Error("a cut upload was taken")
	}
	if list, err := s.Releases(); err != nil || len(list) > 0 {
		t.Errorf("listed are %+v, %v", list, err)
	}
	for _, sub := range []string{"incoming", "releases"} {
		if left, _ := os.ReadDir(filepath.Join(dir, sub)); len(left) > 0 {
			t.Errorf("%s was left with %v", sub, left)
		}
	}
	r, added, err := s.AddRelease(strings.NewReader("good"), takeAll, "test")
	if err != nil || !added || r.Size != 4 {
		t.Fatalf("got %+v, %v, %v", r, added, err)
	}
	if again, added, err := s.AddRelease(strings.NewReader("good"), takeAll, "test"); err != nil || added || again.ID != r.ID {
		t.Errorf("the same again: %+v, %v, %v", again, added, err)
	}
	f, _, err := s.OpenRelease(r.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || string(text) != "good" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	for _, id := range []string{"", "..", "../panel.db", strings.Repeat("0", 32)} {
		if _, _, err := s.OpenRelease(id); !errors.Is(err, shelf.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// What an earlier panel did not finish is gone, what it did finish is there.
func TestAStoreThatIsOpenedAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, _, err := s.AddRelease(strings.NewReader("good"), takeAll, "somebody"); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveDevice(shelf.Device{ID: "cam-1", Product: "camera", Version: "1.0", LastSeen: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveDevice(shelf.Device{ID: "cam-1", LastSeen: time.Unix(2, 0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := shelf.Open(dir); err == nil || !strings.Contains(err.Error(), "another panel") {
		t.Errorf("a second panel: %v", err)
	}
	if err := errors.Join(s.Close(), os.WriteFile(filepath.Join(dir, "incoming", "upload-1"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if left, _ := os.ReadDir(filepath.Join(dir, "incoming")); len(left) > 0 {
		t.Errorf("unfinished uploads: %v", left)
	}
	if list, err := s.Releases(); err != nil || len(list) != 1 {
		t.Errorf("releases %+v, %v", list, err)
	}
	met, err := s.Devices()
	if err != nil || len(met) != 1 || met[0].Version != "1.0" || met[0].LastSeen.Unix() != 2 {
		t.Errorf("devices %+v, %v", met, err)
	}
	if err := s.Audit(shelf.AuditLine{Action: "look"}); err != nil {
		t.Fatal(err)
	}
	lines, err := s.AuditLines(10)
	if err != nil || len(lines) != 2 || lines[0].Action != "look" || lines[0].Seq != 2 || lines[1].Actor != "somebody" {
		t.Errorf("audit %+v, %v", lines, err)
	}
}
