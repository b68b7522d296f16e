package drive_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
	"slipstream/adminpanel/view"
)

const (
	minute = int64(time.Minute / time.Millisecond)
	hour   = 60 * minute
)

// releases of the tests' panels.
func release(_ context.Context, id string) (view.Release, error) {
	versions := map[string]string{"r15": "1.5", "r20": "2.0", "r21": "2.1"}
	v, ok := versions[id]
	if !ok {
		return view.Release{}, fmt.Errorf("%w: release %s", store.ErrNotFound, id)
	}
	return view.Release{ID: id, Version: v, Digest: "d" + v, Product: "cam", Hardware: []string{"rev-b"}, Classes: []string{"live"}}, nil
}

// panel is one process that drives rollouts.
type panel struct {
	*drive.Driver
	t     *testing.T
	file  *bolt.Store
	store *mortal
	stop  func()
}

// dir is on a file system in memory: what is tested is the order of commits, not the disk.
func dir(t *testing.T) string {
	t.Helper()
	d, err := os.MkdirTemp("/dev/shm", "slipstream-drive-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(d) })
	return d
}

func start(t *testing.T, s *sim, path string, killAt int, after bool) *panel {
	t.Helper()
	file, err := bolt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{Store: file, at: killAt, after: after, died: make(chan struct{})}
	d := drive.New(drive.Config{
		Store: m, Audit: audit.New(m), Fleet: s.table(), Release: release, Asker: asker{s, m.dead},
	}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.Run(ctx)
	}()
	s.begin(d, file)
	synctest.Wait()
	return &panel{Driver: d, t: t, file: file, store: m, stop: func() {
		s.begin(nil, nil)
		cancel()
		<-ended
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}}
}

func (s *sim) table() *fleet.Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := fleet.NewTable()
	for _, c := range s.cams {
		t.Put(view.Device{ID: c.id, Product: "cam", Hardware: "rev-b", Running: c.status.Permanent, Online: c.online, Site: "site " + c.id[len(c.id)-1:]})
	}
	return t
}

var careful = view.Plan{
	Release: "r20", MaxUnavailable: 2, MaxPerSite: 1, SuccessPercent: 50, FailPercent: 90, TrialDeadlineMS: 2 * minute, StagingDeadlineMS: 5 * minute,
	Retries: 1, RetryAfterMS: minute, OnFailure: "halt", Activation: "waves", Waves: []view.Wave{{Count: 2, SoakMS: minute}, {}},
	Through: []view.Through{{Below: "1.4", Release: "r15"}}, Greenlight: view.Greenlight{Auto: true},
}

func mixed(t *testing.T) *sim {
	s := newSim(t)
	for i, fate := range []string{good, good, reverts, unstable, operator, silent, good} {
		s.add(fmt.Sprint("cam-", i), fate, "1.4")
	}
	s.add("cam-old", good, "1.3")
	return s
}

// end is what is left of a rollout, without its times.
type end struct {
	State  string
	Waves  []string
	Phases map[string]string
	Trials map[string]int
}

// drives brings a rollout to its end, however often the panel is killed: once, if at all.
func drives(t *testing.T, s *sim, plan view.Plan, path string, killAt int, after bool) (e end, commits int) {
	t.Helper()
	p := start(t, s, path, killAt, after)
	id := ""
	for n := 0; ; n++ {
		if n > 2000 {
			v, err := p.Show(t.Context(), id)
			t.Fatalf("it does not end: %+v, %v", v, err)
		}
		if p.store.dead() {
			commits += p.store.commits
			p.stop()
			p = start(t, s, path, 0, false)
		}
		v := p.push(&id, plan)
		if v.State == view.RolloutCompleted || v.State == view.RolloutAborted {
			break
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
	}
	time.Sleep(10 * time.Minute) // those whose words were late
	synctest.Wait()
	commits += p.store.commits
	e = p.ended(s, id)
	p.stop()
	return e, commits
}

// push does what a person does who wants a rollout to go on, and sees what is.
func (p *panel) push(id *string, plan view.Plan) view.Rollout {
	ctx := p.t.Context()
	list, err := p.List(ctx)
	if err != nil || p.store.dead() {
		return view.Rollout{}
	}
	if len(list) == 0 {
		v, err := p.Create(ctx, plan, 0, drive.Caller{By: "user ann"})
		if err != nil {
			p.mayFail(err)
			return view.Rollout{}
		}
		list = append(list, v)
	}
	v := list[0]
	*id = v.ID
	if v.State == view.RolloutApproved {
		if v, err = p.Verb(ctx, v.ID, drive.VerbStart, drive.Caller{By: "user ann", Rev: v.Rev}); err != nil {
			p.mayFail(err)
		}
	}
	return v
}

func (p *panel) mayFail(err error) {
	if !p.store.dead() && !errors.Is(err, drive.ErrNotLeading) {
		p.t.Error(err)
	}
}

func (p *panel) ended(s *sim, id string) end {
	item, err := p.file.Get(p.t.Context(), "r/"+id)
	if err != nil {
		p.t.Fatal(err)
	}
	var rec struct{ Head rollout.Head }
	if err := json.Unmarshal(item.Value, &rec); err != nil {
		p.t.Fatal(err)
	}
	e := end{State: rec.Head.State, Phases: map[string]string{}, Trials: map[string]int{}}
	for _, w := range rec.Head.Waves {
		e.Waves = append(e.Waves, w.Verdict)
	}
	_, err = store.All(p.t.Context(), p.file, "rd/"+id+"/", func(item store.Item) error {
		var c rollout.Course
		err := json.Unmarshal(item.Value, &c)
		e.Phases[c.Device] = c.Phase + " " + c.Cause
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.cams {
		e.Trials[c.id] = c.trials
		if len(c.epochs) > c.trials {
			p.t.Errorf("%s was activated in epochs %v", c.id, c.epochs)
		}
	}
	return e
}

// A panel that is killed at any commit, before it is on disk or after, changes nothing
// about how a rollout ends: each device comes to the same end, with as many trials.
func TestKilledAtEveryCommit(t *testing.T) {
	t.Parallel()
	d := dir(t)
	var want end
	commits := 0
	synctest.Test(t, func(t *testing.T) { want, commits = drives(t, mixed(t), careful, filepath.Join(d, "whole"), 0, false) })
	t.Logf("%d commits: %+v", commits, want)
	if want.State != view.RolloutCompleted || want.Trials["cam-old"] != 2 {
		t.Fatalf("undisturbed it ended as %+v", want)
	}
	for n := 1; n <= commits && !t.Failed(); n++ {
		for _, after := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				got, _ := drives(t, mixed(t), careful, filepath.Join(d, fmt.Sprint(n, after)), n, after)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("killed at commit %d (on disk: %v) it ended otherwise (-want +got):\n%s", n, after, diff)
				}
			})
		}
	}
}
