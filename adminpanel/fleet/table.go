package fleet

import (
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"slipstream/adminpanel/canary"
	"slipstream/adminpanel/view"
)

// Table holds every device. Any goroutine may use it. Devices in it are never
// changed but replaced, so what it returns may be kept and must not be written to.
type Table struct {
	mu     sync.RWMutex
	byID   map[string]*view.Device
	sorted []*view.Device // by id; nil when it has to be made again
	tried  map[string]map[string]bool
}

// NewTable makes a table without devices.
func NewTable() *Table {
	return &Table{byID: map[string]*view.Device{}, tried: map[string]map[string]bool{}}
}

// Put adds a device or replaces it.
func (t *Table) Put(d view.Device) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.byID[d.ID]; ok && t.sorted != nil {
		t.sorted[t.find(old.ID)] = &d
	} else {
		t.sorted = nil
	}
	t.byID[d.ID] = &d
}

// find needs a lock and a sorted slice.
func (t *Table) find(id string) int {
	return sort.Search(len(t.sorted), func(i int) bool { return t.sorted[i].ID >= id })
}

// Delete removes a device, if it is there.
func (t *Table) Delete(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.byID[id]; ok {
		delete(t.byID, id)
		t.sorted = nil
	}
	for _, devices := range t.tried {
		delete(devices, id)
	}
}

// Reverted remembers that a device has tried a version and gone back.
func (t *Table) Reverted(id, version string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tried[version] == nil {
		t.tried[version] = map[string]bool{}
	}
	t.tried[version][id] = true
}

// Tried sets which versions a device has tried and gone back from.
func (t *Table) Tried(id string, versions []string) {
	t.mu.Lock()
	for _, devices := range t.tried {
		delete(devices, id)
	}
	t.mu.Unlock()
	for _, version := range versions {
		t.Reverted(id, version)
	}
}

// Get returns a device.
func (t *Table) Get(id string) (view.Device, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	d, ok := t.byID[id]
	if !ok {
		return view.Device{}, false
	}
	return *d, true
}

// Len is the number of devices.
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byID)
}

// all is every device by id, as it is now.
func (t *Table) all() []*view.Device {
	t.mu.RLock()
	sorted := slices.Clone(t.sorted) // Put replaces elements in place
	t.mu.RUnlock()
	if sorted == nil {
		return t.sort()
	}
	return sorted
}

func (t *Table) sort() []*view.Device {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sorted == nil {
		t.sorted = make([]*view.Device, 0, len(t.byID))
		for _, d := range t.byID {
			t.sorted = append(t.sorted, d)
		}
		slices.SortFunc(t.sorted, func(a, b *view.Device) int { return strings.Compare(a.ID, b.ID) })
	}
	return slices.Clone(t.sorted)
}

// Select returns the devices that a selector means, by id.
func (t *Table) Select(s Selector, now time.Time) []*view.Device {
	all := t.all()
	if s.All() {
		return all
	}
	return slices.DeleteFunc(all, func(d *view.Device) bool { return !s.Meets(d, now) })
}

// Place is where a page begins among the devices that a selector means, by one of its fields;
// none: at the first device.
type Place struct {
	After  string // behind this id, whether there is such a device or not
	From   string // at the first id that does not come before this
	Number int    // at this place, from 1
}

// Page returns at most so many of the devices that a selector means, by id, the place of the
// first of them, from 1, and how many there are in all.
func (t *Table) Page(s Selector, p Place, most int, now time.Time) (page []view.Device, first, total int) {
	selected := t.Select(s, now)
	from := min(max(0, p.Number-1), len(selected))
	if id := p.After + p.From; id != "" {
		found := false
		from, found = slices.BinarySearchFunc(selected, id, func(d *view.Device, id string) int { return strings.Compare(d.ID, id) })
		if found && p.From == "" {
			from++
		}
	}
	page = []view.Device{}
	for _, d := range selected[from:min(len(selected), from+most)] {
		page = append(page, *d)
	}
	return page, from + 1, len(selected)
}

// Versions counts the devices that a selector means by version, the newest first.
func (t *Table) Versions(s Selector, now time.Time) view.Versions {
	count := map[string]*view.VersionCount{}
	of := func(version string) *view.VersionCount {
		if count[version] == nil {
			count[version] = &view.VersionCount{Version: version}
		}
		return count[version]
	}
	selected := t.Select(s, now)
	for _, d := range selected {
		running := of(d.Running)
		running.Running++
		if d.Stale {
			running.Stale++
		}
		if d.Staged != "" {
			of(d.Staged).Staged++
		}
		if d.Previous != "" {
			of(d.Previous).Previous++
		}
	}
	t.mu.RLock()
	for version, devices := range t.tried {
		for id := range devices {
			if d, ok := t.byID[id]; ok && s.Meets(d, now) {
				of(version).Reverted++
			}
		}
	}
	t.mu.RUnlock()
	v := view.Versions{Total: len(selected), Versions: make([]view.VersionCount, 0, len(count))}
	for _, c := range count {
		v.Versions = append(v.Versions, *c)
	}
	slices.SortFunc(v.Versions, func(a, b view.VersionCount) int { return CompareVersions(b.Version, a.Version) })
	return v
}

// At returns devices that a selector means and that run a version, at most n of them (all,
// if n is 0), and how many there are. Their order is that of [canary.Sort], as is that of
// rollouts.
func (t *Table) At(s Selector, version string, n int, now time.Time) (ids []string, total int) {
	ids = []string{}
	for _, d := range t.Select(s, now) {
		if d.Running == version {
			ids = append(ids, d.ID)
		}
	}
	ids, total = canary.Sort(ids), len(ids)
	if n > 0 && n < total {
		ids = ids[:n]
	}
	return ids, total
}
