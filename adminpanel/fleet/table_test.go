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
		page, total := tab.Page(selector(t, "version:1.3.0,1.4.0"), after, 4, now)
		if total != 22 {
			t.Fatalf("%d in all", total)
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
	if page, total := tab.Page(selector(t, "version:1.3.0,1.4.0"), "cam-000002", 1, now); total != 21 || page[0].ID != "cam-000004" {
		t.Errorf("after a device was deleted: %v of %d", page, total)
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
				page, _ := tab.Page(fleet.Selector{}, "", 1000, now)
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
	tab.Page(s, "", 1, time.Now()) // puts the devices in order, once
	for b.Loop() {
		tab.Page(s, "", 100, time.Now())
	}
}

func BenchmarkVersions100000(b *testing.B) {
	tab := table(100_000)
	tab.Page(fleet.Selector{}, "", 1, time.Now()) // puts the devices in order, once
	for b.Loop() {
		tab.Versions(fleet.Selector{}, time.Now())
	}
}
