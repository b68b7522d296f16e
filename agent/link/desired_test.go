package link_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/agent/link"
	"slipstream/agent/wire"
)

const wanted = "d1"

// updating is a device that stages and tries what it is asked to.
type updating struct {
	*device
	stageFails chan control.Result // taken by the next stages
}

func (u *updating) change(state string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status.Seq++
	u.status.Slots = []control.Slot{{Name: "b", State: state, Digest: wanted}}
	close(u.changed)
	u.changed = make(chan struct{})
}

func (u *updating) Stage(ctx context.Context, r control.StageRequest) control.Result {
	result := u.call(ctx, "stage "+r.URL[strings.LastIndex(r.URL, "/")+1:]+" "+string(join(r.Order)))
	select {
	case failed := <-u.stageFails:
		return failed
	default:
	}
	if result.Exit == control.ExitDone {
		u.change(control.StateStaged)
	}
	return result
}

func join(files [][]byte) (all []byte) {
	for _, f := range files {
		all = append(all, f...)
	}
	return all
}

func (u *updating) Activate(ctx context.Context, r control.ActivateRequest) control.Result {
	result := u.call(ctx, "activate "+r.Digest)
	if result.Exit == control.ExitDone {
		u.change(control.StateTrial)
	}
	return result
}

func update(t *testing.T) (*updating, <-chan panelEnd) {
	s, links := panel(t)
	u := &updating{device: newDevice(), stageFails: make(chan control.Result, 4)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	id := enrolled(t, s)
	go func() {
		defer close(ended)
		link.Run(ctx, id, u, u, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return u, links
}

func desire(t *testing.T, end panelEnd, epoch uint64, change func(*wire.Desired)) {
	t.Helper()
	d := wire.Desired{Epoch: epoch, Live: wire.Target{Digest: wanted, URL: "/v1/releases/r" + string(rune('0'+epoch))}}
	if change != nil {
		change(&d)
	}
	if err := end.down.Write(wire.Down{Desired: &d}); err != nil {
		t.Fatal(err)
	}
}

func at(epoch uint64, state string) func(wire.Up) bool {
	return func(up wire.Up) bool { return up.Report != nil && up.Report.Epoch == epoch && up.Report.State == state }
}

func (u *updating) did(t *testing.T, want ...string) {
	t.Helper()
	if got := strings.Join(u.askedOf(), ", "); got != strings.Join(want, ", ") {
		t.Errorf("the agent was asked %q, want %q", got, want)
	}
}

func TestWhatIsDesiredIsStagedAndThenActivatedOnce(t *testing.T) {
	u, links := update(t)
	end := accept(t, links)
	desire(t, end, 7, func(d *wire.Desired) { d.Order = [][]byte{[]byte("signed")} })
	next(t, end, at(7, wire.ReportStaged))
	for id := range uint64(2) {
		if answer := ask(t, end, wire.Ask{ID: id + 1, Activate: &wire.Activate{Epoch: 7}}); !strings.Contains(string(answer.Result), "did activate") {
			t.Errorf("answered %s", answer.Result)
		}
	}
	desire(t, end, 7, func(d *wire.Desired) { d.Activate = true })
	if answer := ask(t, end, wire.Ask{ID: 9, Activate: &wire.Activate{Epoch: 6}}); !strings.Contains(string(answer.Result), wire.CodeOldEpoch) {
		t.Errorf("of another epoch: %s", answer.Result)
	}
	u.change(control.StatePermanent)
	next(t, end, at(7, wire.ReportPermanent))
	u.did(t, "stage r7 signed", "activate "+wanted)
}

// Statuses have pauses between them, and reports none: who hears that it is staged asks for a
// trial of what the newest status shows.
func TestWhatIsStagedIsShownBeforeItIsReported(t *testing.T) {
	u, links := update(t)
	end := accept(t, links)
	var shown string
	for epoch := range uint64(5) {
		u.change(control.StateReverted) // and the pause begins
		desire(t, end, epoch+1, func(d *wire.Desired) { d.Force = true })
		next(t, end, func(up wire.Up) bool {
			if up.Status != nil {
				shown = string(up.Status)
			}
			return at(epoch+1, wire.ReportStaged)(up)
		})
		if !strings.Contains(shown, `"state":"staged"`) {
			t.Errorf("epoch %d is staged, and the status before was %s", epoch+1, shown)
		}
	}
}

func TestAnOlderEpochIsIgnored(t *testing.T) {
	u, links := update(t)
	end := accept(t, links)
	desire(t, end, 7, nil)
	next(t, end, at(7, wire.ReportStaged))
	desire(t, end, 6, func(d *wire.Desired) { d.Live.Digest, d.Activate = "d0", true })
	for id := range uint64(3) { // time for it to be done, were it taken
		if answer := ask(t, end, wire.Ask{ID: id + 1, Activate: &wire.Activate{Epoch: 6}}); !strings.Contains(string(answer.Result), wire.CodeOldEpoch) {
			t.Errorf("the older epoch is in force: %s", answer.Result)
		}
	}
	u.did(t, "stage r7 ")
	desire(t, end, 7, func(d *wire.Desired) { d.Activate = true })
	next(t, end, at(7, wire.ReportTrial))
	u.did(t, "stage r7 ", "activate "+wanted)
}

func TestAnActivationHasItsMoment(t *testing.T) {
	u, links := update(t)
	end := accept(t, links)
	const ahead = 300 * time.Millisecond
	began := time.Now()
	desire(t, end, 1, func(d *wire.Desired) { d.Activate, d.ActivateInMS = true, ahead.Milliseconds() })
	next(t, end, at(1, wire.ReportTrial))
	if took := time.Since(began); took < ahead {
		t.Errorf("it was activated after %v", took)
	}
	u.did(t, "stage r1 ", "activate "+wanted)
}

// What fails for want of a line is tried again when the panel says it again, as it
// does on the next link; what is refused is not.
func TestAnEpochGoesOnAfterALink(t *testing.T) {
	u, links := update(t)
	u.stageFails <- control.Result{Exit: control.ExitError, Message: "no line"}
	first := accept(t, links)
	desire(t, first, 3, nil)
	next(t, first, at(3, wire.ReportFailed))
	close(first.done)
	second := accept(t, links)
	next(t, second, at(3, wire.ReportFailed))
	desire(t, second, 3, nil)
	next(t, second, at(3, wire.ReportStaged))
	u.stageFails <- control.Result{Exit: control.ExitRefused, Code: "other-product", Message: "no"}
	desire(t, second, 4, func(d *wire.Desired) { d.Live.Digest = "d4" })
	up := next(t, second, at(4, wire.ReportRefused))
	if up.Report.Code != "other-product" || up.Report.Message != "no" {
		t.Errorf("the report was %+v", up.Report)
	}
	desire(t, second, 4, func(d *wire.Desired) { d.Live.Digest = "d4" })
	ask(t, second, wire.Ask{ID: 1, History: &wire.History{Max: 1}})
	u.did(t, "stage r3 ", "stage r3 ", "stage r4 ")
}

// Another update under way is waited for.
func TestABusyDeviceTriesAgainWhenItIsFree(t *testing.T) {
	u, links := update(t)
	u.stageFails <- control.Result{Exit: control.ExitRefused, Code: control.CodeBusy}
	end := accept(t, links)
	desire(t, end, 1, nil)
	next(t, end, at(1, wire.ReportFailed))
	u.set("trial")
	u.set("idle")
	next(t, end, at(1, wire.ReportStaged))
	u.did(t, "stage r1 ", "stage r1 ")
}

// A version that the device has reverted before, or refuses for what it is, is told of and
// not tried again and again, however often it is desired.
func TestWhatIsRefusedIsNotAskedForAgain(t *testing.T) {
	u, links := update(t)
	end := accept(t, links)
	var once []string
	for epoch := uint64(1); epoch < 9; epoch++ {
		u.stageFails <- control.Result{Exit: control.ExitRefused, Code: "reverted"}
		desire(t, end, epoch, nil)
		next(t, end, at(epoch, wire.ReportRefused))
		u.set("trial")
		u.set("idle")
		desire(t, end, epoch, nil)
		ask(t, end, wire.Ask{ID: epoch, History: &wire.History{}}) // that it has heard by now
		once = append(once, fmt.Sprintf("stage r%d ", epoch))
	}
	u.did(t, once...)
}

// What is desired no more is neither staged nor activated.
func TestNothingCanBeDesired(t *testing.T) {
	u, links := update(t)
	end := accept(t, links)
	desire(t, end, 1, nil)
	next(t, end, at(1, wire.ReportStaged))
	desire(t, end, 2, func(d *wire.Desired) { d.Live, d.Activate = wire.Target{}, true })
	next(t, end, at(2, wire.ReportNothing))
	if answer := ask(t, end, wire.Ask{ID: 1, Activate: &wire.Activate{Epoch: 2}}); !strings.Contains(string(answer.Result), wire.CodeOldEpoch) {
		t.Errorf("answered %s", answer.Result)
	}
	u.did(t, "stage r1 ")
}

// A newer epoch ends the stage of the one before.
func TestANewerEpochEndsAStage(t *testing.T) {
	u, links := update(t)
	u.hold["stage"] = make(chan struct{})
	end := accept(t, links)
	desire(t, end, 1, nil)
	next(t, end, at(1, wire.ReportStaging))
	desire(t, end, 2, nil)
	next(t, end, at(2, wire.ReportStaging))
	close(u.hold["stage"])
	next(t, end, at(2, wire.ReportStaged))
	u.did(t, "stage r1 ", "stage r2 ")
}

// A device that was started anew knows nothing of an epoch: what it shows is enough.
func TestWhatIsThereAlreadyIsNotDoneAgain(t *testing.T) {
	for state, want := range map[string]string{
		control.StatePermanent: wire.ReportPermanent, control.StateTrial: wire.ReportTrial, control.StateReverted: wire.ReportReverted,
	} {
		u, links := update(t)
		u.change(state)
		end := accept(t, links)
		desire(t, end, 5, func(d *wire.Desired) { d.Activate = true })
		next(t, end, at(5, want))
		u.did(t)
	}
}
