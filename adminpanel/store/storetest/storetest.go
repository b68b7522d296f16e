// Package storetest holds every store of the panel to what package store promises.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/store"
)

// Run tests stores that open makes. Each call with the same name opens the same store, as
// another panel would if it can; again says that the one before was closed.
func Run(t *testing.T, open func(t *testing.T, name string) store.Store) {
	for name, test := range map[string]func(*testing.T, store.Store){
		"values":     values,
		"scans":      scans,
		"conditions": conditions,
		"limits":     limits,
		"counters":   counters,
		"watches":    watches,
		"pasts":      pasts,
		"leaders":    leaders,
		"ends":       ends,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t, name))
		})
	}
	t.Run("reopened", func(t *testing.T) {
		t.Parallel()
		reopened(t, func() store.Store { return open(t, "reopened") })
	})
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func put(t *testing.T, s store.Store, key, value string, ifs ...store.Cond) int64 {
	t.Helper()
	rev, err := s.Commit(within(t), ifs, []store.Op{{Key: key, Value: []byte(value)}})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return rev
}

func values(t *testing.T, s store.Store) {
	ctx := within(t)
	if _, err := s.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a key that is not there: %v", err)
	}
	binary := "\x00\xff\n" + strings.Repeat("x", 1000)
	first := put(t, s, "a", binary)
	second := put(t, s, "b", "")
	if second <= first {
		t.Errorf("revision %d after %d", second, first)
	}
	item, err := s.Get(ctx, "a")
	if err != nil || string(item.Value) != binary || item.Rev != first || item.Key != "a" {
		t.Errorf("got %d bytes of revision %d, %v", len(item.Value), item.Rev, err)
	}
	if item, err := s.Get(ctx, "b"); err != nil || len(item.Value) != 0 || item.Rev != second {
		t.Errorf("an empty value: %+v, %v", item, err)
	}
	if _, err := s.Commit(ctx, nil, []store.Op{{Key: "a", Delete: true}, {Key: "nothing", Delete: true}}); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a key that was deleted: %v", err)
	}
}

func scans(t *testing.T, s store.Store) {
	ctx := within(t)
	var want []string
	for i := range 25 {
		key := fmt.Sprintf("d/%02d", i)
		want = append(want, key)
		put(t, s, key, key)
	}
	put(t, s, "c/z", "")
	last := put(t, s, "e/a", "")
	var got []string
	from, pages := "d/", 0
	for pages == 0 || from != "" {
		page, err := s.Scan(ctx, from, store.PrefixEnd("d/"), 10)
		if err != nil {
			t.Fatal(err)
		}
		if page.Rev < last {
			t.Errorf("a page of revision %d, after %d", page.Rev, last)
		}
		for _, item := range page.Items {
			got = append(got, item.Key)
			if string(item.Value) != item.Key || item.Rev == 0 {
				t.Errorf("%+v", item)
			}
		}
		from = page.Next
		pages++
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("%d pages of %v", pages, got)
	}
	if page, err := s.Scan(ctx, "d/24", "", 0); err != nil || len(page.Items) != 2 || page.Next != "" {
		t.Errorf("to the end: %+v, %v", page, err)
	}
	n := 0
	rev, err := store.All(ctx, s, "d/", func(store.Item) error { n++; return nil })
	if err != nil || n != 25 || rev < last {
		t.Errorf("all: %d of revision %d, %v", n, rev, err)
	}
}

func conditions(t *testing.T, s store.Store) {
	ctx := within(t)
	absent := store.Cond{Key: "a"}
	rev := put(t, s, "a", "1", absent)
	for name, ifs := range map[string][]store.Cond{
		"absent":      {absent},
		"older":       {{Key: "a", Rev: rev - 1}},
		"one of two":  {{Key: "a", Rev: rev}, {Key: "b", Rev: 7}},
		"other order": {{Key: "b", Rev: 7}, {Key: "a", Rev: rev}},
	} {
		_, err := s.Commit(ctx, ifs, []store.Op{{Key: "a", Value: []byte("2")}, {Key: "c", Value: []byte("2")}})
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if item, err := s.Get(ctx, "a"); err != nil || string(item.Value) != "1" || item.Rev != rev {
		t.Errorf("a commit that failed has changed it: %+v, %v", item, err)
	}
	if _, err := s.Get(ctx, "c"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("half of a commit happened: %v", err)
	}
	if _, err := s.Commit(ctx, []store.Cond{{Key: "a", Rev: rev}}, nil); err != nil {
		t.Errorf("a look: %v", err)
	}
	if _, err := s.Commit(ctx, []store.Cond{{Key: "a", Rev: rev + 1}}, nil); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a look that fails: %v", err)
	}
	put(t, s, "a", "2", store.Cond{Key: "a", Rev: rev}, absentOf("b"))
}

func absentOf(key string) store.Cond { return store.Cond{Key: key} }

