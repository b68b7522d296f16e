package uitest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

var sites = []string{"north gate", "south gate", "harbour", "depot", "station", "hall 4"}

// Sample is a fleet of so many devices in the middle of a rollout, seen by an admin.
func Sample(n int, now time.Time) Data {
	d := Data{
		Me:         &view.Me{Name: "ann", Kind: "user", Grants: []view.Grant{{Role: view.RoleAdmin}}, UntilMS: 3600_000},
		Setup:      view.Setup{Done: true, Admin: true, Trust: true, Enrolment: true, Device: true, Release: true},
		Settings:   settings(),
		Details:    map[string]*view.DeviceDetail{},
		History:    map[string][]control.Record{},
		Courses:    map[string][]view.RolloutDevice{},
		Uploads:    map[string]*view.Upload{},
		Releases:   releases(now),
		Tokens:     []view.Token{{ID: "t-1", Name: "deploy script", Grants: []view.Grant{{Role: view.RoleReleaser, Selector: "site:depot"}}, By: "ann", Until: now.AddDate(0, 3, 0), LastUsed: now.Add(-time.Hour)}},
		Enrolments: []view.Enrolment{{ID: "e-0", Uses: 3, Site: "harbour", By: "ann", Until: now.Add(8 * time.Hour)}},
		Accounts: []view.Account{
			{Name: "ann", Grants: []view.Grant{{Role: view.RoleAdmin}}, LastSeen: now},
			{Name: "ben", Grants: []view.Grant{{Role: view.RoleOperator, Selector: "site:harbour"}}, OIDC: true, LastSeen: now.Add(-26 * time.Hour)},
		},
	}
	for i := range n {
		d.Devices = append(d.Devices, device(i, now))
	}
	slices.SortFunc(d.Devices, func(a, b view.Device) int { return cmp.Compare(a.ID, b.ID) })
	for h := range 25 {
		done := n * h * h / 1200
		d.Trend = append(d.Trend, view.VersionPoint{At: now.Add(time.Duration(h-24) * time.Hour), Running: map[string]int{"2.5.0": done, "2.4.1": n*9/10 - done, "2.3.0": n / 10}})
	}
	if n > 0 {
		onTrial(&d, now)
	}
	d.Rollouts = rollouts(now)
	d.Courses["42"] = []view.RolloutDevice{
		{ID: "cam-00412", Wave: 3, Phase: view.PhaseFailed, Since: now.Add(-time.Minute), Tries: 1, Cause: "invariant frames", Detail: "no key frame in 4 s", From: "2.4.1"},
		{ID: "cam-00077", Wave: 3, Phase: view.PhaseFailed, Since: now.Add(-2 * time.Minute), Tries: 2, Cause: "trial deadline", From: "2.4.1"},
	}
	d.Audit = lines(now)
	return d
}

func settings() view.Settings {
	return view.Settings{
		ApproveAbove: 500, SessionIdle: 1800_000, OfflineAfter: 600_000, Zone: "Europe/Berlin", Rev: 3,
		Walls: []view.Wall{{Name: "Gates", Selector: "site:*gate", Columns: 3}},
		Views: []view.Saved{{Name: "Older than 2.4", Selector: "version<2.4"}, {Name: "Doors", Selector: "tag:door"}},
		Roots: []string{"9f2c4e8812ab77d09f2c4e8812ab77d0"},
	}
}

func device(i int, now time.Time) view.Device {
	d := view.Device{
		ID: fmt.Sprintf("cam-%05d", i), Site: sites[i%len(sites)], Tags: []string{[]string{"door", "yard", "lab"}[i%3], "entrance=" + fmt.Sprint(i/2)},
		Product: "gatecam", Hardware: "c2", State: view.DeviceReady, Online: true, LastSeen: now,
		Running: "2.4.1", Slot: "a", Previous: "2.3.0", System: "11.2", Runtime: "1.9.0", Rev: 1,
	}
	if i%4 == 0 {
		d.Name = strings.ToUpper(d.Site[:1]) + d.Site[1:] + " " + fmt.Sprint(i/4+1)
	}
	switch i % 23 {
	case 0:
		d.State, d.Running, d.Slot, d.Previous, d.Rollout = view.DeviceTrial, "2.5.0", "b", "2.4.1", "42"
	case 3, 9:
		d.State, d.Staged, d.Rollout = view.DeviceStaged, "2.5.0", "42"
	case 5:
		d.State, d.Online, d.Stale, d.LastSeen = view.DeviceOffline, false, true, now.Add(-time.Duration(i+20)*time.Minute)
	case 7:
		d.State = view.DeviceProblem
	case 11, 12, 13:
		d.Running, d.Slot, d.Previous = "2.5.0", "b", "2.4.1"
	case 15:
		d.State = view.DeviceStaging
	case 17:
		d.Running, d.Previous = "2.3.0", ""
	}
	return d
}

