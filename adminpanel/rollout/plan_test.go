package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/view"
)

func TestDivide(t *testing.T) {
	var ids []string
	for i := range 1000 {
		ids = append(ids, fmt.Sprintf("cam-%04d", i))
	}
	waves := []view.Wave{{Selector: "lab", Count: 3}, {Count: 10}, {Percent: 10}, {}}
	meets := func(_, id string) bool { return strings.HasSuffix(id, "7") }
	of := Divide(waves, ids, meets)
	count := map[int]int{}
	low := 0
	for id, w := range of {
		count[w]++
		if w == 0 && !strings.HasSuffix(id, "7") {
			t.Errorf("%s is in the lab's wave", id)
		}
		if w == 2 && id < "cam-0500" {
			low++
		}
	}
	if len(of) != 1000 || count[0] != 3 || count[1] != 10 || count[2] != 100 || count[3] != 887 {
		t.Errorf("waves of %v", count)
	}
	if low < 25 || low > 75 {
		t.Errorf("%d of 100 are from the first half: the order is not that of a hash", low)
	}
	again := Divide(waves, append([]string{"cam-new"}, ids...), meets)
	moved := 0
	for id, w := range of {
		if again[id] != w {
			moved++
		}
	}
	if moved > 5 {
		t.Errorf("one more device moved %d others", moved)
	}
}

func TestWindows(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04", text, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	night := view.Window{Days: []string{"sat"}, From: "22:00", To: "03:30"}
	day := view.Window{Days: []string{"mon", "tue"}, From: "09:00", To: "17:00"}
	gap := view.Window{Days: []string{"sun"}, From: "02:30", To: "04:00"}
	for _, c := range []struct {
		window view.Window
		now    string
		open   bool
		next   string
	}{
		{day, "2026-06-01 08:59", false, "2026-06-01 09:00"},
		{day, "2026-06-01 09:00", true, ""},
		{day, "2026-06-01 17:00", false, "2026-06-02 09:00"},
		{day, "2026-06-03 12:00", false, "2026-06-08 09:00"},
		{night, "2026-06-06 22:00", true, ""},
		{night, "2026-06-07 03:29", true, ""}, // Sunday, of the window that began on Saturday
		{night, "2026-06-07 22:30", false, "2026-06-13 22:00"},
		{night, "2026-03-29 01:59", true, ""},  // summer time begins at two
		{night, "2026-03-29 03:29", true, ""},  // which is an hour after
		{night, "2026-10-25 03:31", false, ""}, // summer time has ended at three
		{gap, "2026-03-29 03:40", true, ""},    // 02:30 does not exist on that day
	} {
		w, err := parseWindow(c.window)
		if err != nil {
			t.Fatal(err)
		}
		open, next := openAt([]weekly{w}, at(c.now), berlin)
		if open != c.open || c.next != "" && !next.Equal(at(c.next)) {
			t.Errorf("%v at %s: open %v, next %v; want %v, %s", c.window, c.now, open, next, c.open, c.next)
		}
	}
}

func TestWilson(t *testing.T) {
	// Figures of the interval for 10 of 100, from its formula by hand.
	low, high := wilson(10, 100)
	if fmt.Sprintf("%.4f %.4f", low, high) != "0.0552 0.1744" {
		t.Errorf("%.4f %.4f", low, high)
	}
	if low, high := wilson(0, 0); low != 0 || high != 1 {
		t.Errorf("of nothing: %v %v", low, high)
	}
}

func TestSpread(t *testing.T) {
	var s spread
	for i := range 1000 {
		s.add(float64(i + 1))
	}
	if p := s.quantile(0.5); p < 480 || p > 525 {
		t.Errorf("p50 of 1 to 1000 is %v", p)
	}
	if s.quantile(1) != 1000 || s.most != 1000 {
		t.Errorf("the longest is %v", s.quantile(1))
	}
}
