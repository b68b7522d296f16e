package rollout

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"slipstream/adminpanel/canary"
	"slipstream/adminpanel/view"
)

// Limits of a plan.
const (
	MaxDevices             = 1_000_000
	defaultStaging         = 50
	defaultStagingDeadline = 6 * time.Hour
)

// Check refuses a plan that makes no sense, in a sentence for its author.
func Check(p view.Plan) error {
	switch {
	case p.Release == "":
		return errors.New("a plan needs a release")
	case len(p.Waves) == 0:
		return errors.New("a plan needs a wave at least")
	case p.MaxUnavailable < 1:
		return errors.New("maxUnavailable must be 1 at least, or nothing would ever be activated")
	case p.SuccessPercent < 0 || p.SuccessPercent > 100 || p.FailPercent < 0 || p.FailPercent > 100:
		return errors.New("percentages go from 0 to 100")
	case p.TrialDeadlineMS < 1000:
		return errors.New("trialDeadlineMs must be a second at least")
	case p.Retries < 0 || p.RetryAfterMS < 0 || p.FailCount < 0 || p.MaxPerSite < 0 || p.MaxStaging < 0 || p.OfflineDeadlineMS < 0 || p.StagingDeadlineMS < 0:
		return errors.New("counts and times cannot be negative")
	case !slices.Contains([]string{"pause", "halt", "revert"}, p.OnFailure):
		return fmt.Errorf("onFailure is pause, halt or revert, not %q", p.OnFailure)
	case !slices.Contains([]string{"waves", "together"}, p.Activation):
		return fmt.Errorf("activation is waves or together, not %q", p.Activation)
	}
	for _, w := range p.Windows {
		if _, err := parseWindow(w); err != nil {
			return err
		}
	}
	return checkWaves(p.Waves)
}

func checkWaves(waves []view.Wave) error {
	for i, w := range waves {
		last := i == len(waves)-1
		switch {
		case w.Count < 0 || w.Percent < 0 || w.Percent > 100 || w.SoakMS < 0:
			return fmt.Errorf("wave %d: counts, percentages and soaks cannot be negative or above 100 %%", i+1)
		case w.Count > 0 && w.Percent > 0:
			return fmt.Errorf("wave %d has a count and a percentage; it can have one", i+1)
		case w.Count == 0 && w.Percent == 0 && w.Selector == "" && !last:
			return fmt.Errorf("wave %d takes all the rest, so it must be the last", i+1)
		case last && (w.Count > 0 || w.Percent > 0 || w.Selector != ""):
			return errors.New("the last wave takes the rest: it has no count, percentage or selector")
		}
	}
	return nil
}

// Divide puts devices into the plan's waves: the result is the wave of each, from 0. Who
// comes first is decided by a hash of the id, so that the same canaries are taken each
// time and no site goes first because of its name. Meets judges waves' own selectors.
func Divide(waves []view.Wave, ids []string, meets func(selector, id string) bool) map[string]int {
	order := canary.Sort(ids)
	of := make(map[string]int, len(ids))
	for i, w := range waves {
		room := len(order)
		switch {
		case w.Count > 0:
			room = w.Count
		case w.Percent > 0:
			room = int(w.Percent*float64(len(ids))/100 + 0.999999)
		}
		rest := order[:0:0]
		for _, id := range order {
			if room > 0 && (w.Selector == "" || meets(w.Selector, id)) {
				of[id] = i
				room--
				continue
			}
			rest = append(rest, id)
		}
		order = rest
	}
	return of
}

func span(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