// onTrial gives the first device a whole status: it is on trial.
func onTrial(d *Data, now time.Time) {
	first := &d.Devices[0]
	at := func(min int) time.Time { return now.Add(time.Duration(-min) * time.Minute) }
	least, most := 24.0, 120.0
	gap := control.StreamProof{Name: "main", Viewers: 3, GapMS: 38, ContentJumpMS: 12}
	d.StatusAgeMS = 400
	d.Details[first.ID] = &view.DeviceDetail{
		Zone: "Europe/Berlin", EnrolledAt: now.AddDate(0, -5, 0), Certificate: &view.Certificate{Serial: "4f:19:aa:02", Until: now.AddDate(0, 2, 0)},
		Asked: &view.Asked{ID: "ask-0", Kind: "activate", By: "rollout 42", Version: "2.5.0", At: at(2), Done: true, Message: "the trial has begun"},
		Actions: []view.Action{{Name: "stage", Denied: "A trial is going on; its slots are both in use."}, {Name: "activate", Denied: "Nothing is staged."}, {Name: "confirm"}, {Name: "revert"},
			{Name: "cancel", Denied: "Nothing is being staged."}},
		Status: &control.Status{
			Device: first.ID, Product: "gatecam", Hardware: "c2", Agent: "1.9.0", Phase: "trial", Permanent: "2.4.1", Time: now,
			Slots: []control.Slot{
				{Name: "a", State: "permanent", Version: "2.4.1", Digest: strings.Repeat("3ad1", 16), App: "ready", Status: "1920×1080, 25 fps", Stored: &control.Stored{State: "staged", Kind: "erofs", Size: 52 << 20, By: "panel", StagedAt: now.AddDate(0, -1, 0), VerifiedAt: at(60 * 7)}},
				{Name: "b", State: "trial", Version: "2.5.0", Digest: strings.Repeat("c08e", 16), App: "ready", Status: "1920×1080, 25 fps", Stored: &control.Stored{State: "staged", Kind: "erofs", Size: 54 << 20, By: "panel", StagedAt: at(30), VerifiedAt: at(3)}},
			},
			Systems: []control.System{{Name: "a", State: "permanent", Version: "11.2", Running: true}, {Name: "b", Version: "11.1", TriesLeft: new(int)}},
			Trial: &control.Trial{ID: "t1", Slot: "b", From: "2.4.1", Version: "2.5.0", Greenlight: "app", Started: at(2), TookOver: at(2), RemainingMS: 180_000, SoakMS: 45_000,
				Verdicts: []control.Verdict{
					{Stream: "main", Invariant: "frames", Measure: "frames per second", Value: 25.02, Min: &least, Required: true, Judged: true, Holds: true, SinceMS: 95_000},
					{Stream: "main", Invariant: "latency", Measure: "p99 in ms", Value: 131, Max: &most, Judged: true, SinceMS: 2000},
					{Invariant: "disk", Measure: "free share", Required: true},
				}},
			Streams:     []control.StreamStatus{{Name: "main", Version: "2.5.0", Viewers: 3, Frames: 90210, LongestGapMS: 38, Width: 1920, Height: 1080}},
			Protections: []control.Protection{{Name: "user", On: true}, {Name: "landlock", On: true}, {Name: "memory-limit", Why: "the kernel has no memory controller"}},
		},
	}
	d.History[first.ID] = []control.Record{
		{Time: now.AddDate(0, -1, 0), Began: now.AddDate(0, -1, 0).Add(-4 * time.Minute), From: "2.3.0", To: "2.4.1", Outcome: control.OutcomePermanent, Proof: &control.Proof{Switch: []control.StreamProof{gap}}},
		{Time: now.AddDate(0, -1, -9), Began: now.AddDate(0, -1, -9).Add(-51 * time.Second), From: "2.3.0", To: "2.4.0", Outcome: control.OutcomeReverted, Reason: "stall", Detail: "no picture for 500 ms", Evidence: []string{"encoder: timeout waiting for buffer"}, Proof: &control.Proof{Revert: []control.StreamProof{gap}}},
	}
}

func releases(now time.Time) []view.Release {
	one := func(id, version string, counter int64, days int) view.Release {
		return view.Release{ID: id, Name: "gatecam", Version: version, Digest: strings.Repeat(id[:4], 16), Size: 54 << 20, Classes: []string{"live"}, Product: "gatecam", Hardware: []string{"c2", "c3"}, Counter: counter, Epoch: 1,
			Signers: []string{"b7d3" + strings.Repeat("0e", 14)}, Verified: true, Contents: []view.Content{{Class: "live", Kind: "erofs", Size: 53 << 20}}, Greenlight: "app", UploadedBy: "ann", UploadedAt: now.AddDate(0, 0, -days), Running: 10 * days}
	}
	newest := one("c08e11aa", "2.5.0", 25, 1)
	newest.Order = &view.OrderInfo{ID: "o-9", Devices: "all", Until: now.AddDate(0, 1, 0)}
	newest.Logged = []view.LogEntry{{Log: strings.Repeat("c0d2", 16), Index: 91_304_551, Time: now.AddDate(0, 0, -1)}}
	gone := one("77aa0102", "2.4.0", 23, 40)
	gone.Withdrawn, gone.WithdrawnBy, gone.Running = true, "ann", 0
	return []view.Release{newest, one("3ad1f00d", "2.4.1", 24, 31), gone}
}

