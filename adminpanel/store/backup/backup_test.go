package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/backup"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/adminpanel/store/etcd/etcdtest"
	"slipstream/adminpanel/store/schema"
)

func put(t *testing.T, s store.Store, key, value string) {
	t.Helper()
	if _, err := s.Commit(t.Context(), nil, []store.Op{{Key: key, Value: []byte(value)}}); err != nil {
		t.Fatal(err)
	}
}

// nowhere is for backups without files.
func nowhere(name string) string { panic("the backup has a file: " + name) }

// filled is a store at work, with so many devices.
func filled(t *testing.T, devices int) store.Store {
	t.Helper()
	s := bolttest.Open(t)
	if err := schema.Prepare(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for from := 0; from < devices; from += 100 {
		var ops []store.Op
		for i := from; i < min(devices, from+100); i++ {
			ops = append(ops, store.Op{Key: fmt.Sprintf("d/%06d", i), Value: []byte("0")})
		}
		if _, err := s.Commit(t.Context(), nil, ops); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, "d/binary", "\x00\xff\n")
	put(t, s, "d/empty", "")
	for _, key := range []string{"lead/x", "hub/x", "s/x", "up/x"} {
		put(t, s, key, "not to be kept")
	}
	return s
}

func dump(t *testing.T, s store.Store, prefix string) map[string]string {
	t.Helper()
	all := map[string]string{}
	if _, err := store.All(t.Context(), s, prefix, func(item store.Item) error {
		all[item.Key] = string(item.Value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatIsRestoredIsWhatWas(t *testing.T) {
	t.Parallel()
	s, path := filled(t, 250), filepath.Join(t.TempDir(), "panel.backup")
	put(t, s, "rel/large", strings.Repeat("x", store.MaxValue-20))
	info, err := backup.ToFile(t.Context(), s, nil, path)
	if err != nil || info.Lines != 254 || info.Schema != schema.Current {
		t.Fatalf("%+v, %v", info, err)
	}
	if _, err := backup.ToFile(t.Context(), s, nil, path); err == nil {
		t.Error("a backup was replaced")
	}
	to := bolttest.Open(t)
	if again, err := backup.Restore(t.Context(), to, nowhere, path); err != nil || again != info {
		t.Fatalf("%+v, %v", again, err)
	}
	want := dump(t, s, "")
	for _, key := range []string{"lead/x", "hub/x", "s/x", "up/x", "meta/backup"} {
		delete(want, key)
	}
	for key := range want {
		if strings.HasPrefix(key, "lead/") {
			delete(want, key)
		}
	}
	if diff := cmp.Diff(want, dump(t, to, "")); diff != "" {
		t.Error(diff)
	}
	if _, err := backup.Restore(t.Context(), to, nowhere, path); !errors.Is(err, backup.ErrNotEmpty) {
		t.Errorf("into a store that is not empty: %v", err)
	}
	if err := schema.Prepare(t.Context(), to); err != nil {
		t.Error(err)
	}
}

// Files come back as they were, wherever the other panel keeps them; nothing that is there is
// replaced, and no backup writes elsewhere.
func TestFilesBesideTheStore(t *testing.T) {
	t.Parallel()
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "panel.backup")
	want := map[string]string{
		"ca/1/root.pem": "a certificate", "orders/1.key": "", "ca/retired-7/issuing.key": "a key",
		"releases/0123456789abcdef0123456789abcdef.slip": strings.Repeat("large ", 400_000), // three pieces
	}
	var files []backup.File
	for name, text := range want {
		at := filepath.Join(dir, fmt.Sprint(len(files)))
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, backup.File{Name: name, Path: at})
	}
	list := func(context.Context) ([]backup.File, error) { return files, nil }
	info, err := backup.ToFile(t.Context(), filled(t, 5), list, path)
	if err != nil || info.Files != 4 || info.Lines != 8 {
		t.Fatalf("%+v, %v", info, err)
	}
	if stat, err := os.Stat(path); err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("others may read the keys: %v %v", stat, err)
	}
	to := t.TempDir()
	if again, err := backup.Restore(t.Context(), bolttest.Open(t), func(name string) string { return filepath.Join(to, name) }, path); err != nil || again != info {
		t.Fatalf("%+v, %v", again, err)
	}
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(to, name))
		if err != nil || string(got) != text {
			t.Errorf("%s has %d bytes of %d, %v", name, len(got), len(text), err)
		}
		if stat, err := os.Stat(filepath.Join(to, name)); err != nil || stat.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, stat, err)
		}
	}
	s := bolttest.Open(t)
	if _, err := backup.Restore(t.Context(), s, func(string) string { return filepath.Join(to, "orders/1.key") }, path); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("over what is there: %v", err)
	}
	if left := dump(t, s, ""); len(left) != 0 {
		t.Errorf("%v was written", left)
	}
	for _, name := range []string{"../x", "ca/1/../../root.key", "/etc/passwd", "ca/0/root.key", "orders/..", "releases/x.slip", "orders/a/b"} {
		files[0].Name = name
		if _, err := backup.ToFile(t.Context(), filled(t, 1), list, filepath.Join(t.TempDir(), "bad")); err == nil {
			t.Errorf("it writes a backup with %q", name)
		}
		empty := t.TempDir()
		if _, err := backup.Restore(t.Context(), s, func(name string) string { return filepath.Join(empty, name) }, forged(t, path, "orders/1.key", name)); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("it restores %q: %v", name, err)
		}
		if left, err := os.ReadDir(empty); err != nil || len(left) != 0 {
			t.Errorf("with %q in a backup, %v was written, %v", name, left, err)
		}
	}
	if _, err := backup.Restore(t.Context(), s, func(name string) string { return filepath.Join(dir, "new", name) }, forged(t, path, "orders/1.key", "orders/2.key")); err != nil {
		t.Errorf("a name that may be: %v", err)
	}
}

