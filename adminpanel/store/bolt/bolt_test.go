package bolt_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
	"slipstream/adminpanel/store/storetest"
)

func open(t testing.TB, path string) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) //nolint:errcheck // some tests close it themselves
	return s
}

func TestStore(t *testing.T) {
	dir := t.TempDir()
	storetest.Run(t, func(t *testing.T, name string) store.Store { return open(t, filepath.Join(dir, name)) })
}

func TestASecondPanelIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "panel.db")
	open(t, path)
	if _, err := bolt.Open(path); err == nil || !strings.Contains(err.Error(), "another panel") {
		t.Errorf("got %v", err)
	}
}

func TestAFileOfAnotherKindIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "panel.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := bolt.Open(path); err == nil {
		s.Close() //nolint:errcheck // it should not be open
		t.Error("it was opened")
	}
}

// A watcher that is left behind, by many changes or by large ones, is told so, and costs no
// memory meanwhile.
func TestAWatcherThatFallsBehind(t *testing.T) {
	for _, c := range []struct{ commits, ops, size int }{{400, 100, 1}, {40, 1, 512 << 10}} {
		s := open(t, filepath.Join(t.TempDir(), "panel.db"))
		events, err := s.Watch(t.Context(), "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.commits {
			batch := make([]store.Op, c.ops)
			for j := range batch {
				batch[j] = store.Op{Key: fmt.Sprint("k", j), Value: bytes.Repeat([]byte{byte(i)}, c.size)}
			}
			if _, err := s.Commit(t.Context(), nil, batch); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		for range events {
			n++
		}
		if n >= c.commits*c.ops {
			t.Errorf("%d changes of %d bytes were kept for it", n, c.size)
		}
		late, err := s.Watch(t.Context(), "", 1)
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := <-late; ok {
			t.Errorf("a watch after a revision that is gone began with %+v", e)
		}
		newest, err := s.Get(t.Context(), "k0")
		if err != nil {
			t.Fatal(err)
		}
		last, err := s.Watch(t.Context(), "k0", newest.Rev-1)
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := <-last; !ok || e.Rev != newest.Rev {
			t.Errorf("the newest change is not held: %+v", e)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "panel.db"))
			value := make([]byte, 1000)
			var all sync.WaitGroup
			each := b.N/writers + 1
			b.ResetTimer()
			for w := range writers {
				all.Go(func() {
					for i := range each {
						key := fmt.Sprintf("d/%06d", (w*each+i)%100_000)
						if _, err := s.Commit(context.Background(), nil, []store.Op{{Key: key, Value: value}}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(each*writers)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}
