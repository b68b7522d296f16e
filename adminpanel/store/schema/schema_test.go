package schema_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/adminpanel/store/schema"
	"slipstream/adminpanel/store/storetest"
)

func version(t *testing.T, s store.Store) int {
	t.Helper()
	state, _, err := schema.Read(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return state.Version
}

func TestANewStore(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	for range 2 {
		if err := schema.Prepare(t.Context(), s); err != nil || version(t, s) != schema.Current {
			t.Fatalf("version %d, %v", version(t, s), err)
		}
	}
	if err := schema.Migrate(t.Context(), s, nil); !errors.Is(err, schema.ErrNewer) {
		t.Errorf("an older panel: %v", err)
	}
	if _, err := s.Commit(t.Context(), nil, []store.Op{{Key: schema.Key, Value: []byte("{}")}}); err != nil {
		t.Fatal(err)
	}
	if err := schema.Prepare(t.Context(), s); err == nil {
		t.Error("a version that is none was taken")
	}
}

// Several panels start together, one step is cut the first time: each step is done in
// its order, and none after its version was written.
func TestStepsAreDoneInOrderAndOnce(t *testing.T) {
	t.Parallel()
	s := storetest.NewFaulty(bolttest.Open(t), 3, 0.3, 0)
	var mu sync.Mutex
	var ran []int
	cut := errors.New("the power was cut")
	fails := true
	var steps []schema.Step
	for i := range 4 {
		steps = append(steps, func(ctx context.Context, s store.Store) error {
			mu.Lock()
			defer mu.Unlock()
			if i == 2 && fails {
				fails = false
				return cut
			}
			if state, _, err := schema.Read(ctx, s); err != nil || state.Version != i {
				t.Errorf("step %d at version %d, %v", i+1, state.Version, err)
			}
			ran = append(ran, i)
			return nil
		})
	}
	if err := schema.Migrate(t.Context(), s, steps); !errors.Is(err, cut) || version(t, s) != 2 {
		t.Fatalf("version %d, %v", version(t, s), err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := schema.Migrate(t.Context(), s, steps); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if version(t, s) != 4 {
		t.Errorf("version %d", version(t, s))
	}
	for i := 1; i < len(ran); i++ {
		if ran[i] < ran[i-1] {
			t.Errorf("steps in the order %v", ran)
		}
	}
}
