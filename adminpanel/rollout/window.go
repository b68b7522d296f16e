package rollout

import (
	"fmt"
	"slices"
	"time"

	"slipstream/adminpanel/view"
)

// weekly is a window of the week. One that ends at or before its beginning
// ends on the next day.
type weekly struct {
	days     [7]bool // by time.Weekday, on which it begins
	from, to int     // minutes of the day
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func parseWindow(w view.Window) (weekly, error) {
	var out weekly
	if len(w.Days) == 0 {
		return out, fmt.Errorf("a window names its days, such as mon or sat")
	}
	for _, d := range w.Days {
		i := slices.Index(dayNames, d)
		if i < 0 {
			return out, fmt.Errorf("a window's days are mon to sun, not %q", d)
		}
		out.days[i] = true
	}
	var err error
	if out.from, err = minutes(w.From); err != nil {
		return out, err
	}
	out.to, err = minutes(w.To)
	return out, err
}

func minutes(text string) (int, error) {
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("a window's times look like 01:30, not %q", text)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// bounds are the instants of the window that begins on the day of t in its zone. Clock
// times that do not exist on that day (summer time begins) are moved by the zone's
// rules, and of those that exist twice the first counts.
func (w weekly) bounds(t time.Time) (from, to time.Time) {
	y, m, d := t.Date()
	from = time.Date(y, m, d, w.from/60, w.from%60, 0, 0, t.Location())
	next := 0
	if w.to <= w.from {
		next = 1
	}
	to = time.Date(y, m, d+next, w.to/60, w.to%60, 0, 0, t.Location())
	return from, to
}

// openAt tells whether any window is open in the zone, and if none is, when the next
// one opens. Without windows it is always open.
func openAt(windows []weekly, at time.Time, zone *time.Location) (open bool, next time.Time) {
	if len(windows) == 0 {
		return true, time.Time{}
	}
	local := at.In(zone)
	for day := -1; day <= 8; day++ {
		y, m, d := local.Date()
		noon := time.Date(y, m, d+day, 12, 0, 0, 0, zone)
		for _, w := range windows {
			if !w.days[noon.Weekday()] {
				continue
			}
			from, to := w.bounds(noon)
			if !at.Before(from) && at.Before(to) {
				return true, time.Time{}
			}
			if from.After(at) && (next.IsZero() || from.Before(next)) {
				next = from
			}
		}
	}
	return false, next
}
