package fleet_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/view"
)

func table(n int) *fleet.Table {
	t := fleet.NewTable()
	for i := range n {
		t.Put(view.Device{
			ID: fmt.Sprintf("cam-%06d", i), Site: fmt.Sprint("site-", i%50), Tags: []string{"a", "b"}, Running: fmt.Sprintf("1.%d.0", i%10), Staged: []string{"", "2.0"}[i%2],
			Stale: i%5 == 0, Online: i%5 != 0, State: view.DeviceReady,
		})
	}
	return t
}

func selector(t testing.TB, text string) fleet.Selector {
	s, err := fleet.ParseSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPagesHoldEveryDeviceOnce(t *testing.T) {
	tab := table(105)
	var ids []string
	after := ""
	for {
		page, first, total := tab.Page(selector(t, "version:1.3.0,1.4.0"), fleet.Place{After: after}, 4, now)
		if total != 22 {
			t.Fatalf("%d in all", total)
		}
		if first != len(ids)+1 {
			t.Errorf("behind %d devices it is at place %d", len(ids), first)
		}
		if len(page) == 0 {
			break
		}
		for _, d := range page {
			ids = append(ids, d.ID)
		}
		after = ids[len(ids)-1]
	}
	if len(ids) != 22 || !slices.IsSorted(ids) {
		t.Errorf("%d ids: %v", len(ids), ids)
	}
	tab.Delete("cam-000003")
	if page, _, total := tab.Page(selector(t, "version:1.3.0,1.4.0"), fleet.Place{After: "cam-000002"}, 1, now); total != 21 || page[0].ID != "cam-000004" {
		t.Errorf("after a device was deleted: %v of %d", page, total)
	}
}

// A page begins wherever somebody wants to look, and says where that is.
func TestPagesBeginAnywhere(t *testing.T) {
	tab := table(100)
	for _, c := range []struct {
		place fleet.Place
		id    string
		first int
	}{
		{fleet.Place{}, "cam-000003", 1}, {fleet.Place{From: "cam-000053"}, "cam-000053", 6}, {fleet.Place{After: "cam-000053"}, "cam-000063", 7},
		{fleet.Place{From: "cam-00005"}, "cam-000053", 6}, {fleet.Place{From: "a"}, "cam-000003", 1}, {fleet.Place{From: "z"}, "", 11},
		{fleet.Place{Number: 1}, "cam-000003", 1}, {fleet.Place{Number: 10}, "cam-000093", 10}, {fleet.Place{Number: 1 << 30}, "", 11},
	} {
		page, first, total := tab.Page(selector(t, "version:1.3.0"), c.place, 2, now)
		id := ""
		if len(page) > 0 {
			id = page[0].ID
		}
		if id != c.id || first != c.first || total != 10 {
			t.Errorf("%+v begins with %q at %d of %d", c.place, id, first, total)
		}
	}
}

func TestVersionsAddUp(t *testing.T) {
	tab := table(100)
	tab.Put(view.Device{ID: "new"})
	tab.Reverted("cam-000001", "2.0")
	tab.Reverted("cam-000002", "2.0")
	tab.Delete("cam-000002")
	v := tab.Versions(fleet.Selector{}, now)
	running, staged, reverted := 0, 0, 0
	for _, c := range v.Versions {
		running, staged, reverted = running+c.Running, staged+c.Staged, reverted+c.Reverted
	}
	if v.Total != 100 || running != v.Total || staged != 50 || reverted != 1 {
		t.Errorf("%d devices run a version, %d have one staged, %d went back, of %d", running, staged, reverted, v.Total)
	}
	if v.Versions[0].Version != "2.0" || v.Versions[len(v.Versions)-1].Version != "" {
		t.Errorf("in the order of %v", v.Versions)
	}
	if v := tab.Versions(selector(t, "site:site-1"), now); v.Total != 2 || len(v.Versions) != 2 {
		t.Errorf("of one site: %+v", v)
	}
}

func TestTheFirstFewAreTheSameEachTime(t *testing.T) {
	tab := table(1000)
	ten, total := tab.At(fleet.Selector{}, "1.3.0", 10, now)
	if total != 100 || len(ten) != 10 || slices.IsSorted(ten) {
		t.Fatalf("%v of %d", ten, total)
	}
	again, _ := tab.At(fleet.Selector{}, "1.3.0", 10, now)
	all, _ := tab.At(fleet.Selector{}, "1.3.0", 0, now)
	if !slices.Equal(ten, again) || len(all) != 100 || !slices.Equal(all[:10], ten) {
		t.Errorf("%v, then %v", ten, again)
	}
}

func TestReadersAndWriters(t *testing.T) {
	tab := table(200)
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 300 {
				tab.Put(view.Device{ID: fmt.Sprintf("cam-%06d", (i*7+w)%250), Running: "9"})
				tab.Delete(fmt.Sprintf("cam-%06d", (i*11+w)%250))
			}
		})
		all.Go(func() {
			for range 100 {
				page, _, _ := tab.Page(fleet.Selector{}, fleet.Place{}, 1000, now)
				if !slices.IsSortedFunc(page, func(a, b view.Device) int { return slices.Compare([]string{a.ID}, []string{b.ID}) }) {
					t.Error("a page is out of order")
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkSelect100000(b *testing.B) {
	tab := table(100_000)
	s := selector(b, "version<1.4 site:site-1*,site-2* -state:offline seen<1d")
	tab.Page(s, fleet.Place{}, 1, time.Now()) // puts the devices in order, once
	for b.Loop() {
		tab.Page(s, fleet.Place{}, 100, time.Now())
	}
}

func BenchmarkVersions100000(b *testing.B) {
	tab := table(100_000)
	tab.Page(fleet.Selector{}, fleet.Place{}, 1, time.Now()) // puts the devices in order, once
	for b.Loop() {
		tab.Versions(fleet.Selector{}, time.Now())
	}
}
