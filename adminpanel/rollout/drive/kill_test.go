package drive_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
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
	stop  func() // as a process
	halt  func() // with its store left open
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
	p := startOn(t, s, file, killAt, after)
	p.stop = func() {
		p.halt()
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	return p
}

// startOn starts a panel on a store that outlives it.
func startOn(t *testing.T, s *sim, file *bolt.Store, killAt int, after bool) *panel {
	t.Helper()
	m := &mortal{Store: file, t: t, at: killAt, after: after, died: make(chan struct{})}
	d := drive.New(drive.Config{
		Store: m, Audit: audit.New(m), Fleet: s.table(), Release: release, Asker: asker{s, m.dead}, Approvals: s.approvals,
	}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.Run(ctx)
	}()
	s.begin(d, file)
	synctest.Wait()
	halt := sync.OnceFunc(func() {
		s.begin(nil, nil)
		cancel()
		<-ended
	})
	return &panel{Driver: d, t: t, file: file, store: m, halt: halt}
}

func (s *sim) table() *fleet.Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := fleet.NewTable()
	put := func(c *cam, elsewhere bool) {
		t.Put(view.Device{ID: c.id, Product: c.status.Product, Hardware: c.status.Hardware, Running: c.status.Permanent, Online: elsewhere, Site: "site " + c.id[len(c.id)-1:]})
	}
	for _, c := range s.cams {
		put(c, false)
	}
	if s.others != nil {
		for _, c := range s.others.cams {
			put(c, c.online)
		}
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

// story is a rollout and what a person does when it stands in some way.
type story struct {
	devices func(*testing.T) *sim
	plan    view.Plan
	person  func(view.Rollout) (verb string)
}

// drives brings a rollout to its end, with the panel killed at a commit if killAt is not 0.
// It tells whether that commit came.
func (y story) drives(t *testing.T, path string, killAt int, after bool) (e end, killed bool) {
	t.Helper()
	s := y.devices(t)
	p := start(t, s, path, killAt, after)
	id := ""
	for n := 0; ; n++ {
		if n > 2000 {
			v, err := p.Show(t.Context(), id)
			t.Fatalf("it does not end: %+v, %v", v, err)
		}
		if p.store.dead() {
			p.stop()
			p, killed = start(t, s, path, 0, false), true
		}
		v := y.push(p, &id)
		if v.State == view.RolloutCompleted || v.State == view.RolloutAborted {
			break
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
	}
	time.Sleep(10 * time.Minute) // those whose words were late
	synctest.Wait()
	e = p.ended(s, id)
	killed = killed || p.store.dead()
	p.stop()
	return e, killed
}

// push does what a person does who wants a rollout to go on, and sees what is.
func (y story) push(p *panel, id *string) view.Rollout {
	ctx, ann := p.t.Context(), drive.Caller{By: "user ann"}
	list, err := p.List(ctx)
	if err != nil || p.store.dead() {
		return view.Rollout{}
	}
	if len(list) == 0 {
		v, err := p.Create(ctx, y.plan, 0, ann)
		if err != nil {
			p.mayFail(err)
			return view.Rollout{}
		}
		list = append(list, v)
	}
	v := list[0]
	*id = v.ID
	verb := ""
	switch {
	case v.State == view.RolloutApproved:
		verb = drive.VerbStart
	case y.person != nil:
		verb = y.person(v)
	}
	if verb == "" {
		return v
	}
	ann.Rev = v.Rev
	if v, err = p.Verb(ctx, v.ID, verb, ann); err != nil {
		p.mayFail(err)
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

// everywhere kills the panel at each commit, before it is on disk and after, and wants the
// same end as without: for each device, with as many trials.
func (y story) everywhere(t *testing.T) end {
	t.Helper()
	d := dir(t)
	var want end
	synctest.Test(t, func(t *testing.T) { want, _ = y.drives(t, filepath.Join(d, "whole"), 0, false) })
	kills := 0
	for n, lives := 1, false; !lives && !t.Failed(); n++ {
		lives = true
		for _, after := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				got, killed := y.drives(t, filepath.Join(d, fmt.Sprint(n, after)), n, after)
				if killed {
					lives = false
					kills++
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("killed at commit %d (on disk: %v) it ended otherwise (-want +got):\n%s", n, after, diff)
				}
			})
		}
	}
	t.Logf("killed %d times", kills)
	if kills < 20 {
		t.Errorf("it was killed %d times only", kills)
	}
	return want
}

func TestKilledAtEveryCommit(t *testing.T) {
	t.Parallel()
	want := story{devices: mixed, plan: careful}.everywhere(t)
	phases := map[string]string{
		"cam-0": "done ", "cam-1": "done ", "cam-2": "reverted stall", "cam-3": "done ", "cam-4": "done ", "cam-5": "failed silence",
		"cam-6": "done ", "cam-old": "done ",
	}
	if diff := cmp.Diff(phases, want.Phases); diff != "" || want.State != view.RolloutCompleted || want.Trials["cam-old"] != 2 {
		t.Errorf("undisturbed it ended as %+v\n%s", want, diff)
	}
}

// A roll-back reaches who is on trial; who is through cannot go back by itself, and is listed.
func TestKilledAtEveryCommitOfARollBack(t *testing.T) {
	t.Parallel()
	const done, waiting, away = 3, 2, 2
	y := story{
		devices: func(t *testing.T) *sim {
			s := newSim(t)
			for i := range done {
				s.add(fmt.Sprint("cam-", i), good, "1.4")
			}
			for i := range waiting {
				s.add(fmt.Sprint("cam-w", i), operator, "1.4")
			}
			for i := range away {
				s.add(fmt.Sprint("cam-x", i), good, "1.4").online = false
			}
			return s
		},
		plan: careful,
		person: func(v view.Rollout) string {
			if v.State == view.RolloutRunning && v.Total.Done == done && v.Total.Trial == waiting {
				return drive.VerbAbortRevert
			}
			return ""
		},
	}
	y.plan.Greenlight, y.plan.MaxUnavailable, y.plan.MaxPerSite, y.plan.TrialDeadlineMS = view.Greenlight{}, 10, 0, hour
	y.plan.Waves = []view.Wave{{}}
	want := y.everywhere(t)
	for id, phase := range want.Phases {
		as := "failed cannot revert: no way back"
		switch id[:5] {
		case "cam-w":
			as = "reverted asked to revert"
		case "cam-x":
			as = "skipped the rollout was aborted"
		}
		if phase != as {
			t.Errorf("%s ended as %s, want %s", id, phase, as)
		}
	}
	if want.State != view.RolloutAborted {
		t.Errorf("it is %s", want.State)
	}
}
