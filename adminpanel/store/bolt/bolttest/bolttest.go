// Package bolttest gives tests a panel's store of their own, in a file.
package bolttest

import (
	"path/filepath"
	"testing"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
)

// Open opens an empty store and closes it when the test ends.
func Open(t testing.TB) store.Store {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "panel.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
