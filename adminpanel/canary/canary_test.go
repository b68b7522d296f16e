package canary_test

import (
	"fmt"
	"slices"
	"testing"

	"slipstream/adminpanel/canary"
)

func TestSort(t *testing.T) {
	var ids []string
	for i := range 1000 {
		ids = append(ids, fmt.Sprintf("cam-%04d", i))
	}
	given := slices.Clone(ids)
	sorted := canary.Sort(ids)
	if !slices.Equal(ids, given) {
		t.Error("the ids given were changed")
	}
	slices.Reverse(given)
	if !slices.Equal(sorted, canary.Sort(given)) {
		t.Error("another order of the same ids gave another order")
	}
	low := 0
	for _, id := range sorted[:100] {
		if id < "cam-0500" {
			low++
		}
	}
	if low < 25 || low > 75 {
		t.Errorf("%d of the first 100 are from the first half: that is no hash", low)
	}
	if all := slices.Sorted(slices.Values(sorted)); !slices.Equal(all, ids) {
		t.Error("ids were lost")
	}
}
