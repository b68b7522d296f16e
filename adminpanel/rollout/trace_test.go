package rollout_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/view"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) // a Monday

const second, minute, hour = 1000, 60_000, 3_600_000

func plan(waves ...view.Wave) view.Plan {
	return view.Plan{
		Release: "new", Waves: append(waves, view.Wave{}), MaxUnavailable: 100, SuccessPercent: 90, FailPercent: 5,
		TrialDeadlineMS: 5 * minute, OnFailure: "halt", Activation: "waves",
	}
}

// script drives a rollout of devices cam-0, cam-1, … and answers for them.
type script struct {
	*testing.T
	r    *rollout.Rollout
	now  time.Time
	asks []rollout.Ask // not yet looked at
	wish map[string]rollout.Ask
	wake time.Time
}

func begin(t *testing.T, p view.Plan, waves ...int) *script {
	s := &script{T: t, now: noon, wish: map[string]rollout.Ask{}}
	var members []rollout.Member
	for wave, n := range waves {
		for range n {
			members = append(members, rollout.Member{Device: fmt.Sprint("cam-", len(members)), Wave: wave, Steps: []string{"new"}, Online: true})
		}
	}
	return s.with(p, members)
}

func (s *script) with(p view.Plan, members []rollout.Member) *script {
	s.Helper()
	r, err := rollout.New(p, members)
	if err != nil {
		s.Fatal(err)
	}
	s.r = r
	s.step(rollout.Start{At: s.now})
	return s
}

func (s *script) step(e rollout.Event) rollout.Outcome {
	s.Helper()
	out, err := s.r.Step(e)
	if err != nil {
		s.Fatal(err)
	}
	s.asks = append(s.asks, out.Asks...)
	for _, a := range out.Asks {
		s.wish[a.Device] = a
	}
	s.wake = out.Wake
	return out
}

// wait lets time pass, with every tick that is due.
func (s *script) wait(d time.Duration) {
	s.Helper()
	end := s.now.Add(d)
	for !s.wake.IsZero() && !s.wake.After(end) {
		s.now = s.wake
		s.step(rollout.Tick{At: s.now})
	}
	s.now = end
}

// says is the word of a device that knows of its newest ask.
func (s *script) says(what string, devices ...int) {
	s.Helper()
	for _, i := range devices {
		id := fmt.Sprint("cam-", i)
		s.step(rollout.Seen{At: s.now, Device: id, Epoch: s.wish[id].Epoch, What: what, Release: s.wish[id].Release, Cause: "invariant frames"})
	}
}

// upgrade takes devices all the way.
func (s *script) upgrade(devices ...int) {
	s.Helper()
	s.says(rollout.SeenStaged, devices...)
	s.says(rollout.SeenTrial, devices...)
	s.says(rollout.SeenDone, devices...)
}

func (s *script) show() view.Rollout { return s.r.Show(s.now) }

func (s *script) wants(state string, wave int) view.Rollout {
	s.Helper()
	v := s.show()
	if v.State != state || v.Wave != wave {
		s.Fatalf("the rollout is %s in wave %d (%s), want %s in wave %d", v.State, v.Wave, v.Why, state, wave)
	}
	return v
}

// asked takes the asks since it was last called, as "want cam-N …".
func (s *script) asked() string {
	var list []string
	for _, a := range s.asks {
		list = append(list, a.Want+" "+a.Device)
	}
	s.asks = nil
	return strings.Join(list, ", ")
}

func up(from, to int) (list []int) {
	for i := from; i < to; i++ {
		list = append(list, i)
	}
	return list
}

