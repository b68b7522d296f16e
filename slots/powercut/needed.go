package powercut

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Needed says of each place that flushes, by the way through our functions to it,
// whether something went wrong when the disk did not hear it once.
type Needed map[string]bool

// Unheard tries the log once for each flush of ours in it, as if the disk had not
// heard that one, and notes whether the checks have seen it. A flush that is asked
// for twice in a row is one. The log itself must have been found good. Places that
// are known to be needed are not tried again, but with the flag Full.
func (e *Explorer) Unheard(log Log, needed Needed) (tally Tally, err error) {
	for from, to := log.Begin(), 0; from < len(log.Ops); from = to {
		to = log.flush(from)
		callers := log.callers(from, to)
		known := !slices.ContainsFunc(callers, func(caller string) bool { return !needed[caller] })
		if known && (len(callers) == 0 || !*Full) {
			continue
		}
		one, err := e.Run(log.without(from, to).upTo(e.Within, from), from)
		tally.add(one)
		bad, seen := errors.AsType[*BadState](err)
		if err != nil && !seen {
			return tally, err
		}
		for _, caller := range callers {
			needed[caller] = needed[caller] || bad != nil
		}
	}
	return tally, nil
}

// flush is where an operation ends, and all that flush the same right after it.
func (l Log) flush(from int) (to int) {
	to = from + 1
	for l.Ops[from].IsSync() && to < len(l.Ops) && l.Ops[to].IsSync() && l.Ops[to].Ino == l.Ops[from].Ino {
		to++
	}
	return to
}

// callers lists who asks for a flush.
func (l Log) callers(from, to int) (all []string) {
	for _, o := range l.Ops[from:to] {
		if o.IsSync() && o.Caller != "" {
			all = append(all, o.Caller)
		}
	}
	return all
}

// Check returns an error if a flush was not needed and no reason is given for it. A
// reason's key is a part of the way to it, with no lines.
func (n Needed) Check(reasons map[string]string) error {
	var errs []error
	for _, caller := range sorted(n) {
		short := bare.ReplaceAllString(caller, "")
		given := slices.ContainsFunc(sorted(reasons), func(part string) bool { return strings.Contains(short, part) })
		if !n[caller] && !given {
			errs = append(errs, fmt.Errorf("nothing goes wrong without the flush of %s", caller))
		}
	}
	if len(n) == 0 {
		errs = append(errs, errors.New("no flush was seen"))
	}
	return errors.Join(errs...)
}

// bare leaves of a caller what its functions are called.
var bare = regexp.MustCompile(` \([^)]*:\d+\)`)
