package drive

import (
	"strings"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// Word is the newest that is known of a device.
type Word struct {
	Device string
	Online bool
	Status *control.Status // nil: none yet. Not to be changed
	At     time.Time       // when the status came, by the panel's clock
	Report *wire.Report
}

// answer is what a device said to being asked to confirm or revert.
type answer struct {
	epoch   int64
	exit    int
	message string
}

// refused tells whether the device will not do it, however often it is asked.
func (a *answer) refused(epoch int64) bool {
	return a != nil && a.epoch == epoch && (a.exit == control.ExitNothing || a.exit == control.ExitRefused)
}

// causeNoWayBack is of a device that could not revert.
const causeNoWayBack = "no way back"

// Bounds of what a device says.
const (
	maxCause  = 80
	maxDetail = 400
)

// Translate says what a device is in relation to what was asked of it; false if nothing
// follows. With again it may be another one then, without a word of the device's.
//
// What a status shows of the version itself counts whenever it was said: it is so. That a
// version failed or was reverted counts only of this ask, which the epoch of a report and the
// device's history tell.
func Translate(a Ask, w Word, now time.Time) (seen rollout.Seen, again time.Time, ok bool) {
	seen, again = translate(a, w, nil, now)
	return seen, again, seen.What != ""
}

func translate(a Ask, w Word, said *answer, now time.Time) (rollout.Seen, time.Time) {
	seen := rollout.Seen{At: now, Device: a.Device, Epoch: a.Epoch, Release: a.Release}
	var again time.Time
	if a.Live.Digest == "" {
		return seen, again
	}
	var is standing
	if w.Status != nil {
		is = shownBy(a, w.Status)
		seen.GapMS = gapOf(a, w.Status.Last)
	}
	if told := toldBy(a, w.Report); !is.ended() && told.rank() > is.rank() {
		is = told
	}
	seen.What, seen.Cause, seen.Detail = is.what, is.cause, is.detail
	if seen.What == rollout.SeenTrial && w.Status != nil && w.Status.Trial != nil {
		var ready bool
		if ready, again = readyAt(w.Status.Trial, w.At, now); ready {
			seen.What = rollout.SeenReady
		}
	}
	// The device's words are journaled, and causes are shown side by side.
	seen.Cause, seen.Detail = cut(seen.Cause, maxCause), cut(seen.Detail, maxDetail)
	if a.Want == rollout.WantRevert && said.refused(a.Epoch) && seen.What != rollout.SeenReverted {
		seen.What, seen.Cause, seen.Detail = rollout.SeenFailed, causeNoWayBack, cut(said.message, maxDetail)
	}
	return seen, again
}

func cut(text string, most int) string {
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "")
}

// standing is where a version is.
type standing struct{ what, cause, detail string }

func (s standing) ended() bool { return s.what == rollout.SeenDone || s.what == rollout.SeenReverted }

// rank orders by how far a try has come: of two words the older one is behind.
func (s standing) rank() int {
	switch s.what {
	case rollout.SeenStaging:
		return 1
	case rollout.SeenStaged:
		return 2
	case rollout.SeenFailed:
		return 3
	case rollout.SeenTrial:
		return 4
	case rollout.SeenDone, rollout.SeenReverted:
		return 5
	}
	return 0
}

// shownBy is what the status shows of the version that was asked for.
func shownBy(a Ask, s *control.Status) standing {
	state := stateOf(s, a.Live.Digest)
	mine := s.Last != nil && s.Last.Digest == a.Live.Digest && markOf(s.Last) != a.Before
	switch {
	case state == control.StatePermanent:
		return standing{what: rollout.SeenDone}
	case state == control.StateTrial:
		return standing{what: rollout.SeenTrial}
	case mine && s.Last.Outcome == control.OutcomeReverted:
		return standing{rollout.SeenReverted, s.Last.Reason, s.Last.Detail}
	case state == control.StateReverted && !a.Force:
		return standing{rollout.SeenReverted, "reverted before", "the device has tried this version before and gone back"}
	case mine && s.Last.Outcome == control.OutcomePermanent:
		return standing{what: rollout.SeenDone} // and something newer has taken its slot
	case state == control.StateStaged:
		return standing{what: rollout.SeenStaged}
	case state == control.StateStaging:
		return standing{what: rollout.SeenStaging}
	}
	return standing{}
}

// stateOf is the state of the slot, of whatever class, that holds a package.
func stateOf(s *control.Status, digest string) string {
	for _, slot := range s.Slots {
		if slot.Digest == digest && slot.State != control.StateEmpty {
			if slot.State == control.StateTrial && s.Trial != nil && s.Trial.Rehearsal {
				return ""
			}
			return slot.State
		}
	}
	for _, systems := range [][]control.System{s.Systems, s.Runtimes} {
		for _, system := range systems {
			if system.Stored != nil && system.Stored.Digest == digest && system.State != "" {
				return system.State
			}
		}
	}
	return ""
}

// toldBy is what the report says, if it is of this ask.
func toldBy(a Ask, r *wire.Report) standing {
	if r == nil || r.Epoch != uint64(a.Epoch) { //nolint:gosec // epochs count up from 0
		return standing{}
	}
	switch r.State {
	case wire.ReportStaging:
		return standing{what: rollout.SeenStaging}
	case wire.ReportStaged:
		return standing{what: rollout.SeenStaged}
	case wire.ReportTrial:
		return standing{what: rollout.SeenTrial}
	case wire.ReportPermanent:
		return standing{what: rollout.SeenDone}
	case wire.ReportReverted:
		return standing{rollout.SeenReverted, orElse(r.Code, "reverted before"), r.Message}
	case wire.ReportFailed:
		if r.Code == control.CodeBusy {
			return standing{what: rollout.SeenStaging} // it goes on when it is free
		}
		return standing{rollout.SeenFailed, orElse(r.Code, "failed"), r.Message}
	case wire.ReportRefused:
		return standing{rollout.SeenFailed, orElse(r.Code, "refused"), r.Message}
	}
	return standing{}
}

func orElse(text, or string) string {
	if text == "" {
		return or
	}
	return text
}

// readyAt tells whether nothing but a person's mark is missing, and if time alone will
// bring that, when.
func readyAt(t *control.Trial, came, now time.Time) (ready bool, again time.Time) {
	if t.Greenlight != "operator" || t.Latched || t.Rehearsal || t.TookOver.IsZero() {
		return false, time.Time{}
	}
	for _, v := range t.Verdicts {
		if v.Required && !(v.Judged && v.Holds) {
			return false, time.Time{}
		}
	}
	over := came.Add(time.Duration(t.SoakMS) * time.Millisecond)
	if now.Before(over) {
		return false, over
	}
	return true, time.Time{}
}

// gapOf is the longest gap that viewers saw at a try's switch and revert.
func gapOf(a Ask, r *control.Record) float64 {
	if r == nil || r.Proof == nil || r.Digest != a.Live.Digest || markOf(r) == a.Before {
		return 0
	}
	gap := 0.0
	for _, streams := range [][]control.StreamProof{r.Proof.Switch, r.Proof.Revert} {
		for _, s := range streams {
			gap = max(gap, s.GapMS)
		}
	}
	return gap
}
