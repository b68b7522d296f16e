package settings_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/settings"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/adminpanel/store/storetest"
	"slipstream/adminpanel/view"
)

var ann = audit.Who{Actor: "user ann"}

func begin(t *testing.T, s store.Store) *settings.Settings {
	t.Helper()
	set := settings.New(s, audit.New(s), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var owned sync.WaitGroup
	owned.Go(func() { _ = set.Run(ctx) })
	t.Cleanup(func() { cancel(); owned.Wait() })
	return set
}

func TestAChangeReachesAllPanels(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	one, two := begin(t, s), begin(t, storetest.NewFaulty(s, 1, 0, 0.5))
	if one.OfflineAfter() != 10*time.Minute || one.SessionIdle() != 12*time.Hour {
		t.Errorf("%+v", one.Now())
	}
	want := one.Now()
	for i := range 20 {
		want.ApproveAbove = i + 1
		var err error
		if want, err = one.Set(t.Context(), ann, want); err != nil || one.Now().Rev != want.Rev {
			t.Fatal(err)
		}
	}
	deadline := time.After(time.Minute)
	for next := two.Next(); two.Now().Rev != want.Rev; next = two.Next() {
		select {
		case <-next:
		case <-deadline:
			t.Fatalf("%+v, want revision %d", two.Now(), want.Rev)
		}
	}
	if two.Now().ApproveAbove != 20 {
		t.Errorf("%+v", two.Now())
	}
	old := want
	old.Rev--
	if _, err := two.Set(t.Context(), ann, old); !errors.Is(err, settings.ErrChanged) {
		t.Errorf("an old revision: %v", err)
	}
	lines, _, err := audit.New(s).Lines(t.Context(), audit.Query{Object: "settings"})
	if err != nil || len(lines) != 20 || len(lines[0].Before) == 0 {
		t.Errorf("%d lines, %v", len(lines), err)
	}
}

func TestWhatCannotBe(t *testing.T) {
	t.Parallel()
	s := settings.New(bolttest.Open(t), nil, slog.New(slog.DiscardHandler))
	for name, change := range map[string]func(*view.Settings){
		"a zone":             func(v *view.Settings) { v.Zone = "Mars" },
		"no zone":            func(v *view.Settings) { v.Zone = "" },
		"a negative number":  func(v *view.Settings) { v.ApproveAbove = -1 },
		"no time":            func(v *view.Settings) { v.SessionIdle = 0 },
		"a year":             func(v *view.Settings) { v.OfflineAfter = (365 * 24 * time.Hour).Milliseconds() },
		"a wrong selector":   func(v *view.Settings) { v.Walls = []view.Wall{{Name: "a", Selector: "colour:red"}} },
		"no name":            func(v *view.Settings) { v.Views = []view.Saved{{}} },
		"the same name":      func(v *view.Settings) { v.Views = []view.Saved{{Name: "a"}, {Name: "a"}} },
		"too many columns":   func(v *view.Settings) { v.Walls = []view.Wall{{Name: "a", Columns: 100}} },
		"more than may be":   func(v *view.Settings) { v.Views = make([]view.Saved, 201) },
		"an endless wall":    func(v *view.Settings) { v.Walls = []view.Wall{{Name: string(make([]byte, 61))}} },
		"the panel's Local":  func(v *view.Settings) { v.Zone = "Local" },
		"an endless session": func(v *view.Settings) { v.SessionIdle = 1 << 60 },
	} {
		v := settings.Default()
		change(&v)
		if _, err := s.Set(t.Context(), ann, v); !errors.Is(err, settings.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNonsenseInTheStoreChangesNothing(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	set := begin(t, s)
	good := set.Now()
	good.ApproveAbove = 5
	if _, err := set.Set(t.Context(), ann, good); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), nil, []store.Op{{Key: "set/fleet", Value: []byte(`{"colour":"red"}`)}}); err != nil {
		t.Fatal(err)
	}
	again := begin(t, s)
	if set.Now().ApproveAbove != 5 || again.Now().Zone != "UTC" {
		t.Errorf("%+v, %+v", set.Now(), again.Now())
	}
}
