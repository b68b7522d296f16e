package large_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/simulate/simtest"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/etcd/etcdtest"
	"slipstream/adminpanel/view"
)

// TestTwoPanels has two panels on a real etcd run one rollout, each with half of the fleet.
// People use the one that does not lead. The leader is killed in the middle: the other one
// takes its place, and brings it to the end when the first one is back, as its hands.
func TestTwoPanels(t *testing.T) {
	dir := t.TempDir()
	cluster := etcdtest.New(t)
	where := etcdVariable + "=" + strings.Join(cluster.Endpoints(), ",")
	first, second := place(t, filepath.Join(dir, "first"), where), place(t, filepath.Join(dir, "second"), where)
	first.setUp(first.start())
	seen := cluster.Open(t, config.Default().Store.Prefix, 0, 1, 2)
	leads := func() int64 { // 0: nobody does
		item, err := seen.Get(t.Context(), "lead/rollouts")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return item.Rev
	}
	first.until("the first panel leads", func() bool { return leads() > 0 })
	second.start()
	second.signIn()

	const half = 20
	swarms := map[*panel]*simtest.Swarm{}
	for p, name := range map[*panel]string{first: "one", second: "two"} {
		swarms[p] = simtest.Start(t, simulate.Config{
			Panel: p.devices, Tokens: second.tokens(half), Devices: half, Prefix: name, Seed: 3, Times: simulate.Times{Soak: 500 * time.Millisecond},
		})
	}
	second.linked(2 * half)
	rel := second.release("2.0.0")
	r, err := second.CreateRollout(t.Context(), view.Plan{
		Release: rel.ID, Waves: []view.Wave{{Name: "canaries", Count: 4}, {}}, MaxUnavailable: 4, MaxStaging: 500,
		SuccessPercent: 80, FailPercent: 100, TrialDeadlineMS: 600_000, OnFailure: "halt", Activation: "waves",
	})
	if err != nil {
		t.Fatal(err)
	}
	r = second.verb(r.ID, client.Start)
	if r.Total.Devices != 2*half {
		t.Fatalf("it began with %+v", r.Total)
	}
	second.rolled(r.ID, "on its way", func(v view.Rollout) bool { return v.Wave == 2 && v.Total.Done >= 6 })
	first.kill()
	killed, before := time.Now(), leads()
	second.until("the second panel leads", func() bool { rev := leads(); return rev > 0 && rev != before })
	t.Logf("a panel that was killed has a successor after %v", time.Since(killed))
	// Devices that were in flight at the first panel count as unavailable until they speak.
	paused := second.verb(r.ID, client.Pause)
	if paused.State != view.RolloutPaused || paused.Total.Done < 6 || paused.Total.Failed > 0 {
		t.Errorf("the second panel has taken over %s with %+v", paused.State, paused.Total)
	}
	second.verb(r.ID, client.Resume)
	first.start()
	end := second.rolled(r.ID, "over", over)
	if end.Total.Done != 2*half || swarms[first].Counts().Version["2.0.0"] != half {
		t.Errorf("it ended with %+v, and the first panel's devices have %v", end.Total, swarms[first].Counts().Version)
	}
	for p, s := range swarms {
		if c := s.Counts(); c.Trials != half {
			t.Errorf("the devices of %s began %d trials", filepath.Base(p.data), c.Trials)
		}
	}

	// The successor ends in good order, and leaves nothing that has to run out.
	term := leads()
	stopped := time.Now()
	second.stop()
	t.Logf("it took %v to end", time.Since(stopped))
	if leads() == term {
		t.Error("a panel that has ended still leads")
	}
	if _, err := seen.Get(t.Context(), "lead/panel/second"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a panel that has ended still has its name: %v", err)
	}
	first.until("the first panel leads again", func() bool { rev := leads(); return rev > 0 && rev != term })
}