// forged is a backup in which another word stands, with the right sum.
func forged(t *testing.T, path, old, other string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(strings.Replace(string(text), old, other, 1), "\n"), "\n")
	body, end := strings.Join(lines[:len(lines)-1], ""), lines[len(lines)-1]
	sum := sha256.Sum256([]byte(body))
	at := strings.Index(end, `"sha256":"`) + len(`"sha256":"`)
	bad := filepath.Join(t.TempDir(), "forged")
	if err := os.WriteFile(bad, []byte(body+end[:at]+hex.EncodeToString(sum[:])+"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return bad
}

// A fleet that outgrows one machine goes to a cluster by way of a backup, and could return.
func TestFromAFileToEtcdAndBack(t *testing.T) {
	t.Parallel()
	c := etcdtest.New(t)
	from, cluster, back := filled(t, 250), c.Open(t, "/backup/", 0, 1, 2), bolttest.Open(t)
	for i, way := range [][2]store.Store{{from, cluster}, {cluster, back}} {
		path := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if _, err := backup.ToFile(t.Context(), way[0], nil, path); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.Restore(t.Context(), way[1], nowhere, path); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.Restore(t.Context(), way[1], nowhere, path); !errors.Is(err, backup.ErrNotEmpty) {
			t.Errorf("into a store that is not empty: %v", err)
		}
	}
	if diff := cmp.Diff(dump(t, from, "d/"), dump(t, back, "d/")); diff != "" {
		t.Error(diff)
	}
}

// While pairs of keys far from each other are always changed together, a backup that was not of one
// moment would hold two that differ.
func TestABackupIsOfOneMoment(t *testing.T) {
	t.Parallel()
	const devices = 12_000 // more than two pages
	s := filled(t, devices)
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	begun := make(chan struct{})
	writer.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			value := []byte(fmt.Sprint(i))
			near, far := i%100, devices-1-i%100
			ops := []store.Op{{Key: fmt.Sprintf("d/%06d", near), Value: value}, {Key: fmt.Sprintf("d/%06d", far), Value: value}}
			if i%3 == 0 {
				ops[0].Delete, ops[1].Delete = true, true
			}
			if _, err := s.Commit(ctx, nil, ops); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			if i == 10 {
				close(begun)
			}
		}
	})
	<-begun
	for i := range 3 {
		path := filepath.Join(t.TempDir(), "panel.backup")
		info, err := backup.ToFile(t.Context(), s, nil, path)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 && info.Lines <= devices {
			t.Logf("nothing has changed meanwhile: %+v", info)
		}
		to := bolttest.Open(t)
		if _, err := backup.Restore(t.Context(), to, nowhere, path); err != nil {
			t.Fatal(err)
		}
		got := dump(t, to, "d/")
		for n := range 100 {
			a, hasA := got[fmt.Sprintf("d/%06d", n)]
			b, hasB := got[fmt.Sprintf("d/%06d", devices-1-n)]
			if a != b || hasA != hasB {
				t.Errorf("pair %d: %q %v and %q %v", n, a, hasA, b, hasB)
			}
		}
	}
	stop()
	writer.Wait()
}

func TestDamageIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "panel.backup")
	if _, err := backup.ToFile(t.Context(), filled(t, 5), nil, path); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := bolttest.Open(t)
	refused := func(name string, text []byte) {
		bad := filepath.Join(dir, "bad")
		if err := os.WriteFile(bad, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.Restore(t.Context(), to, nowhere, bad); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for i := range whole {
		text := bytes.Clone(whole)
		text[i] ^= 0x04
		refused(fmt.Sprint("a bit of byte ", i), text)
	}
	for n := 0; n < len(whole)-1; n += 7 {
		refused(fmt.Sprint("the first bytes ", n), whole[:n])
	}
	refused("something behind it", append(bytes.Clone(whole), "{}\n"...))
	if left := dump(t, to, ""); len(left) != 0 {
		t.Errorf("%v was written", left)
	}
	if _, err := backup.Restore(t.Context(), to, nowhere, path); err != nil {
		t.Error(err)
	}
}

// cutStore fails after some commits.
type cutStore struct {
	store.Store

	left int
}

var errCut = errors.New("the power was cut")

func (c *cutStore) Commit(ctx context.Context, ifs []store.Cond, ops []store.Op) (int64, error) {
	if c.left--; c.left < 0 {
		return 0, errCut
	}
	return c.Store.Commit(ctx, ifs, ops)
}

func TestARestoreThatIsCutIsSeen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "panel.backup")
	if _, err := backup.ToFile(t.Context(), filled(t, 250), nil, path); err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		to := bolttest.Open(t)
		_, err := backup.Restore(t.Context(), &cutStore{to, n}, nowhere, path)
		if n == 5 { // the mark, three batches, the mark's end
			if err != nil {
				t.Errorf("not cut: %v", err)
			}
			continue
		}
		if !errors.Is(err, errCut) {
			t.Errorf("after %d commits: %v", n, err)
		}
		if n == 0 {
			continue
		}
		if err := schema.Prepare(t.Context(), to); !errors.Is(err, schema.ErrRestoring) {
			t.Errorf("a panel starts on half a store: %v", err)
		}
		if _, err := backup.Restore(t.Context(), to, nowhere, path); !errors.Is(err, schema.ErrRestoring) {
			t.Errorf("again: %v", err)
		}
		if _, err := backup.Write(t.Context(), to, nil, &bytes.Buffer{}); !errors.Is(err, schema.ErrRestoring) {
			t.Errorf("a backup of half a store: %v", err)
		}
	}
}
