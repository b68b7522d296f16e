package demo

import (
	"slices"
	"strings"
	"testing"

	"slipstream/agent/control"
	"slipstream/testrig/camera"
	"slipstream/testrig/viewer"
)

// A judge that lets a defect pass proves nothing, so each one is shown to it.
func TestEachDefectIsAProblem(t *testing.T) {
	crash := steps[1]
	good := func() Update {
		return Update{
			From: "2.0", To: crash.version, Outcome: control.OutcomeReverted, Reason: "exit", ViewersKept: 1,
			DetectMS: new(1.0), SwitchMS: new(1.0), FirstPacketMS: new(2.0), ControlGapMS: 40,
			Streams: []Stream{{Name: "main", LongestGapMS: 75, ReplayedFrames: 5, ContentJumpMS: 133}},
			Carried: &Carried{Given: 7, WentOn: true, Before: new(uint64(9)), After: new(uint64(12)), Kept: new(true)},
			Viewers: []Viewer{{Stream: "main", Kind: viewer.WHEP, Kept: true, Report: viewer.Report{Versions: []string{"2.0", "3.0", "2.0"}}}},
		}
	}
	if list := crash.judge(good()); len(list) > 0 {
		t.Fatalf("a good run has problems: %v", list)
	}
	for want, spoil := range map[string]func(*Update){
		"the outcome is permanent":     func(u *Update) { u.Outcome = control.OutcomePermanent },
		"the reason is":                func(u *Update) { u.Reason = "deadline" },
		"viewers were lost":            func(u *Update) { u.ViewersLost = 1 },
		"the longest gap":              func(u *Update) { u.Streams[0].LongestGapMS = 75.4 },
		"frames lost":                  func(u *Update) { u.Streams[0].FramesLost = 1 },
		"1 sequence":                   func(u *Update) { u.Streams[0].SeqBreaks = 1 },
		"1 timestamp":                  func(u *Update) { u.Streams[0].TimestampBreaks = 1 },
		"the picture went back":        func(u *Update) { u.Streams[0].ContentJumpMS = 501 },
		"saw the versions":             func(u *Update) { u.Viewers[0].Versions = []string{"2.0", "3.0"} },
		"detect was not measured":      func(u *Update) { u.DetectMS = nil },
		"switch was not measured":      func(u *Update) { u.SwitchMS = nil },
		"first packet was not measu":   func(u *Update) { u.FirstPacketMS = nil },
		"-1.0 ms is no measurement":    func(u *Update) { u.DetectMS = new(-1.0) },
		"shown by no version":          func(u *Update) { u.Viewers[0].SkippedFrames = 1 },
		"came twice":                   func(u *Update) { u.Viewers[0].Duplicates = 1 },
		"count was not seen":           func(u *Update) { u.Carried = nil },
		"began with 7":                 func(u *Update) { u.Carried.WentOn = false },
		"was not seen again":           func(u *Update) { u.Carried.Kept = nil },
		"went from 9 to 12":            func(u *Update) { u.Carried.Kept = new(false) },
		"first packet of 1001.0 ms is": func(u *Update) { u.FirstPacketMS = new(1001.0) },
	} {
		u := good()
		spoil(&u)
		if list := crash.judge(u); len(list) != 1 || !strings.Contains(list[0].text, want) {
			t.Errorf("problems %v, want one about %q", list, want)
		}
	}
}

func TestOnlyAHangMayLastAStallLimitLonger(t *testing.T) {
	for _, st := range steps {
		u := Update{ControlGapMS: 40, stallMS: 250, Streams: []Stream{{Name: "main", LongestGapMS: 300}}}
		long := slices.ContainsFunc(st.judge(u), func(p problem) bool { return p.gap })
		if hang := st.version == "4.0"; long == hang {
			t.Errorf("version %s: a gap of 300 ms is a problem: %t", st.version, long)
		}
	}
}

// Only a gap may be the machine's doing; a run with anything else wrong is not repeated.
func TestOnlyGapsMayBeTheMachines(t *testing.T) {
	gap := problem{text: "long", gap: true}
	for _, test := range []struct {
		problems problems
		want     bool
	}{{problems{gap}, true}, {problems{gap, {text: "a frame lost"}}, false}, {nil, true}} {
		if got := test.problems.onlyGaps(); got != test.want {
			t.Errorf("%v: only gaps: %t", test.problems, got)
		}
	}
}

// The count is followed by what viewers saw, through a switch and back.
func TestTheCountIsFollowed(t *testing.T) {
	stamp := func(version string, n, count uint64, given camera.State) camera.Stamp {
		return camera.Stamp{Version: version, Counter: n, Count: count, Given: given}
	}
	old, none := camera.State{Count: 11, Counter: 101}, camera.State{}
	good := func() []camera.Stamp {
		return []camera.Stamp{
			stamp("1.0", 100, 10, none), stamp("1.0", 101, 11, none), stamp("1.0", 102, 12, none),
			stamp("2.0", 103, 12, old), stamp("2.0", 104, 13, old), stamp("1.0", 104, 14, none),
		}
	}
	for name, test := range map[string]struct {
		spoil        func([]camera.Stamp) []camera.Stamp
		wentOn, kept bool
		none, oneWay bool
	}{
		"as it has to be":        {spoil: func(s []camera.Stamp) []camera.Stamp { return s }, wentOn: true, kept: true},
		"a picture counted more": {spoil: func(s []camera.Stamp) []camera.Stamp { s[5].Count++; return s }, wentOn: true},
		"started anew":           {spoil: func(s []camera.Stamp) []camera.Stamp { s[5].Given = old; return s }, wentOn: true},
		"another state":          {spoil: func(s []camera.Stamp) []camera.Stamp { s[3].Given.Counter++; return s }, kept: true},
		"begun at nothing":       {spoil: func(s []camera.Stamp) []camera.Stamp { s[3].Given = none; return s }, kept: true},
		"it stays":               {spoil: func(s []camera.Stamp) []camera.Stamp { return s[:5] }, wentOn: true, oneWay: true},
		"it never came":          {spoil: func(s []camera.Stamp) []camera.Stamp { return s[:3] }, none: true},
	} {
		c := carry("1.0", "2.0", test.spoil(good()))
		if test.none || c == nil {
			if test.none != (c == nil) {
				t.Errorf("%s: %+v", name, c)
			}
			continue
		}
		if c.WentOn != test.wentOn || test.oneWay != (c.Kept == nil) || !test.oneWay && *c.Kept != test.kept {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
