package trust

import (
	"testing"
	"testing/synctest"
	"time"

	"slipstream/verify"
	"slipstream/verify/trusttest"
)

func wantTime(t *testing.T, s *Store, want time.Time, what string) {
	t.Helper()
	if got := s.Now(); !got.Equal(want) {
		t.Errorf("%s: secure time is %v, want %v", what, got, want)
	}
}

func TestSecureTime(t *testing.T) {
	p := newParty(t)
	f := p.factory()
	d, c := newMemDisk(), &bootTime{boot: "1", since: time.Hour}
	s := mustOpen(t, d, f, c)
	wantTime(t, s, built, "a new device")
	c.since += day
	wantTime(t, s, built.Add(day), "a day later")
	must(t, s.Save())
	c.since += day
	s = mustOpen(t, d, f, c)
	wantTime(t, s, built.Add(2*day), "another day later, after the agent was started again")
	c.boot, c.since = "2", time.Minute
	s = mustOpen(t, d, f, c)
	wantTime(t, s, built.Add(day), "after a reboot: as it was saved")
	c.boot, c.since = "3", 90*day
	s = mustOpen(t, d, f, c)
	wantTime(t, s, built.Add(day), "after a reboot that was long ago: as it was saved")
	must(t, s.Staged("a", installed(1, 0), verify.Learned{Time: built.Add(30 * day)}))
	wantTime(t, s, built.Add(30*day), "after a release of that day")
	must(t, s.Staged("a", installed(1, 0), verify.Learned{Time: built.Add(20 * day)}))
	wantTime(t, s, built.Add(30*day), "after an older release")

	if err := s.Freshen(trusttest.Freshness(t, built.Add(40*day), p.fleet.Timestamps.Keys...)); verify.Code(err) != verify.CodeFreshness {
		t.Errorf("without a fleet: %v", err)
	}
	must(t, s.Enroll(p.fleet.Parse(t)))
	must(t, s.Freshen(trusttest.Freshness(t, built.Add(40*day), p.fleet.Timestamps.Keys...)))
	wantTime(t, s, built.Add(40*day), "after the fleet's word")
	c.since += time.Hour
	wantTime(t, s, built.Add(40*day+time.Hour), "an hour later")
	must(t, s.Freshen(trusttest.Freshness(t, built.Add(39*day), p.fleet.Timestamps.Keys...)))
	wantTime(t, s, built.Add(40*day+time.Hour), "after an old word again")
	must(t, s.Leave())
	wantTime(t, s, built.Add(30*day+time.Hour), "outside of the fleet")
}

func TestWhoMayNotMoveTime(t *testing.T) {
	p := newParty(t)
	f := p.factory()
	f.Fleet = p.fleet.Parse(t)
	s := mustOpen(t, newMemDisk(), f, &bootTime{boot: "1"})
	for _, row := range []struct {
		name string
		role trusttest.Role
	}{
		{"the order key", p.fleet.Targets}, {"the fleet's root key", p.fleet.Root},
		{"the release key", p.vendor.Targets}, {"a stranger", p.strangers},
	} {
		if err := s.Freshen(trusttest.Freshness(t, built.Add(day), row.role.Keys...)); verify.Code(err) != verify.CodeFreshness {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	wantTime(t, s, built, "after all of them")
	// The freshness key itself, stolen.
	must(t, s.Freshen(trusttest.Freshness(t, built.AddDate(70, 0, 0), p.fleet.Timestamps.Keys...)))
	wantTime(t, s, p.fleet.Expires, "after a word from 2096")
	// The fleet takes the key back.
	must(t, s.Rotate(nil, [][]byte{next(t, &p.fleet, func(r *trusttest.Root) {
		r.Timestamps = trusttest.Role{Keys: trusttest.Keys(t, 1)}
		r.Expires = r.Expires.AddDate(2, 0, 0)
	})}))
	wantTime(t, s, built, "after the key was taken back")
}

// A release key, stolen, can move time to its root's expiry, until it is taken back.
func TestFalseDateOfARelease(t *testing.T) {
	p := newParty(t)
	s := mustOpen(t, newMemDisk(), p.factory(), &bootTime{boot: "1"})
	must(t, s.Staged("a", installed(1, 0), verify.Learned{Time: p.vendor.Expires}))
	must(t, s.Rotate([][]byte{next(t, &p.vendor, func(r *trusttest.Root) { r.Expires = r.Expires.AddDate(1, 0, 0) })}, nil))
	wantTime(t, s, p.vendor.Expires.AddDate(-1, 0, 0), "after a root with the same keys")
	must(t, s.Rotate([][]byte{next(t, &p.vendor, func(r *trusttest.Root) { r.Targets = p.strangers })}, nil))
	wantTime(t, s, built, "after the key was taken back")
}

// The wall clock is asked by nobody: the bubble's begins in 2000, and ends in 2099.
func TestWallClockChangesNothing(t *testing.T) {
	p := newParty(t)
	f := p.factory()
	f.Fleet = p.fleet.Parse(t)
	word := trusttest.Freshness(t, built.Add(day), p.fleet.Timestamps.Keys...)
	root := next(t, &p.vendor, nil)
	synctest.Test(t, func(t *testing.T) {
		for range 2 {
			s := mustOpen(t, newMemDisk(), f, &bootTime{boot: "1"})
			wantTime(t, s, built, "at "+time.Now().Format(time.DateOnly))
			must(t, s.Freshen(word))
			must(t, s.Rotate([][]byte{root}, nil))
			wantTime(t, s, built.Add(day), "at "+time.Now().Format(time.DateOnly))
			time.Sleep(time.Until(time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC)))
		}
	})
}

// A kernel that does not say how long it has run makes time stand still.
func TestTimeStandsStillWithoutAClock(t *testing.T) {
	silent := func() (string, time.Duration, error) { return "", 0, errPower }
	f := alone(t)
	d := newMemDisk()
	s, err := open(d, f, silent)
	must(t, err)
	wantTime(t, s, built, "without a clock")
	must(t, s.Save())
	s, err = open(d, f, silent)
	must(t, err)
	wantTime(t, s, built, "without a clock, again")
}

func TestUnknownTime(t *testing.T) {
	f := alone(t)
	f.Built = time.Time{}
	c := &bootTime{boot: "1"}
	d := newMemDisk()
	s := mustOpen(t, d, f, c)
	c.since += day
	if !s.Now().IsZero() {
		t.Errorf("time is %v, and nobody has said anything", s.Now())
	}
	must(t, s.Save())
	if s = mustOpen(t, d, f, c); !s.Now().IsZero() {
		t.Errorf("time is %v after it was saved", s.Now())
	}
}