func rollouts(now time.Time) []view.Rollout {
	wave := func(name, verdict, why string, c view.Counts) view.WaveState {
		return view.WaveState{Name: name, Verdict: verdict, Why: why, Counts: c}
	}
	running := view.Rollout{
		ID: "42", Version: "2.5.0", State: view.RolloutRunning, Wave: 3, By: "ann", Created: now.Add(-5 * time.Hour), Started: now.Add(-4 * time.Hour),
		Plan:    view.Plan{Name: "Winter release", Release: "c08e11aa", Selector: "site:*gate,harbour hardware:c2", MaxUnavailable: 200, SuccessPercent: 95, FailPercent: 2, FailCount: 40, TrialDeadlineMS: 300_000, OnFailure: "halt", Activation: "waves", Windows: []view.Window{{Days: []string{"mon", "tue", "wed", "thu", "fri"}, From: "01:00", To: "05:00"}}},
		Waiting: []string{"13 devices on trial have no verdict yet.", "12 devices of the wave are away."}, NextEvent: &view.Next{What: "window", InMS: 41 * 60_000},
		Approvals: []view.Approval{{By: "ben", At: now}}, Needed: 1, Total: view.Counts{Devices: 10000, Queued: 2767, Staged: 6123, Trial: 184, Activating: 3, Done: 918, Failed: 5, Offline: 313},
		Waves: []view.WaveState{
			wave("lab", "passed", "soaked 1 h", view.Counts{Devices: 10, Done: 10}),
			wave("canary", "passed", "", view.Counts{Devices: 100, Done: 99, Failed: 1}),
			wave("10 %", "open", "81 % of 95 %", view.Counts{Devices: 1000, Activating: 3, Trial: 184, Done: 809, Failed: 4, Offline: 12}),
			wave("rest", "waiting", "staging ahead", view.Counts{Devices: 8890, Staged: 6123, Queued: 2767, Offline: 301}),
		},
		Failures: []view.Cause{{Cause: "invariant frames: no key frame in 4 s", Devices: 3, Sample: []string{"cam-00412", "cam-01200"}}, {Cause: "trial deadline", Devices: 2, Sample: []string{"cam-00077"}}},
		FailRate: 0.5, FailLow: 0.2, FailHigh: 1.3, Now: 187, ActP50MS: 41, ActP99MS: 180, GapP50MS: 0, GapMaxMS: 310, GapWorst: "cam-00412", Rev: 90,
		Actions: []view.Step{{Name: "pause"}, {Name: "resume", Denied: "It is running."}, {Name: "skip-wave"}, {Name: "retry"}, {Name: "abort"}, {Name: "abort-revert"}},
	}
	done := view.Rollout{ID: "41", Version: "2.4.1", State: view.RolloutCompleted, Wave: 2, By: "ben", Created: now.AddDate(0, -1, 0), Started: now.AddDate(0, -1, 0), Ended: now.AddDate(0, -1, 1),
		Plan: view.Plan{Release: "3ad1f00d", Selector: "tag:lab", MaxUnavailable: 10, SuccessPercent: 95, FailPercent: 2}, Total: view.Counts{Devices: 120, Done: 117, Reverted: 2, Skipped: 1},
		Waves: []view.WaveState{wave("one", "passed", "", view.Counts{Devices: 20, Done: 20}), wave("rest", "passed", "", view.Counts{Devices: 100, Done: 97, Reverted: 2, Skipped: 1})}, Failures: []view.Cause{}, Approvals: []view.Approval{}, Actions: []view.Step{}}
	return []view.Rollout{running, done}
}

func lines(now time.Time) []view.AuditLine {
	all := []view.AuditLine{
		{Actor: "rollout 42", Action: "opened wave 3 of", Object: "rollout 42", Detail: "1,000 devices"},
		{Actor: "user ben", From: "192.0.2.17", Action: "approved", Object: "rollout 42"},
		{Actor: "user ann", From: "192.0.2.4", Action: "changed", Object: "device cam-00004", Before: json.RawMessage(`{"site":"harbor"}`), After: json.RawMessage(`{"site":"harbour"}`)},
		{Actor: "user ann", From: "192.0.2.4", Action: "added", Object: "release c08e11aa", Detail: "gatecam 2.5.0"},
		{Actor: "device cam-00005", Action: "was enrolled", Object: "device cam-00005"},
	}
	for i := range all {
		all[i].Seq = int64(len(all) - i)
		all[i].At = now.Add(-time.Duration(i*i*97) * time.Minute)
		all[i].Hash = fmt.Sprintf("%016x", 0x9e3779b97f4a7c15*uint64(i+1))
	}
	return all
}
