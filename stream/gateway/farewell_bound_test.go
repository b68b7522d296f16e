package gateway

import (
	"errors"
	"fmt"
	"testing"
)

// However many sessions end, the newest are remembered and no more.
func TestFarewellsAreBounded(t *testing.T) {
	var f farewells
	for n := range 3 * maxFarewells {
		f.add(farewell{"main", fmt.Sprint(n)}, fmt.Sprint("because ", n))
		if len(f.all) > maxFarewells || len(f.why) != len(f.all) {
			t.Fatalf("%d sessions and %d reasons are remembered", len(f.all), len(f.why))
		}
	}
	if err := f.missing("main", fmt.Sprint(2*maxFarewells-1)); !errors.Is(err, errNoSession) {
		t.Errorf("the oldest: %v", err)
	}
	if err := f.missing("main", fmt.Sprint(2*maxFarewells)); err == nil || err.Error() != fmt.Sprint("this session is over: because ", 2*maxFarewells) {
		t.Errorf("the oldest that is remembered: %v", err)
	}
}
