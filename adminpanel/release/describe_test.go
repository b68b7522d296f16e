package release

import (
	"slices"
	"testing"
	"time"

	"slipstream/adminpanel/view"
	"slipstream/verify"
)

// What package verify found in a transparency log is said of the release.
func TestADescriptionNamesTheLog(t *testing.T) {
	p := &verify.Package{Logged: []verify.LogEntry{{Log: "c0d2", Index: 41, Time: time.Unix(1_700_000_000, 0)}, {Log: "ff", Index: 0}}}
	want := []view.LogEntry{{Log: "c0d2", Index: 41, Time: time.Unix(1_700_000_000, 0)}, {Log: "ff", Index: 0}}
	if got := describe(p, 1, true).Logged; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}