func TestWavesOpenOneAfterTheOther(t *testing.T) {
	s := begin(t, plan(view.Wave{Count: 2, SoakMS: hour}), 2, 2)
	if got := s.asked(); got != "stage cam-0, stage cam-1, stage cam-2, stage cam-3" {
		t.Fatalf("asked %q: staging must run ahead", got)
	}
	s.says(rollout.SeenStaged, 2, 3, 0, 1)
	if got := s.asked(); got != "activate cam-0, activate cam-1" {
		t.Fatalf("asked %q: only the first wave is open", got)
	}
	s.says(rollout.SeenTrial, 0, 1)
	s.says(rollout.SeenDone, 0, 1)
	s.wants(view.RolloutRunning, 1)
	s.wait(hour*time.Millisecond - 1)
	if got := s.asked(); got != "" {
		t.Fatalf("asked %q before the soak was over", got)
	}
	s.wait(1)
	if got := s.asked(); got != "activate cam-2, activate cam-3" {
		t.Fatalf("asked %q after the soak", got)
	}
	s.says(rollout.SeenTrial, 2, 3)
	s.says(rollout.SeenDone, 2, 3)
	if v := s.wants(view.RolloutCompleted, 2); v.Total.Done != 4 || v.Why != "" {
		t.Fatalf("%+v", v)
	}
}

// A wave that is smaller than any sample must come to an end, too.
func TestOneFailureOfTwoEndsTheWave(t *testing.T) {
	p := plan(view.Wave{Count: 2})
	p.FailPercent = 60
	s := begin(t, p, 2, 3)
	s.upgrade(0)
	s.says(rollout.SeenStaged, 1)
	s.says(rollout.SeenTrial, 1)
	s.says(rollout.SeenReverted, 1)
	v := s.wants(view.RolloutHalted, 1)
	if v.Waves[0].Verdict != "failed" || !strings.Contains(v.Why, "1 of 2 devices") {
		t.Fatalf("%+v", v)
	}
	// A person accepts it, and the next wave is not halted by the same failure.
	s.step(rollout.Resume{At: s.now})
	s.upgrade(2, 3, 4)
	if v := s.wants(view.RolloutCompleted, 2); v.Why != "with 1 exceptions" {
		t.Errorf("why: %q", v.Why)
	}
}

func TestAFailedLastWaveThatIsAcceptedIsTheEnd(t *testing.T) {
	p := plan()
	p.FailPercent = 100
	s := begin(t, p, 2)
	s.upgrade(0)
	s.says(rollout.SeenFailed, 1)
	s.wants(view.RolloutHalted, 1)
	s.step(rollout.Resume{At: s.now})
	s.wants(view.RolloutCompleted, 1)
}

// One failure among the first few is no rate of five percent.
func TestAFewFailuresAreNoRate(t *testing.T) {
	p := plan()
	p.FailPercent = 2
	s := begin(t, p, 400)
	s.upgrade(up(0, 19)...)
	s.says(rollout.SeenStaged, 19)
	s.says(rollout.SeenTrial, 19)
	s.says(rollout.SeenReverted, 19)
	s.wants(view.RolloutRunning, 1)
	for i := 20; i < 40; i++ {
		s.says(rollout.SeenStaged, i)
		s.says(rollout.SeenTrial, i)
		s.says(rollout.SeenReverted, i)
		if s.show().State != view.RolloutRunning {
			break
		}
	}
	v := s.wants(view.RolloutHalted, 1)
	if v.Total.Reverted < 2 || v.Total.Reverted > 5 || v.FailLow <= 2 {
		t.Errorf("halted after %d of %d, bound %.1f %%", v.Total.Reverted, v.Total.Reverted+v.Total.Done, v.FailLow)
	}
}

func TestAnAbsoluteLimit(t *testing.T) {
	p := plan()
	p.FailPercent, p.FailCount, p.OnFailure = 100, 2, "pause"
	s := begin(t, p, 50)
	s.says(rollout.SeenFailed, 0)
	s.wants(view.RolloutRunning, 1)
	s.says(rollout.SeenFailed, 1)
	s.wants(view.RolloutPaused, 1)
	// Two failures at once must not roll the pause back.
	s.says(rollout.SeenFailed, 2)
	s.wants(view.RolloutPaused, 1)
}

