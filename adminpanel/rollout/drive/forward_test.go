package drive_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
	"slipstream/adminpanel/view"
)

// twoPanels runs a test with a panel that leads, which may die at a commit, and another
// one on the same store.
func twoPanels(t *testing.T, path string, killAt int, after bool, test func(t *testing.T, file *bolt.Store, first, second *panel)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		file, err := bolt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		here, there := newSim(t), newSim(t)
		good3(here)
		here.others, there.others = there, here
		first := startOn(t, here, file, killAt, after)
		second := startOn(t, there, file, 0, false)
		test(t, file, first, second)
		first.halt()
		second.halt()
		left, err := file.Scan(t.Context(), "fw/", "fx", 0)
		if err != nil || len(left.Items) != 0 {
			t.Errorf("%v is left in the store, %v", left.Items, err)
		}
	})
}

// What the leader refuses is refused in the same way to who asks another panel.
func TestRefusalsOfAnotherPanel(t *testing.T) {
	t.Parallel()
	twoPanels(t, filepath.Join(dir(t), "panel.db"), 0, false, func(t *testing.T, _ *bolt.Store, _, second *panel) {
		ctx := t.Context()
		v := second.create(plain, 0)
		bad := with(func(p *view.Plan) { p.Release = "r99" })
		_, refused := second.Create(ctx, bad, 0, ann)
		_, unknown := second.Verb(ctx, "nothing", drive.VerbStart, ann)
		_, stale := second.Verb(ctx, v.ID, drive.VerbStart, drive.Caller{By: "user ann", Rev: 1})
		_, state := second.Verb(ctx, v.ID, drive.VerbPause, ann)
		_, device := second.Ask(ctx, drive.Wish{Device: "nothing", Want: rollout.WantRevert})
		for err, want := range map[error]error{refused: drive.ErrRefused, unknown: store.ErrNotFound, stale: drive.ErrStale, state: rollout.ErrState, device: store.ErrNotFound} {
			if !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		if p, err := second.Preview(ctx, plain); err != nil || p.Devices != 3 {
			t.Errorf("it previews %+v, %v", p, err)
		}
		second.verb(v.ID, drive.VerbStart, ann)
		if p, err := second.Preview(ctx, plain); err != nil || p.Devices != 0 || p.RefusedTotal != 3 {
			t.Errorf("while they are in a rollout it previews %+v, %v", p, err)
		}
	})
}

// The leader is killed at each commit while another panel hands it a rollout. That is made
// once or not at all, and who was told that it is made finds it.
func TestForwardedOnceOrNotAtAll(t *testing.T) {
	t.Parallel()
	base := dir(t)
	outcomes := map[string]int{}
	for at := 1; at <= 6; at++ {
		for _, after := range []bool{false, true} {
			path := filepath.Join(base, fmt.Sprint(at, after, ".db"))
			twoPanels(t, path, at, after, func(t *testing.T, _ *bolt.Store, first, second *panel) {
				dead := make(chan struct{})
				go func() {
					defer close(dead)
					select {
					case <-first.store.died:
						first.halt()
					case <-time.After(time.Hour):
					}
				}()
				v, err := second.Create(t.Context(), plain, 0, ann)
				time.Sleep(time.Minute)
				synctest.Wait()
				list, failed := second.List(t.Context())
				switch {
				case failed != nil || len(list) > 1:
					t.Errorf("killed at %d (after %v): it lists %d, %v", at, after, len(list), failed)
				case err == nil && (len(list) != 1 || list[0].ID != v.ID):
					t.Errorf("killed at %d (after %v): %s was made, and it lists %d", at, after, v.ID, len(list))
				case errors.Is(err, drive.ErrNotLeading) && len(list) != 0:
					t.Errorf("killed at %d (after %v): %v, and there is one", at, after, err)
				}
				outcomes[fmt.Sprint(err == nil, len(list))]++
				<-dead
			})
		}
	}
	t.Logf("told that it was made, and rollouts: %v", outcomes)
	if outcomes["true 1"] == 0 || outcomes["false 0"]+outcomes["false 1"] == 0 {
		t.Errorf("only %v were met", outcomes)
	}
}

// A panel that is about to end hands the rollouts over while it still runs, and has the
// other one do what people want of it.
func TestAPanelRetires(t *testing.T) {
	t.Parallel()
	twoPanels(t, filepath.Join(dir(t), "panel.db"), 0, false, func(t *testing.T, file *bolt.Store, first, second *panel) {
		v := first.create(plain, 0)
		old, err := file.Get(t.Context(), "lead/rollouts")
		if err != nil {
			t.Fatal(err)
		}
		first.Retire()
		time.Sleep(time.Second)
		first.verb(v.ID, drive.VerbStart, ann)
		now, err := file.Get(t.Context(), "lead/rollouts")
		if err != nil || now.Rev == old.Rev {
			t.Errorf("it still leads at %d, %v", now.Rev, err)
		}
		if v = first.until(v.ID, view.RolloutCompleted); v.Total.Done != 3 {
			t.Errorf("it ended with %+v", v.Total)
		}
		second.halt()
		if _, err := file.Get(t.Context(), "lead/rollouts"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("it has come back to lead: %v", err)
		}
	})
}
