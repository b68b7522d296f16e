package drive_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// Statuses as agents send them; the version asked for has the digest d2.
const (
	idle = `{"phase":"idle","permanent":"1.4.0","slots":[
		{"name":"a","state":"permanent","version":"1.4.0","digest":"d1","app":"ready","pid":812},{"name":"b","state":"empty","app":"stopped"}]}`
	writing = `{"phase":"staging","permanent":"1.4.0","slots":[
		{"name":"a","state":"permanent","version":"1.4.0","digest":"d1","app":"ready"},{"name":"b","state":"staging","version":"1.5.0","digest":"d2","app":"stopped"}],
		"staging":{"version":"1.5.0","done":4096,"total":1048576,"fetched":4096}}`
	staged = `{"phase":"staged","permanent":"1.4.0","slots":[
		{"name":"a","state":"permanent","version":"1.4.0","digest":"d1","app":"ready"},
		{"name":"b","state":"staged","version":"1.5.0","digest":"d2","app":"stopped","stored":{"state":"staged","version":"1.5.0","digest":"d2","kind":"tree"}}]}`
	starting = `{"phase":"starting","permanent":"1.4.0","slots":[
		{"name":"a","state":"permanent","version":"1.4.0","digest":"d1","app":"ready"},{"name":"b","state":"trial","version":"1.5.0","digest":"d2","app":"starting"}],
		"trial":{"id":"t17","slot":"b","from":"1.4.0","version":"1.5.0","greenlight":"operator","remainingMs":60000,"soakMs":0}}`
	onTrial = `{"phase":"trial","permanent":"1.4.0","slots":[
		{"name":"a","state":"permanent","version":"1.4.0","digest":"d1","app":"ready"},{"name":"b","state":"trial","version":"1.5.0","digest":"d2","app":"ready"}],
		"trial":{"id":"t17","slot":"b","from":"1.4.0","version":"1.5.0","greenlight":"operator","tookOver":"2026-11-23T11:59:48Z","remainingMs":41200,"soakMs":5000,"verdicts":[
		{"stream":"main","invariant":"rate","measure":"frame-rate","against":"permanent","value":24.98,"base":25,"compared":0.9992,"min":0.9,"required":true,"judged":true,"holds":true},
		{"stream":"main","invariant":"bits","measure":"bitrate","against":"nothing","value":2200000,"compared":2200000,"max":2000000,"required":false,"judged":true,"holds":false}]}}`
	permanent = `{"phase":"idle","permanent":"1.5.0","slots":[
		{"name":"a","state":"previous","version":"1.4.0","digest":"d1","app":"stopped"},{"name":"b","state":"permanent","version":"1.5.0","digest":"d2","app":"ready"}],
		"last":{"time":"2026-11-23T12:00:30Z","trial":"t17","from":"1.4.0","to":"1.5.0","digest":"d2","outcome":"permanent",
		"proof":{"switch":[{"name":"main","viewers":2,"replayedFrames":0,"contentJumpMs":0,"gapMs":41.5}]}}}`
	reverted = `{"phase":"idle","permanent":"1.4.0","slots":[
		{"name":"a","state":"permanent","version":"1.4.0","digest":"d1","app":"ready"},{"name":"b","state":"reverted","version":"1.5.0","digest":"d2","app":"stopped"}],
		"last":{"time":"2026-11-23T12:00:10Z","trial":"t17","from":"1.4.0","to":"1.5.0","digest":"d2","outcome":"reverted","reason":"stall","detail":"stream main stood still for 400 ms",
		"proof":{"switch":[{"name":"main","viewers":2,"replayedFrames":0,"contentJumpMs":0,"gapMs":40}],"revert":[{"name":"main","viewers":2,"replayedFrames":0,"contentJumpMs":0,"gapMs":455}]}}}`
	fellBack = `{"phase":"idle","permanent":"1.4.0","slots":[
		{"name":"a","state":"permanent","version":"1.4.0","digest":"d1","app":"ready"},{"name":"b","state":"empty","app":"stopped"}],
		"last":{"time":"2026-11-24T07:00:00Z","from":"1.4.0","to":"1.5.0","digest":"d2","outcome":"reverted","reason":"damaged","detail":"version 1.5.0 cannot be started"}}`
	replaced = `{"phase":"idle","permanent":"1.6.0","slots":[
		{"name":"a","state":"permanent","version":"1.6.0","digest":"d3","app":"ready"},{"name":"b","state":"previous","version":"1.5.0","digest":"d2","app":"stopped"}],
		"last":{"time":"2026-11-24T09:00:00Z","trial":"t18","from":"1.5.0","to":"1.6.0","digest":"d3","outcome":"permanent"}}`
	rehearsed = `{"phase":"trial","permanent":"1.5.0","slots":[
		{"name":"a","state":"permanent","version":"1.4.0","digest":"d1","app":"ready"},{"name":"b","state":"trial","version":"1.5.0","digest":"d2","app":"ready"}],
		"trial":{"id":"t17","slot":"b","rehearsal":true,"greenlight":"operator","tookOver":"2026-11-23T11:59:48Z"}}`
	systemStaged = `{"phase":"staged","permanent":"1.4.0","slots":[{"name":"a","state":"permanent","version":"1.4.0","digest":"d1","app":"ready"}],"systems":[
		{"name":"a","state":"permanent","version":"7","running":true},{"name":"b","state":"staged","version":"8","stored":{"state":"staged","version":"8","digest":"d2","kind":"squashfs"}}]}`
	systemPermanent = `{"phase":"idle","permanent":"1.4.0","slots":[{"name":"a","state":"permanent","version":"1.4.0","digest":"d1","app":"ready"}],"systems":[
		{"name":"a","version":"7"},{"name":"b","state":"permanent","version":"8","running":true,"stored":{"state":"staged","version":"8","digest":"d2","kind":"squashfs"}}]}`
)