func TestSilenceIsFailure(t *testing.T) {
	s := begin(t, plan(), 1)
	s.says(rollout.SeenStaged, 0)
	s.says(rollout.SeenTrial, 0)
	s.asked()
	s.wait(5 * time.Minute)
	v := s.wants(view.RolloutHalted, 1)
	if len(v.Failures) != 1 || v.Failures[0].Cause != "silence" || v.Failures[0].Sample[0] != "cam-0" {
		t.Fatalf("%+v", v.Failures)
	}
	if got := s.asked(); got != "nothing cam-0" {
		t.Errorf("asked %q: an ask that nobody watches must be taken back", got)
	}
	// It is the truth about itself, also late.
	id := "cam-0"
	s.step(rollout.Seen{At: s.now, Device: id, Epoch: s.wish[id].Epoch - 1, What: rollout.SeenDone, Release: "new"})
	if v := s.show(); v.Total.Done != 1 || len(v.Failures) != 0 {
		t.Errorf("%+v", v.Total)
	}
}

func TestALateRevertCountsBack(t *testing.T) {
	s := begin(t, plan(), 20)
	s.upgrade(up(0, 20)...)
	s.wants(view.RolloutCompleted, 1)
	s.says(rollout.SeenReverted, 7)
	if v := s.show(); v.Total.Done != 19 || v.Total.Reverted != 1 {
		t.Errorf("%+v", v.Total)
	}
}

// During the soak, too: the wave is not passed then.
func TestARevertInTheSoakTakesTheVerdictBack(t *testing.T) {
	p := plan(view.Wave{Count: 2, SoakMS: hour})
	p.FailPercent = 90
	s := begin(t, p, 2, 2)
	s.upgrade(0, 1)
	s.wait(30 * time.Minute)
	s.says(rollout.SeenReverted, 0)
	s.wait(time.Hour)
	s.wants(view.RolloutHalted, 1)
}

// A wave that falls below its threshold while it soaks, and reaches it again, soaks anew.
func TestASoakBeginsAnew(t *testing.T) {
	p := plan(view.Wave{Count: 3, SoakMS: hour})
	p.FailPercent, p.SuccessPercent = 90, 60
	s := begin(t, p, 3, 1)
	s.upgrade(0, 1)
	s.wait(50 * time.Minute)
	s.says(rollout.SeenReverted, 0)
	s.upgrade(2)
	s.wait(50 * time.Minute)
	s.wants(view.RolloutRunning, 1)
	s.wait(10 * time.Minute)
	s.wants(view.RolloutRunning, 2)
}

// A report from before the revert must not undo it.
func TestWordsOfOlderAsksAreNotHeard(t *testing.T) {
	s := begin(t, plan(), 4)
	s.upgrade(0, 1)
	s.says(rollout.SeenStaged, 2)
	s.says(rollout.SeenTrial, 2)
	old := s.wish["cam-2"]
	s.asked()
	s.step(rollout.AbortRevert{At: s.now, Why: "bad colours"})
	if got := s.asked(); got != "nothing cam-3, revert cam-2, revert cam-0, revert cam-1" {
		t.Fatalf("asked %q", got)
	}
	s.step(rollout.Seen{At: s.now, Device: "cam-2", Epoch: old.Epoch, What: rollout.SeenDone, Release: "new"})
	s.says(rollout.SeenDone, 0) // has heard of the revert, has not done it
	if v := s.show(); v.Total.Reverting != 3 {
		t.Fatalf("%+v", v.Total)
	}
	s.says(rollout.SeenReverted, 0, 1, 2)
	if v := s.wants(view.RolloutAborted, 1); v.Total.Reverted != 3 || v.Total.Skipped != 1 || v.Why != "bad colours" {
		t.Errorf("%+v %q", v.Total, v.Why)
	}
}

// Nor may the failure of one try, which is told late, end the next.
func TestALateFailureIsOfTheTryBefore(t *testing.T) {
	p := plan()
	p.Retries, p.RetryAfterMS, p.FailPercent = 1, minute, 100
	s := begin(t, p, 2)
	first := s.wish["cam-0"]
	s.says(rollout.SeenFailed, 0)
	s.wait(time.Minute)
	s.step(rollout.Seen{At: s.now, Device: "cam-0", Epoch: first.Epoch, What: rollout.SeenFailed, Release: "new", Cause: "unreadable"})
	if v := s.show(); v.Total.Staging != 2 || v.Total.Failed != 0 {
		t.Errorf("%+v", v.Total)
	}
}