func limits(t *testing.T, s store.Store) {
	ctx := within(t)
	many := make([]store.Op, store.MaxOps+1)
	for i := range many {
		many[i] = store.Op{Key: fmt.Sprint("k", i)}
	}
	for name, ops := range map[string][]store.Op{
		"too many":  many,
		"too large": {{Key: "a", Value: make([]byte, store.MaxValue)}},
		"long key":  {{Key: strings.Repeat("k", store.MaxKey+1)}},
		"no key":    {{}},
		"twice":     {{Key: "a"}, {Key: "a", Delete: true}},
	} {
		if _, err := s.Commit(ctx, nil, ops); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	largest := []store.Op{{Key: "a", Value: make([]byte, store.MaxValue-1)}}
	if _, err := s.Commit(ctx, nil, largest); err != nil {
		t.Errorf("the largest: %v", err)
	}
	if _, err := s.Commit(ctx, nil, many[:store.MaxOps]); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
}

// counters are lost when two commits see the same state.
func counters(t *testing.T, s store.Store) {
	const workers, each = 8, 20
	ctx := within(t)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range each {
				for {
					item, err := s.Get(ctx, "n")
					if err != nil && !errors.Is(err, store.ErrNotFound) {
						t.Error(err)
						return
					}
					_, err = s.Commit(ctx, []store.Cond{{Key: "n", Rev: item.Rev}}, []store.Op{{Key: "n", Value: append(item.Value, '.')}})
					if err == nil {
						break
					}
					if !errors.Is(err, store.ErrConflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	if item, err := s.Get(ctx, "n"); err != nil || len(item.Value) != workers*each {
		t.Errorf("%d of %d are counted, %v", len(item.Value), workers*each, err)
	}
}

func watches(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(within(t))
	put(t, s, "d/old", "")
	from := put(t, s, "d/old", "before")
	events, err := s.Watch(ctx, "d/", from)
	if err != nil {
		t.Fatal(err)
	}
	const n = 50
	var all sync.WaitGroup
	all.Go(func() {
		for i := range n {
			put(t, s, fmt.Sprint("d/", i), fmt.Sprint(i))
			put(t, s, fmt.Sprint("e/", i), "not of the prefix")
		}
	})
	rev := from
	for i := range n {
		e := next(t, events)
		if e.Key != fmt.Sprint("d/", i) || string(e.Value) != fmt.Sprint(i) || e.Rev <= rev || e.Deleted {
			t.Fatalf("event %d after revision %d: %+v", i, rev, e)
		}
		rev = e.Rev
	}
	all.Wait()
	if _, err := s.Commit(ctx, nil, []store.Op{{Key: "d/0", Delete: true}, {Key: "d/1", Value: []byte("new")}}); err != nil {
		t.Fatal(err)
	}
	two := []store.Event{next(t, events), next(t, events)}
	slices.SortFunc(two, func(a, b store.Event) int { return strings.Compare(a.Key, b.Key) })
	if !two[0].Deleted || two[0].Key != "d/0" || two[1].Deleted || string(two[1].Value) != "new" || two[0].Rev != two[1].Rev {
		t.Errorf("%+v", two)
	}
	cancel()
	closes(t, events)
}

// pasts are told, too: a watch after an old revision begins with what came then.
func pasts(t *testing.T, s store.Store) {
	first := put(t, s, "d/a", "1")
	put(t, s, "d/b", "2")
	put(t, s, "d/a", "3")
	events, err := s.Watch(within(t), "d/", first)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := next(t, events), next(t, events); string(a.Value) != "2" || string(b.Value) != "3" {
		t.Errorf("%+v, then %+v", a, b)
	}
}

func next(t *testing.T, events <-chan store.Event) store.Event {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the watch has ended")
		}
		return e
	case <-time.After(time.Minute):
		t.Fatal("no event")
	}
	return store.Event{}
}

func closes(t *testing.T, events <-chan store.Event) {
	t.Helper()
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		case <-time.After(time.Minute):
			t.Fatal("the watch does not end")
		}
	}
}

func leaders(t *testing.T, s store.Store) {
	ctx := within(t)
	first, err := s.Lead(ctx, "rollouts")
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Lead(ctx, "audit")
	if err != nil {
		t.Fatalf("another name: %v", err)
	}
	defer other.Resign(ctx) //nolint:errcheck // the store ends with the test
	put(t, s, "x", "by the first", first.Cond())
	type led struct {
		term store.Term
		err  error
	}
	second := make(chan led, 1)
	go func() {
		term, err := s.Lead(ctx, "rollouts")
		second <- led{term, err}
	}()
	select {
	case <-second:
		t.Fatal("two lead at a time")
	case <-time.After(50 * time.Millisecond): // as good as it gets: nothing happens
	}
	if err := first.Resign(ctx); err != nil {
		t.Fatal(err)
	}
	<-first.Lost()
	l := <-second
	if l.err != nil {
		t.Fatal(l.err)
	}
	put(t, s, "x", "by the second", l.term.Cond())
	if _, err := s.Commit(ctx, []store.Cond{first.Cond()}, []store.Op{{Key: "x", Value: []byte("late")}}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("who has lost its place can commit: %v", err)
	}
	impatient, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Lead(impatient, "rollouts"); err == nil {
		t.Error("led without waiting")
	}
}

func ends(t *testing.T, s store.Store) {
	ctx := within(t)
	events, err := s.Watch(ctx, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	closes(t, events)
	if _, err := s.Commit(ctx, nil, []store.Op{{Key: "a"}}); err == nil {
		t.Error("a closed store took a commit")
	}
	if _, err := s.Get(ctx, "a"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("a closed store answered: %v", err)
	}
}

func reopened(t *testing.T, open func() store.Store) {
	s := open()
	rev := put(t, s, "a", "1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	item, err := s.Get(within(t), "a")
	if err != nil || string(item.Value) != "1" || item.Rev != rev {
		t.Fatalf("after it was opened again: %+v, %v", item, err)
	}
	if again := put(t, s, "a", "2", store.Cond{Key: "a", Rev: rev}); again <= rev {
		t.Errorf("revision %d after %d", again, rev)
	}
}
