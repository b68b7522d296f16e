package drive_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/view"
)

// members listens from now on until stop.
func (p *panel) members() (now func() map[string]string, stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var mu sync.Mutex
	in := map[string]string{}
	var owned sync.WaitGroup
	owned.Go(func() {
		drive.Members(ctx, p.store, func(rollout string, devices ...string) {
			mu.Lock()
			defer mu.Unlock()
			for _, id := range devices {
				in[id] = rollout
			}
		}, func(err error) { p.t.Error(err) })
	})
	return func() map[string]string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(in)
	}, func() { cancel(); owned.Wait() }
}

// Who is in a rollout is known from its start to its end, also to a panel that comes late.
func TestWhoIsInARollout(t *testing.T) {
	driven(t, func(s *sim) {
		good3(s)
		s.add("cam-9", operator, "1.4")
	}, func(t *testing.T, _ *sim, p *panel) {
		early, end := p.members()
		defer end()
		v := p.create(with(func(p *view.Plan) { p.Selector = "id:cam-1,cam-9" }), 0)
		if in := early(); len(in) > 0 {
			t.Errorf("before it starts: %v", in)
		}
		p.verb(v.ID, drive.VerbStart, ann)
		time.Sleep(time.Minute)
		late, end := p.members()
		defer end()
		for name, now := range map[string]func() map[string]string{"early": early, "late": late} {
			if in := now(); len(in) != 2 || in["cam-1"] != v.ID || in["cam-9"] != v.ID {
				t.Errorf("%s, while it runs: %v", name, in)
			}
		}
		p.verb(v.ID, drive.VerbConfirm, ann)
		p.until(v.ID, view.RolloutCompleted)
		for name, now := range map[string]func() map[string]string{"early": early, "late": late} {
			if in := now(); len(in) != 2 || in["cam-1"] != "" || in["cam-9"] != "" {
				t.Errorf("%s, after its end: %v", name, in)
			}
		}
	})
}