// After a panel's restart nothing is known of devices in flight until they have spoken.
func TestInFlightIsUnknownAfterARestart(t *testing.T) {
	s := begin(t, plan(), 2)
	s.says(rollout.SeenStaged, 0, 1)
	var courses []rollout.Course
	for _, id := range []string{"cam-0", "cam-1"} {
		c, _ := s.r.Course(id)
		courses = append(courses, c)
	}
	var err error
	if s.r, err = rollout.Restore(plan(), s.r.Head(), courses, s.now); err != nil {
		t.Fatal(err)
	}
	if v := s.show(); v.Total.Unknown != 2 {
		t.Errorf("%+v", v.Total)
	}
	s.says(rollout.SeenTrial, 0)
	if v := s.show(); v.Total.Unknown != 1 || v.Total.Trial != 1 {
		t.Errorf("%+v", v.Total)
	}
}

func TestAPlanThatRevertsOnFailure(t *testing.T) {
	p := plan()
	p.FailPercent, p.FailCount, p.OnFailure = 100, 1, "revert"
	s := begin(t, p, 3)
	s.upgrade(0, 1)
	s.asked()
	s.says(rollout.SeenFailed, 2)
	if got := s.asked(); got != "revert cam-0, revert cam-1" {
		t.Fatalf("asked %q", got)
	}
	s.says(rollout.SeenReverted, 0, 1)
	if v := s.wants(view.RolloutAborted, 1); v.Total.Reverted != 2 || v.Total.Failed != 1 {
		t.Errorf("%+v", v.Total)
	}
}

func TestRollingBackKeepsItsLimit(t *testing.T) {
	p := plan()
	p.MaxUnavailable = 2
	s := begin(t, p, 5)
	for i := range 5 {
		s.upgrade(i)
	}
	s.asked()
	s.step(rollout.AbortRevert{At: s.now})
	if got := s.asked(); got != "revert cam-0, revert cam-1" {
		t.Fatalf("asked %q", got)
	}
	s.says(rollout.SeenReverted, 0)
	s.says(rollout.SeenFailed, 1) // its old slot was overwritten
	if got := s.asked(); got != "revert cam-2, revert cam-3" {
		t.Fatalf("asked %q", got)
	}
	if v := s.show(); v.Failures[0].Cause == "" {
		t.Errorf("%+v", v.Failures)
	}
}

func TestLimitsBySiteAndTag(t *testing.T) {
	p := plan()
	p.MaxPerSite, p.MaxPerTag = 1, map[string]int{"door": 1}
	member := func(id, site, door string) rollout.Member {
		return rollout.Member{Device: id, Site: site, Tags: []string{"door=" + door, "loud"}, Steps: []string{"new"}, Online: true}
	}
	s := (&script{T: t, now: noon, wish: map[string]rollout.Ask{}}).with(p, []rollout.Member{
		member("cam-0", "north", "1"), member("cam-1", "north", "2"), member("cam-2", "south", "1"), member("cam-3", "south", "2"),
	})
	s.says(rollout.SeenStaged, 0, 1, 2, 3)
	s.asks = nil
	s.says(rollout.SeenTrial, 0)
	if v := s.show(); v.Now != 2 || v.Total.Staged != 2 {
		t.Fatalf("%d unavailable, %+v: want one of each site and of each door", v.Now, v.Total)
	}
	s.says(rollout.SeenDone, 0)
	s.says(rollout.SeenDone, 3)
	if v := s.show(); v.Now != 2 {
		t.Fatalf("%d unavailable after two have ended", v.Now)
	}
	s.says(rollout.SeenDone, 1, 2)
	s.wants(view.RolloutCompleted, 1)
}

