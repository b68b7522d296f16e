package drive_test

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

// A second panel shows what the first one drives, brings its asks to the devices that are
// linked to it, and goes on when the first is gone.
func TestTwoPanels(t *testing.T) {
	t.Parallel()
	path := filepath.Join(dir(t), "panel.db")
	synctest.Test(t, func(t *testing.T) {
		file, err := bolt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		here, there := newSim(t), newSim(t)
		good3(here)
		for i := range 3 {
			there.add([]string{"gate-0", "gate-1", "gate-2"}[i], good, "1.4")
		}
		// What this one did before is not about what it is asked for now.
		old := there.add("gate-old", good, "1.4")
		old.status.Last = &control.Record{Time: time.Now().Add(-time.Hour), Trial: "t0", To: "2.0", Digest: "d2.0", Outcome: control.OutcomeReverted, Reason: "stall"}
		lone := there.add("lone", good, "1.4")
		here.others, there.others = there, here
		first := startOn(t, here, file, 0, false)
		second := startOn(t, there, file, 0, false)
		ctx := t.Context()
		v := second.create(with(func(p *view.Plan) { p.TrialDeadlineMS, p.Selector, p.Force = 24*hour, "-id:lone", true }), 0)
		second.verb(v.ID, drive.VerbStart, ann)
		if a, err := second.Ask(ctx, drive.Wish{Device: "lone", Want: rollout.WantActivate, Release: "r21", By: "user bob"}); err != nil || a.Epoch != 1 || a.Device != "lone" {
			t.Fatalf("asked %+v, %v", a, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if lone.status.Permanent != "2.1" {
			t.Errorf("what the first panel asks does not reach a device of the second: it has %+v", lone.desired)
		}
		for i, p := range []*panel{first, second} {
			if d, ok := p.Desired("lone"); !ok || d.Activate {
				t.Errorf("panel %d still has it try %+v", i, d)
			}
		}
		list, err := second.List(ctx)
		if err != nil || len(list) != 1 || list[0].ID != v.ID {
			t.Errorf("the second lists %+v, %v", list, err)
		}
		// The second panel tells the first one of its devices.
		if v, err = second.Show(ctx, v.ID); err != nil || v.State != view.RolloutCompleted || v.Total.Done != 7 {
			t.Errorf("the second shows %s %+v, %v", v.State, v.Total, err)
		}
		first.halt()
		time.Sleep(5 * time.Second)
		if v = second.until(v.ID, view.RolloutCompleted); v.Total.Done != 7 {
			t.Errorf("it ended with %+v", v.Total)
		}
		second.halt()
	})
}

// A leader that has lost its place to a newer one changes nothing more, and asks nobody.
func TestAnOldLeaderIsFencedOff(t *testing.T) {
	driven(t, good3, func(t *testing.T, s *sim, p *panel) {
		ctx := t.Context()
		v := p.create(with(func(p *view.Plan) { p.Waves = []view.Wave{{Count: 1, SoakMS: minute}, {}} }), 0)
		p.verb(v.ID, drive.VerbStart, ann)
		// As etcd does when a lease has run out and another one holds the key.
		if _, err := p.file.Commit(ctx, nil, []store.Op{{Key: "lead/rollouts", Value: []byte("another")}}); err != nil {
			t.Fatal(err)
		}
		before, err := p.file.Scan(ctx, "da/", "e", 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Verb(ctx, v.ID, drive.VerbAbort, ann)
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("an old leader aborted: %v", err)
		}
		after, err := p.file.Scan(ctx, "da/", "e", 0)
		if err != nil || len(before.Items) != len(after.Items) {
			t.Errorf("%d asks became %d, %v", len(before.Items), len(after.Items), err)
		}
		for i := range after.Items {
			if after.Items[i].Rev != before.Items[i].Rev {
				t.Errorf("%s was changed", after.Items[i].Key)
			}
		}
		// It campaigns again, reads the journal, and goes on: the abort was not.
		time.Sleep(5 * time.Second)
		if v = p.until(v.ID, view.RolloutCompleted); v.Total.Done != 3 {
			t.Errorf("it ended with %+v", v.Total)
		}
	})
}