const markOfRevert = "2026-11-23T12:00:10Z t17"

func TestTranslate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	activate := drive.Ask{Device: "cam-7", Epoch: 5, Want: rollout.WantActivate, Release: "r2", Live: wire.Target{Digest: "d2"}, Activate: true}
	forced := activate
	forced.Force, forced.Before = true, markOfRevert
	again := activate
	again.Before = markOfRevert
	report := func(epoch uint64, state, code string) *wire.Report {
		return &wire.Report{Epoch: epoch, State: state, Code: code, Message: "a sentence"}
	}
	for _, c := range []struct {
		what   string
		ask    drive.Ask
		status string
		report *wire.Report
		ago    time.Duration // since the status came
		want   rollout.Seen
	}{
		{"nothing of it is here", activate, idle, nil, 0, rollout.Seen{}},
		{"no status yet", activate, "", nil, 0, rollout.Seen{}},
		{"it is being written", activate, writing, nil, 0, rollout.Seen{What: rollout.SeenStaging}},
		{"it waits", activate, staged, nil, 0, rollout.Seen{What: rollout.SeenStaged}},
		{"it is being started", activate, starting, nil, 0, rollout.Seen{What: rollout.SeenTrial}},
		{"it soaks", activate, onTrial, nil, 4 * time.Second, rollout.Seen{What: rollout.SeenTrial}},
		{"its soak is over by the panel's clock", activate, onTrial, nil, 5 * time.Second, rollout.Seen{What: rollout.SeenReady}},
		{"it is permanent", activate, permanent, nil, 0, rollout.Seen{What: rollout.SeenDone, GapMS: 41.5}},
		{"it went back", activate, reverted, nil, 0, rollout.Seen{What: rollout.SeenReverted, Cause: "stall", Detail: "stream main stood still for 400 ms", GapMS: 455}},
		{"it was tried before the ask, without force", again, reverted, nil, 0, rollout.Seen{What: rollout.SeenReverted, Cause: "reverted before", Detail: "the device has tried this version before and gone back"}},
		{"it was tried before the ask, with force", forced, reverted, nil, 0, rollout.Seen{}},
		{"it is staged again, with force", forced, staged, nil, 0, rollout.Seen{What: rollout.SeenStaged}},
		{"it fell back long after", activate, fellBack, nil, 0, rollout.Seen{What: rollout.SeenReverted, Cause: "damaged", Detail: "version 1.5.0 cannot be started"}},
		{"something newer took its place", activate, replaced, nil, 0, rollout.Seen{}},
		{"a rehearsal is no trial", activate, rehearsed, nil, 0, rollout.Seen{}},
		{"a system waits", activate, systemStaged, nil, 0, rollout.Seen{What: rollout.SeenStaged}},
		{"a system is permanent", activate, systemPermanent, nil, 0, rollout.Seen{What: rollout.SeenDone}},
		{"the stage failed", activate, idle, report(5, wire.ReportFailed, "unreadable"), 0, rollout.Seen{What: rollout.SeenFailed, Cause: "unreadable", Detail: "a sentence"}},
		{"the device talks without end", activate, idle, report(5, wire.ReportFailed, strings.Repeat("x", 1000)), 0, rollout.Seen{What: rollout.SeenFailed, Cause: strings.Repeat("x", 80), Detail: "a sentence"}},
		{"the stage of another epoch failed", activate, idle, report(4, wire.ReportFailed, "unreadable"), 0, rollout.Seen{}},
		{"the device is busy with another one", activate, idle, report(5, wire.ReportFailed, control.CodeBusy), 0, rollout.Seen{What: rollout.SeenStaging}},
		{"the activation is refused", activate, staged, report(5, wire.ReportRefused, "state-schema"), 0, rollout.Seen{What: rollout.SeenFailed, Cause: "state-schema", Detail: "a sentence"}},
		{"the report is newer than the status", activate, staged, report(5, wire.ReportTrial, ""), 0, rollout.Seen{What: rollout.SeenTrial}},
		{"the status is newer than the report", activate, reverted, report(5, wire.ReportTrial, ""), 0, rollout.Seen{What: rollout.SeenReverted, Cause: "stall", Detail: "stream main stood still for 400 ms", GapMS: 455}},
		{"permanent since another time", activate, idle, report(5, wire.ReportPermanent, ""), 0, rollout.Seen{What: rollout.SeenDone}},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := drive.Word{Device: "cam-7", Online: true, At: now.Add(-c.ago), Report: c.report}
			if c.status != "" {
				w.Status = &control.Status{}
				if err := json.Unmarshal([]byte(c.status), w.Status); err != nil {
					t.Fatal(err)
				}
			}
			got, next, ok := drive.Translate(c.ask, w, now)
			c.want.At, c.want.Device, c.want.Epoch, c.want.Release = now, "cam-7", 5, "r2"
			if got != c.want || ok != (c.want.What != "") {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if soaks := c.what == "it soaks"; soaks != next.Equal(now.Add(time.Second)) {
				t.Errorf("to be looked at again at %v", next)
			}
		})
	}
}
