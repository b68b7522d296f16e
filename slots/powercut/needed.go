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
// heard that one, and notes whether the checks have seen it. The log itself must
// have been found good. Places that are known to be needed are not tried again,
// but with the flag Full.
func (e *Explorer) Unheard(log Log, needed Needed) (tally Tally, err error) {
	for i, o := range log.Ops {
		if !o.IsSync() || o.Caller == "" || needed[o.Caller] && !*Full {
			continue
		}
		one, err := e.Run(log.Without(i), i)
		tally.add(one)
		var bad *BadState
		if err != nil && !errors.As(err, &bad) {
			return tally, err
		}
		needed[o.Caller] = needed[o.Caller] || bad != nil
	}
	return tally, nil
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
