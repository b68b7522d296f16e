package scenarios

import (
	"context"
	"fmt"
	"strings"
	"time"

	"slipstream/testrig/camera"
	"slipstream/testrig/device"
	"slipstream/testrig/machine"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// bring puts into a camera's package what it brings for other slots: a system, programs of
// Slipstream's own, or both. One trial is of all of them.
func (w *world) bring(ctx context.Context, r *device.Release, values map[string]string) error {
	if fault, brings := values["system"]; brings {
		image, err := w.factory.SystemImage(ctx, machine.System{Version: r.Version + ".0", Fault: orGood(fault)})
		if err != nil {
			return err
		}
		r.With = append(r.With, pack.Source{Class: verify.ClassSystem, Kind: verify.KindDisk, Path: image})
		if values["deadline"] == "" {
			r.App.DeadlineMS = machine.SystemTerms.DeadlineMS // it has a reboot
		}
	}
	if fault, brings := values["programs"]; brings {
		dir, err := w.factory.ProgramsDir(ctx, machine.Programs{Version: r.Version + ".0", Fault: orGood(fault)})
		if err != nil {
			return err
		}
		r.With = append(r.With, pack.Source{Class: verify.ClassRuntime, Kind: verify.KindTree, Path: dir})
	}
	return nil
}

// orGood is a fault, or none where the word is that all is well.
func orGood(word string) string {
	if word == "good" {
		return machine.FaultNone
	}
	return word
}

// programsTerms are the trial of programs: all of them have to come up, one after another.
var programsTerms = verify.TrialTerms{Greenlight: verify.GreenlightAuto, DeadlineMS: 5 * 60_000, SoakMS: 2000}

func (w *world) makePrograms(ctx context.Context, args []string) (string, error) {
	words, values, err := named(args, 1, "fault", "deadline")
	if err != nil {
		return "", err
	}
	terms := programsTerms
	if text := values["deadline"]; text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return "", fmt.Errorf("deadline: %w: %w", err, errUsage)
		}
		terms.DeadlineMS = d.Milliseconds()
	}
	w.counter++
	p := machine.Programs{Version: words[0] + ".0", Fault: values["fault"]}
	return "", w.keep(words[0])(w.factory.Programs(ctx, p, terms, w.counter))
}

// counted says of viewers that each version which they saw went on from the count of the one
// before: it was given what that had handed over, or was it itself, and had lost nothing.
func (w *world) counted(_ context.Context, args []string) (string, error) {
	seats, err := w.seats(args)
	if err != nil {
		return "", err
	}
	var said strings.Builder
	for _, s := range seats {
		chain, err := countChain(s.Stamps())
		fmt.Fprintf(&said, "%s: %s\n", s.name, chain)
		if err != nil {
			return said.String(), fmt.Errorf("viewer %s: %w", s.name, err)
		}
	}
	return said.String(), nil
}

// shown is what one version showed without another between.
type shown struct {
	version     string
	given       camera.State
	first, last camera.Stamp
}

// behind is how far a count is behind the scene's; the same for as long as each is counted.
func behind(counter, count uint64) int64 { return int64(counter - count) }

func countChain(stamps []camera.Stamp) (said string, err error) {
	var runs []shown
	for _, s := range stamps {
		if s.Count == 0 {
			continue // not whole, or not of the first stream
		}
		if n := len(runs); n == 0 || runs[n-1].version != s.Version || runs[n-1].given != s.Given {
			runs = append(runs, shown{s.Version, s.Given, s, s})
		}
		runs[len(runs)-1].last = s
	}
	known := map[int64]bool{} // by how far the counts that were handed over can be behind
	for i, r := range runs {
		said += fmt.Sprintf("%s began with %d and went from %d to %d; ", r.version, r.given.Count, r.first.Count, r.last.Count)
		if behind(r.first.Counter, r.first.Count) != behind(r.last.Counter, r.last.Count) {
			return said, fmt.Errorf("version %s showed pictures that it did not count", r.version)
		}
		again := known[behind(r.first.Counter, r.first.Count)]
		if i > 0 && !again && (r.given.Count == 0 || !known[behind(r.given.Counter, r.given.Count)]) {
			return said, fmt.Errorf("version %s began with a count of %d, which no version before it has handed over", r.version, r.given.Count)
		}
		known[behind(r.first.Counter, r.first.Count)] = true
	}
	if len(runs) < 2 {
		return said, fmt.Errorf("it has seen the counts of %d versions, which is no hand-over", len(runs))
	}
	return said, nil
}
