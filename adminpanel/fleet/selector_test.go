package fleet_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/view"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

var door = view.Device{
	ID: "cam-00412", Name: "Front Door", Site: "north", Tags: []string{"lab", "door=3"}, Product: "c2", Hardware: "rev-b",
	State: view.DeviceTrial, Online: true, LastSeen: now.Add(-time.Minute),
	Running: "1.10.0", Staged: "2.0.0-rc1", Previous: "1.9.3", Slot: "b",
}

var shed = view.Device{ID: "cam-2", Site: "the shed", Tags: []string{}, State: view.DeviceOffline, LastSeen: now.Add(-3 * time.Hour), Running: "1.2"}

func TestSelectors(t *testing.T) {
	for text, want := range map[string][2]bool{ // door, shed
		"":                            {true, true},
		"   ":                         {true, true},
		"version<1.4":                 {false, true},
		"version<1.10":                {false, true},
		"version<=1.10.0":             {true, true},
		"version>=1.10.0":             {true, false},
		"version>1.9.99":              {true, false},
		"version:1.10.0":              {true, false},
		"version:1.*":                 {true, true},
		"-version:1.10.0":             {false, true},
		"staged<2.0.0":                {true, false}, // a pre-release is before; shed has none
		"site:north":                  {true, false},
		"site:North":                  {true, false},
		"site:north,south":            {true, false},
		`site:"the shed"`:             {false, true},
		`site:"the shed",north`:       {true, true},
		"site:n*":                     {true, false},
		"site:*t*e*":                  {false, true},
		"tag:lab":                     {true, false},
		"tag:door=*":                  {true, false},
		`tag:""`:                      {false, true},
		"-tag:lab":                    {false, true},
		"online:yes":                  {true, false},
		"online:no":                   {false, true},
		"seen<10m":                    {true, false},
		"seen>2h":                     {false, true},
		"seen<1d":                     {true, true},
		"door":                        {true, false},
		"DOOR":                        {true, false},
		`"front door"`:                {true, false},
		"-shed":                       {true, false},
		"cam-":                        {true, true},
		"state:trial site:north":      {true, false},
		"state:trial site:south":      {false, false},
		"version<2 -site:north":       {false, true},
		"previous:1.9.3 hardware:re*": {true, false},
		"id:cam-2":                    {false, true},
	} {
		s, err := fleet.ParseSelector(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := [2]bool{s.Meets(&door, now), s.Meets(&shed, now)}; got != want {
			t.Errorf("%q means %v, want %v", text, got, want)
		}
		if s.String() != text {
			t.Errorf("%q became %q", text, s.String())
		}
	}
}

func TestSelectorsThatAreRefused(t *testing.T) {
	for text, column := range map[string]int{
		"colour:red":                     1,
		"site:north colour:red":          12,
		"site<north":                     1,
		"site:":                          6,
		"site:north,":                    12,
		`site:"north`:                    6,
		`site:"north"x`:                  13,
		"seen:10m":                       1,
		"seen<soon":                      6,
		"online:maybe":                   8,
		"-":                              2,
		strings.Repeat("x ", 65):         129,
		strings.Repeat("x", 2001):        2000,
		"id:" + strings.Repeat("x,", 65): 132,
	} {
		_, err := fleet.ParseSelector(text)
		var e *fleet.SelectorError
		if !errors.As(err, &e) || e.Column != column {
			t.Errorf("%.40q: %v, want something about column %d", text, err, column)
		}
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, s := range []string{`version<1.4 site:"a b",c* -tag:lab door seen<3d`, `"`, `a:*`, `-`, `x:,`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := fleet.ParseSelector(text)
		if err != nil {
			var e *fleet.SelectorError
			if !errors.As(err, &e) || e.Column < 1 || e.Column > max(len(text), 1)+1 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		s.Meets(&door, now)
		s.Meets(&view.Device{}, now)
	})
}

func TestVersionsInOrder(t *testing.T) {
	order := []string{"", "0.9", "1", "1.0", "1.0.1", "1.2", "1.9", "1.10", "1.10a", "2.0-rc1", "2.0-rc2", "2.0-rc10", "2.0", "2.0+b1", "2.0+b2", "v1"}
	for i, a := range order {
		for j, b := range order {
			got := fleet.CompareVersions(a, b)
			if got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%q against %q: %d", a, b, got)
			}
		}
	}
}

func TestWithin(t *testing.T) {
	all, lab, cams := fleet.Selector{}, selector(t, "tag:lab"), selector(t, "id:cam-*")
	for name, c := range map[string]struct {
		s          fleet.Selector
		door, shed bool
	}{
		"all within all":            {all.Within([]fleet.Selector{all}), true, true},
		"all within one":            {all.Within([]fleet.Selector{lab}), true, false},
		"all within two":            {all.Within([]fleet.Selector{lab, selector(t, `site:"the shed"`)}), true, true},
		"some within all":           {lab.Within([]fleet.Selector{cams, all}), true, false},
		"some within others":        {lab.Within([]fleet.Selector{selector(t, "site:south")}), false, false},
		"all within none":           {all.Within(nil), false, false},
		"all within one within one": {all.Within([]fleet.Selector{all.Within([]fleet.Selector{lab})}), true, false},
	} {
		if c.s.Meets(&door, now) != c.door || c.s.Meets(&shed, now) != c.shed {
			t.Errorf("%s: %v, %v", name, c.s.Meets(&door, now), c.s.Meets(&shed, now))
		}
		if c.s.All() != (c.door && c.shed && name == "all within all") {
			t.Errorf("%s: all is %v", name, c.s.All())
		}
	}
}
