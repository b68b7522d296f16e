package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/adminpanel/store/etcd/etcdtest"
	"slipstream/adminpanel/store/storetest"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

var ann = audit.Who{Actor: "user ann", From: "10.0.0.7"}

// begin runs a panel's fleet until the test, or stop, ends it.
func begin(t testing.TB, s store.Store, name string) (f *fleet.Fleet, stop func()) {
	t.Helper()
	f = fleet.New(fleet.Config{Store: s, Audit: audit.New(s), Panel: name, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	var owned sync.WaitGroup
	owned.Go(func() {
		if err := f.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	stop = func() { cancel(); owned.Wait() }
	t.Cleanup(stop)
	select {
	case <-f.Loaded():
	case <-time.After(time.Minute):
		t.Fatal("the store is not loaded")
	}
	return f, stop
}

// until waits for something that the fleet's watchers are told of.
func until(t testing.TB, f *fleet.Fleet, what string, holds func() bool) {
	t.Helper()
	w := f.Watch()
	defer w.Close()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-w.Changed():
			w.Take()
		case <-deadline:
			t.Fatalf("in a minute it did not come to this: %s", what)
		}
	}
}

func record(t testing.TB, s store.Store, id string) (fleet.Record, int64) {
	t.Helper()
	item, err := s.Get(t.Context(), "d/"+id)
	if errors.Is(err, store.ErrNotFound) {
		return fleet.Record{}, 0
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := fleet.Decode(item.Value)
	if err != nil {
		t.Fatal(err)
	}
	return r, item.Rev
}

func get(f *fleet.Fleet, id string) view.Device {
	d, _ := f.Table().Get(id)
	return d
}

func status(version string) *control.Status {
	return &control.Status{Product: "c2", Hardware: "rev-b", Agent: "0.9", Phase: "idle", Permanent: version, Slots: []control.Slot{
		{Name: "a", State: control.StatePermanent, Version: version}, {Name: "b", State: control.StatePrevious, Version: "1.0"},
	}}
}

func here(version string) fleet.Link {
	return fleet.Link{Online: true, Seen: time.Now(), Status: status(version)}
}

func TestOnlyEdgesAreWritten(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	f, _ := begin(t, s, "p")
	if err := fleet.CheckID("../x"); err == nil {
		t.Error("a path names a device")
	}
	f.Heard("../x", here("1.2"))
	f.Heard("cam-1", here("1.2"))
	until(t, f, "the record is written", func() bool { return get(f, "cam-1").Rev > 0 })
	r, rev := record(t, s, "cam-1")
	if r.Running != "1.2" || r.Previous != "1.0" || r.Slot != "a" || r.Home != "p" || r.Away || r.LastSeen.IsZero() || r.Runtime != "0.9" {
		t.Errorf("%+v", r)
	}
	trial := status("1.2")
	trial.Phase, trial.Trial = "trial", &control.Trial{Slot: "b", Version: "1.3", TookOver: time.Now()}
	for range 50 {
		f.Heard("cam-1", here("1.2"))
		f.Heard("cam-1", fleet.Link{Online: true, Seen: time.Now(), Status: trial})
	}
	if d := get(f, "cam-1"); d.State != view.DeviceTrial || d.Running != "1.3" || d.Slot != "b" || !d.Online {
		t.Errorf("on trial: %+v", d)
	}
	f.Heard("cam-1", fleet.Link{Seen: time.Now(), Status: trial})
	f.Sweep(time.Now().Add(9 * time.Minute))
	f.Flush(t.Context())
	if _, now := record(t, s, "cam-1"); now != rev {
		t.Errorf("revision %d after %d, and nothing worth it has happened", now, rev)
	}
	if d := get(f, "cam-1"); d.State != view.DeviceOffline || d.Running != "1.2" || !d.Stale {
		t.Errorf("away during its trial: %+v", d)
	}
	back := status("1.2")
	back.Last = &control.Record{Outcome: control.OutcomeReverted, To: "1.3"}
	f.Heard("cam-1", fleet.Link{Online: true, Seen: time.Now(), Status: back})
	until(t, f, "a version that was tried is written", func() bool { return get(f, "cam-1").Rev > rev })
	f.Heard("cam-1", here("1.3"))
	until(t, f, "a new version is written", func() bool { r, _ := record(t, s, "cam-1"); return r.Running == "1.3" })
	if v := f.Table().Versions(fleet.Selector{}, time.Now()); v.Versions[0].Version != "1.3" || v.Versions[0].Reverted != 0 || v.Versions[0].Running != 1 {
		t.Errorf("%+v", v)
	}
}

func TestLongAbsenceIsWrittenOnce(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	f, _ := begin(t, s, "p")
	f.Heard("cam-1", here("1.2"))
	until(t, f, "the record is written", func() bool { return get(f, "cam-1").Rev > 0 })
	left := time.Now()
	f.Heard("cam-1", fleet.Link{Seen: left, Status: status("1.2")})
	// The sweep says it is due, and the write asks the clock: so the device left long ago.
	f.Heard("cam-1", fleet.Link{Online: true, Seen: left.Add(-time.Hour)})
	f.Heard("cam-1", fleet.Link{Seen: left.Add(-time.Hour)})
	until(t, f, "it is away", func() bool { r, _ := record(t, s, "cam-1"); return r.Away })
	_, rev := record(t, s, "cam-1")
	f.Sweep(time.Now().Add(time.Hour))
	f.Flush(t.Context())
	if _, now := record(t, s, "cam-1"); now != rev {
		t.Errorf("it is away twice: revision %d after %d", now, rev)
	}
	f.Heard("cam-1", here("1.2"))
	until(t, f, "it is back", func() bool { r, _ := record(t, s, "cam-1"); return !r.Away })
}

func TestANewStartKnowsTheFleet(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	f, stop := begin(t, s, "p")
	name, site := "Front Door", "north"
	f.Heard("cam-1", here("1.2"))
	until(t, f, "the record is written", func() bool { return get(f, "cam-1").Rev > 0 })
	if _, err := f.Patch(t.Context(), ann, "cam-1", view.DevicePatch{Name: &name, Site: &site, Tags: &[]string{"b", "a", "b"}}, 0); err != nil {
		t.Fatal(err)
	}
	seen := recordOf(t, s, "cam-1").LastSeen
	stop()
	again, _ := begin(t, s, "p")
	d := get(again, "cam-1")
	if d.Name != name || d.Site != site || !cmp.Equal(d.Tags, []string{"a", "b"}) || d.Running != "1.2" || d.Online || d.State != view.DeviceOffline || !d.Stale {
		t.Errorf("%+v", d)
	}
	until(t, again, "it was seen as long as the panel was up", func() bool { return get(again, "cam-1").LastSeen.After(seen) })
}

func recordOf(t testing.TB, s store.Store, id string) fleet.Record {
	r, _ := record(t, s, id)
	return r
}

func TestPatches(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	f, _ := begin(t, s, "p")
	f.Heard("cam-1", here("1.2"))
	until(t, f, "the record is written", func() bool { return get(f, "cam-1").Rev > 0 })
	rev := get(f, "cam-1").Rev
	name, zone, bad := "Door", "Europe/Berlin", "Mars/Olympus"
	d, err := f.Patch(t.Context(), ann, "cam-1", view.DevicePatch{Name: &name, Zone: &zone}, rev)
	if err != nil || d.Name != name || d.Rev <= rev || get(f, "cam-1").Name != name {
		t.Errorf("%+v, %v", d, err)
	}
	for what, p := range map[string]view.DevicePatch{
		"a zone": {Zone: &bad}, "tags": {Tags: &[]string{"a,b"}}, "an empty tag": {Tags: &[]string{""}}, "a long name": {Name: new(strings.Repeat("ü", 81))}, "a name of bytes": {Name: new("\xff")},
	} {
		if _, err := f.Patch(t.Context(), ann, "cam-1", p, 0); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := f.Patch(t.Context(), ann, "cam-1", view.DevicePatch{Name: &zone}, rev); !errors.Is(err, fleet.ErrChanged) {
		t.Errorf("an old revision: %v", err)
	}
	if _, err := f.Patch(t.Context(), ann, "cam-2", view.DevicePatch{Name: &zone}, 0); !errors.Is(err, fleet.ErrUnknown) {
		t.Errorf("nobody: %v", err)
	}
	lines, _, err := audit.New(s).Lines(t.Context(), audit.Query{})
	if err != nil || len(lines) != 1 || lines[0].Object != "device cam-1" || !strings.Contains(string(lines[0].After), zone) || lines[0].Actor != "user ann" {
		t.Errorf("%+v, %v", lines, err)
	}
}

func TestRevokedStaysOutUntilItEnrols(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	f, _ := begin(t, s, "p")
	use := []store.Op{{Key: "e/1", Value: []byte("used")}}
	free := []store.Cond{{Key: "e/1"}}
	if _, err := f.Enrol(t.Context(), ann, fleet.Enrolled{ID: "cam-1", Key: "k", Site: "north", Tags: []string{"lab"}}, free, use); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Enrol(t.Context(), ann, fleet.Enrolled{ID: "cam-2", Key: "k"}, free, use); !errors.Is(err, store.ErrConflict) || f.Admitted("cam-2", "k") {
		t.Errorf("a token that is used: %v", err)
	}
	if !f.Admitted("cam-1", "k") || f.Admitted("cam-1", "other") || f.Admitted("cam-1", "") || get(f, "cam-1").Site != "north" {
		t.Error("it is not let in as it should be")
	}
	if n, err := f.NextEpoch(t.Context(), "cam-1"); n != 1 || err != nil {
		t.Errorf("epoch %d, %v", n, err)
	}
	if err := f.Revoke(t.Context(), ann, "cam-1", 0); err != nil {
		t.Fatal(err)
	}
	f.Heard("cam-1", here("1.2")) // its link has not ended yet
	f.Flush(t.Context())
	if _, ok := f.Table().Get("cam-1"); ok || f.Admitted("cam-1", "k") || recordOf(t, s, "cam-1").Running != "" {
		t.Error("it is still there")
	}
	if _, err := f.NextEpoch(t.Context(), "cam-1"); !errors.Is(err, fleet.ErrUnknown) {
		t.Errorf("asked: %v", err)
	}
	if _, err := f.Enrol(t.Context(), ann, fleet.Enrolled{ID: "cam-1", Key: "k2"}, nil, nil); err != nil || !f.Admitted("cam-1", "k2") {
		t.Errorf("enrolled again: %v", err)
	}
	if n, err := f.NextEpoch(t.Context(), "cam-1"); n != 2 || err != nil {
		t.Errorf("epoch %d, %v", n, err)
	}
	if _, err := audit.Verify(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func TestPanelsAgree(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	panelsAgree(t, s, s, s, s)
}

// Each panel has another member of the cluster.
func TestPanelsOnEtcdAgree(t *testing.T) {
	t.Parallel()
	c := etcdtest.New(t)
	panelsAgree(t, c.Open(t, "/fleet/", 0, 1, 2), c.Open(t, "/fleet/", 0), c.Open(t, "/fleet/", 1), c.Open(t, "/fleet/", 2))
}

// panelsAgree says that panels come to know the same, however watches end and commits
// conflict. A panel is on each of the stores, which are ways to s.
func panelsAgree(t *testing.T, s store.Store, ways ...store.Store) {
	const devices, rounds = 20, 30
	var panels []*fleet.Fleet
	for i, way := range ways {
		f, _ := begin(t, storetest.NewFaulty(way, uint64(i), 0.3, 0.05), fmt.Sprint("p", i)) //nolint:gosec // small
		panels = append(panels, f)
	}
	var all sync.WaitGroup
	for p, f := range panels {
		all.Go(func() {
			for i := range rounds {
				for d := p; d < devices; d += len(panels) {
					f.Heard(fmt.Sprint("cam-", d), here(fmt.Sprint("1.", i)))
				}
				id := fmt.Sprint("cam-", i%devices)
				_, err := f.Patch(t.Context(), ann, id, view.DevicePatch{Note: new(fmt.Sprint(i)), Tags: &[]string{fmt.Sprint("p", p)}}, 0)
				if err != nil && !errors.Is(err, fleet.ErrUnknown) && !errors.Is(err, fleet.ErrChanged) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for i, f := range panels {
		until(t, f, fmt.Sprint("panel ", i, " knows what the store holds"), func() bool {
			f.Flush(t.Context())
			for d := range devices {
				id := fmt.Sprint("cam-", d)
				want, rev := record(t, s, id)
				got, known, _ := f.Record(id)
				if want.Running != fmt.Sprint("1.", rounds-1) || known != rev || !reflect.DeepEqual(got, want) {
					return false
				}
			}
			return true
		})
	}
	// A device that the store does not hold any more, by whatever means, is forgotten.
	if _, err := s.Commit(t.Context(), nil, []store.Op{{Key: "d/cam-7", Delete: true}}); err != nil {
		t.Fatal(err)
	}
	until(t, panels[0], "it is forgotten", func() bool { _, _, ok := panels[0].Record("cam-7"); return !ok })
	if _, err := audit.Verify(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func TestADeviceThatCallsAnotherPanel(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	one, stopOne := begin(t, s, "one")
	two, _ := begin(t, s, "two")
	one.Heard("cam-1", here("1.2"))
	until(t, two, "the other panel sees it online", func() bool { return get(two, "cam-1").Online })
	two.Heard("cam-1", here("1.2"))
	until(t, one, "the first one knows that its link is dead", func() bool { r, _, _ := one.Record("cam-1"); return r.Home == "two" })
	one.Flush(t.Context())
	if r := recordOf(t, s, "cam-1"); r.Home != "two" {
		t.Errorf("the panel whose link is dead took the device back: %+v", r)
	}
	if h := one.Counts(); !get(one, "cam-1").Online || h.Panels != 2 || h.Devices != 1 {
		t.Errorf("%+v, %+v", get(one, "cam-1"), h)
	}
	one.Heard("cam-2", here("1.2"))
	until(t, two, "another device", func() bool { return get(two, "cam-2").Online })
	stopOne()
	until(t, two, "its panel is gone", func() bool { return !get(two, "cam-2").Online })
	if d := get(two, "cam-1"); !d.Online {
		t.Errorf("%+v", d)
	}
}

// Of a watch that ends with each change nothing is learnt but that there is something.
func TestWhatAWatchMissed(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	f, _ := begin(t, storetest.NewFaulty(s, 1, 0.5, 1), "p")
	for i := range 10 {
		f.Heard(fmt.Sprint("cam-", i), here("1.2"))
	}
	for i := range 10 {
		until(t, f, "it is written, however often others are faster", func() bool { return get(f, fmt.Sprint("cam-", i)).Rev > 0 })
	}
	if _, err := s.Commit(t.Context(), nil, []store.Op{{Key: "d/cam-7", Delete: true}, {Key: "d/new", Value: []byte(`{"id":"new"}`)}}); err != nil {
		t.Fatal(err)
	}
	until(t, f, "one is forgotten and one is new", func() bool {
		_, _, old := f.Record("cam-7")
		_, _, added := f.Record("new")
		return !old && added
	})
}

func TestTheTrendHasAPointEachQuarter(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	f := fleet.New(fleet.Config{Store: s, Audit: audit.New(s), Log: slog.New(slog.DiscardHandler)})
	for i := range 10 {
		f.Heard(fmt.Sprint("cam-", i), here(fmt.Sprint("1.", i%2)))
	}
	began := time.Date(2026, 6, 1, 0, 3, 0, 0, time.UTC)
	for i := range 9 * 96 {
		at := began.Add(time.Duration(i) * 15 * time.Minute)
		for range 2 {
			if err := f.Remember(t.Context(), at); err != nil {
				t.Fatal(err)
			}
		}
	}
	points, err := f.History(t.Context(), began.Add(8*24*time.Hour+time.Hour))
	if err != nil || len(points) != 23*4-1 || points[0].Running["1.1"] != 5 || !points[0].At.Before(points[1].At) {
		t.Errorf("%d points of the last day, %v", len(points), err)
	}
	all, err := f.History(t.Context(), time.Time{})
	if err != nil || len(all) > 8*96+1 || len(all) < 8*96 {
		t.Errorf("%d points are kept, %v", len(all), err)
	}
	if err := f.Remember(t.Context(), began, store.Cond{Key: "lead/fleet", Rev: 1}); err != nil {
		t.Error(err)
	}
	if again, _ := f.History(t.Context(), time.Time{}); len(again) != len(all) {
		t.Error("a panel that does not lead has written a point")
	}
}

func BenchmarkLoad100000(b *testing.B) {
	s := bolttest.Open(b)
	for from := 0; from < 100_000; from += store.MaxOps {
		var ops []store.Op
		for i := from; i < from+store.MaxOps; i++ {
			id := fmt.Sprintf("cam-%06d", i)
			ops = append(ops, store.Op{Key: "d/" + id, Value: fmt.Appendf(nil, `{"id":%q,"site":"site-%d","tags":["lab"],"product":"c2","running":"1.%d.0","slot":"a"}`, id, i%50, i%10)})
		}
		if _, err := s.Commit(b.Context(), nil, ops); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		_, stop := begin(b, s, "p")
		stop()
	}
}