func TestWindowsAreInTheDevicesTime(t *testing.T) {
	p := plan()
	p.TrialDeadlineMS = 24 * hour
	p.Windows = []view.Window{{Days: []string{"mon"}, From: "23:00", To: "02:00"}}
	s := (&script{T: t, now: noon, wish: map[string]rollout.Ask{}}).with(p, []rollout.Member{
		{Device: "cam-0", Zone: "Asia/Tokyo", Steps: []string{"new"}, Online: true}, // 21:00 there
		{Device: "cam-1", Zone: "America/New_York", Steps: []string{"new"}, Online: true},
	})
	s.says(rollout.SeenStaged, 0, 1)
	s.asked()
	if v := s.show(); v.NextEvent == nil || v.NextEvent.What != "window" || v.NextEvent.InMS != 2*hour {
		t.Fatalf("next: %+v", v.NextEvent)
	}
	s.wait(2 * time.Hour)
	if got := s.asked(); got != "activate cam-0" {
		t.Fatalf("asked %q at eleven in Tokyo", got)
	}
	s.wait(13 * time.Hour)
	if got := s.asked(); !strings.Contains(got, "activate cam-1") {
		t.Fatalf("asked %q at eleven in New York", got)
	}
}

func TestTogetherIsOneMoment(t *testing.T) {
	p := plan()
	p.Activation, p.MaxUnavailable = "together", 1
	s := begin(t, p, 3)
	s.says(rollout.SeenStaged, 0, 1)
	s.asks = nil
	s.says(rollout.SeenStaged, 2)
	if got := s.asked(); got != "activate cam-0, activate cam-1, activate cam-2" {
		t.Fatalf("asked %q", got)
	}
}

func TestTogetherDoesNotWaitForWhoIsAway(t *testing.T) {
	p := plan()
	p.Activation = "together"
	s := begin(t, p, 3)
	s.step(rollout.Link{At: s.now, Device: "cam-2"})
	s.says(rollout.SeenStaged, 0)
	s.asks = nil
	s.says(rollout.SeenStaged, 1)
	if got := s.asked(); got != "activate cam-0, activate cam-1" {
		t.Fatalf("asked %q", got)
	}
}

func TestTries(t *testing.T) {
	p := plan()
	p.Retries, p.RetryAfterMS, p.FailPercent = 1, minute, 100
	s := begin(t, p, 2)
	s.asked()
	s.says(rollout.SeenFailed, 0)
	if got := s.asked(); got != "" {
		t.Fatalf("asked %q at once", got)
	}
	s.wait(time.Minute - time.Second)
	if got := s.asked(); got != "" {
		t.Fatalf("asked %q before the pause was over", got)
	}
	s.wait(time.Second)
	if got := s.asked(); got != "stage cam-0" {
		t.Fatalf("asked %q after the pause", got)
	}
	s.says(rollout.SeenFailed, 0)
	s.wait(time.Hour)
	if v := s.show(); v.Total.Failed != 1 || s.asked() != "" {
		t.Fatalf("%+v", v.Total)
	}
	s.upgrade(1)
	s.wants(view.RolloutHalted, 1)
	s.asked()
	s.step(rollout.Retry{At: s.now})
	if !s.wish["cam-0"].Force || s.asked() != "stage cam-0" {
		t.Fatalf("retried as %+v", s.wish["cam-0"])
	}
	s.upgrade(0)
	s.wants(view.RolloutCompleted, 1)
}

// A version that a device tried and left is not tried again by itself.
func TestARevertIsNotRetried(t *testing.T) {
	p := plan()
	p.Retries, p.FailPercent = 3, 100
	s := begin(t, p, 2)
	s.says(rollout.SeenStaged, 0)
	s.says(rollout.SeenTrial, 0)
	s.says(rollout.SeenReverted, 0)
	if v := s.show(); v.Total.Reverted != 1 {
		t.Errorf("%+v", v.Total)
	}
}

func TestWhoIsAwayTooLongIsSkipped(t *testing.T) {
	p := plan()
	p.OfflineDeadlineMS = hour
	s := begin(t, p, 10)
	s.step(rollout.Link{At: s.now, Device: "cam-9"})
	s.step(rollout.Link{At: s.now, Device: "cam-8"})
	s.upgrade(up(0, 8)...)
	s.wants(view.RolloutRunning, 1)
	s.wait(30 * time.Minute)
	s.step(rollout.Link{At: s.now, Device: "cam-8", Online: true})
	s.upgrade(8)
	s.wait(time.Hour)
	if v := s.wants(view.RolloutCompleted, 1); v.Total.Skipped != 1 || v.Why != "with 1 exceptions" {
		t.Errorf("%+v", v)
	}
}

// Nobody asked is nothing proven.
func TestAWaveThatIsAllAwayIsNoSuccess(t *testing.T) {
	p := plan(view.Wave{Count: 1})
	p.OfflineDeadlineMS = minute
	for _, p.OnFailure = range []string{"halt", "pause", "revert"} { // nothing failed: a person has to look
		s := begin(t, p, 1, 1)
		s.step(rollout.Link{At: s.now, Device: "cam-0"})
		s.wait(time.Hour)
		s.wants(view.RolloutHalted, 1)
	}
}

func TestDownloadsThatStopMakeRoom(t *testing.T) {
	p := plan()
	p.MaxStaging, p.FailPercent = 1, 100
	s := begin(t, p, 3)
	if got := s.asked(); got != "stage cam-0" {
		t.Fatalf("asked %q", got)
	}
	s.step(rollout.Link{At: s.now, Device: "cam-0"})
	if got := s.asked(); got != "stage cam-1" {
		t.Fatalf("asked %q after the first was gone", got)
	}
	s.step(rollout.Link{At: s.now, Device: "cam-0", Online: true})
	s.says(rollout.SeenFailed, 1)
	if got := s.asked(); got != "stage cam-2" {
		t.Fatalf("asked %q", got)
	}
	s.wait(6 * time.Hour) // cam-2 says nothing
	if got := s.asked(); got != "nothing cam-2, stage cam-0" {
		t.Fatalf("asked %q", got)
	}
}

func TestVersionsThatMustBePassed(t *testing.T) {
	s := (&script{T: t, now: noon, wish: map[string]rollout.Ask{}}).with(plan(), []rollout.Member{
		{Device: "cam-0", Steps: []string{"middle", "new"}, Online: true},
	})
	s.upgrade(0)
	s.wants(view.RolloutRunning, 1)
	if s.wish["cam-0"].Release != "new" || s.wish["cam-0"].Want != rollout.WantStage {
		t.Fatalf("asked for %+v", s.wish["cam-0"])
	}
	s.upgrade(0)
	s.wants(view.RolloutCompleted, 1)
}

func TestGreenlights(t *testing.T) {
	for _, auto := range []bool{true, false} {
		p := plan()
		p.Greenlight.Auto = auto
		s := begin(t, p, 1)
		s.says(rollout.SeenStaged, 0)
		s.says(rollout.SeenReady, 0)
		if auto != (s.wish["cam-0"].Want == rollout.WantConfirm) {
			t.Errorf("auto %v: asked for %q", auto, s.wish["cam-0"].Want)
		}
		if !auto {
			s.step(rollout.Confirm{At: s.now})
		}
		if s.wish["cam-0"].Want != rollout.WantConfirm {
			t.Errorf("asked for %q", s.wish["cam-0"].Want)
		}
	}
}

func TestDevicesThatJoinAndLeave(t *testing.T) {
	p := plan(view.Wave{Count: 1})
	p.Dynamic = true
	s := begin(t, p, 1, 1)
	s.step(rollout.Join{At: s.now, Member: rollout.Member{Device: "cam-2", Steps: []string{"new"}, Online: true}})
	s.step(rollout.Leave{At: s.now, Device: "cam-1"})
	s.upgrade(0, 2)
	if v := s.wants(view.RolloutCompleted, 2); v.Total.Done != 2 || v.Total.Skipped != 1 {
		t.Errorf("%+v", v.Total)
	}
}

func TestWhoHasItAlreadyIsDone(t *testing.T) {
	s := (&script{T: t, now: noon, wish: map[string]rollout.Ask{}}).with(plan(), []rollout.Member{
		{Device: "cam-0", Steps: []string{"new"}, Has: true},
	})
	s.wants(view.RolloutCompleted, 1)
	s.step(rollout.AbortRevert{At: s.now})
	if got := s.asked(); got != "" {
		t.Errorf("asked %q of a device that this rollout has not touched", got)
	}
}

func TestAPausedRolloutAsksNobody(t *testing.T) {
	s := begin(t, plan(), 2)
	s.asked()
	s.step(rollout.Pause{At: s.now, Why: "lunch"})
	s.says(rollout.SeenStaged, 0, 1)
	if got := s.asked(); got != "" {
		t.Fatalf("asked %q", got)
	}
	s.step(rollout.Resume{At: s.now})
	if got := s.asked(); got != "activate cam-0, activate cam-1" {
		t.Fatalf("asked %q", got)
	}
}

func TestAPlanThatPausesAfterAWave(t *testing.T) {
	s := begin(t, plan(view.Wave{Count: 1, Pause: true}), 1, 1)
	s.upgrade(0)
	s.wants(view.RolloutPaused, 1)
	s.step(rollout.Resume{At: s.now})
	s.wants(view.RolloutRunning, 2)
}

func TestVerbsAreRefusedWhereTheyMakeNoSense(t *testing.T) {
	s := begin(t, plan(), 1)
	for _, e := range []rollout.Event{rollout.Start{}, rollout.Resume{}, rollout.SkipWave{}, rollout.Join{}} {
		if _, err := s.r.Step(e); !errors.Is(err, rollout.ErrState) {
			t.Errorf("%T: %v", e, err)
		}
	}
	s.step(rollout.Abort{At: s.now})
	for _, e := range []rollout.Event{rollout.Pause{}, rollout.Abort{}, rollout.Retry{}} {
		if _, err := s.r.Step(e); !errors.Is(err, rollout.ErrState) {
			t.Errorf("%T: %v", e, err)
		}
	}
}

func TestPlansThatMakeNoSense(t *testing.T) {
	for name, spoil := range map[string]func(*view.Plan){
		"no release":           func(p *view.Plan) { p.Release = "" },
		"nobody unavailable":   func(p *view.Plan) { p.MaxUnavailable = 0 },
		"percent":              func(p *view.Plan) { p.SuccessPercent = 101 },
		"deadline":             func(p *view.Plan) { p.TrialDeadlineMS = 0 },
		"on failure":           func(p *view.Plan) { p.OnFailure = "hope" },
		"activation":           func(p *view.Plan) { p.Activation = "" },
		"window's day":         func(p *view.Plan) { p.Windows = []view.Window{{Days: []string{"Monday"}, From: "01:00", To: "02:00"}} },
		"window without days":  func(p *view.Plan) { p.Windows = []view.Window{{From: "01:00", To: "02:00"}} },
		"window's time":        func(p *view.Plan) { p.Windows = []view.Window{{Days: []string{"mon"}, From: "25:00", To: "02:00"}} },
		"the rest first":       func(p *view.Plan) { p.Waves = []view.Wave{{}, {}} },
		"the rest limited":     func(p *view.Plan) { p.Waves = []view.Wave{{Count: 3}} },
		"two sizes of a wave":  func(p *view.Plan) { p.Waves = []view.Wave{{Count: 3, Percent: 2}, {}} },
		"a negative soak":      func(p *view.Plan) { p.Waves[0].SoakMS = -1 },
		"a negative deadline":  func(p *view.Plan) { p.OfflineDeadlineMS = -1 },
		"no waves":             func(p *view.Plan) { p.Waves = nil },
		"more than 100 % wave": func(p *view.Plan) { p.Waves = []view.Wave{{Percent: 101}, {}} },
	} {
		p := plan()
		spoil(&p)
		if rollout.Check(p) == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if err := rollout.Check(plan(view.Wave{Count: 3}, view.Wave{Selector: "tag:lab"}, view.Wave{Percent: 10})); err != nil {
		t.Error(err)
	}
}
