package simulate

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Fate is what becomes of a device's updates.
type Fate string

// Fates.
const (
	Good    Fate = ""
	Fails   Fate = "fail"    // the trial reverts by itself
	Hangs   Fate = "hang"    // the trial never ends
	Silent  Fate = "silent"  // it is linked, and says nothing of what it was asked to try
	Late    Fate = "late"    // it reverts some time after it said that all was well
	Offline Fate = "offline" // it loses its power during the trial, and comes back reverted
	Refuses Fate = "refuse"  // it does not take the package
)

// Shares of a fleet, each from 0 to 1. A device has one fate; its clock and how fast it
// is are another matter.
type Shares struct {
	Fates    map[Fate]float64
	OldClock float64 // their clocks are years behind
	Slow     float64 // all takes them ten times as long
}

// Check says what is wrong with shares.
func (s Shares) Check() error {
	sum := 0.0
	for fate, share := range s.Fates {
		if !slices.Contains(fates, fate) {
			return fmt.Errorf("there is no fate %q", fate)
		}
		if !isShare(share) {
			return fmt.Errorf("the share of %q is %v; it must be from 0 to 100 %%", fate, 100*share)
		}
		sum += share
	}
	if sum > 1 {
		return fmt.Errorf("the shares of all fates make %v %%; 100 %% is all there is", 100*sum)
	}
	if !isShare(s.OldClock) || !isShare(s.Slow) {
		return fmt.Errorf("a share must be from 0 to 100 %%")
	}
	return nil
}

func isShare(s float64) bool { return s >= 0 && s <= 1 }

// fates in the order in which shares are cut.
var fates = []Fate{Fails, Hangs, Silent, Late, Offline, Refuses}

// ParseShare reads a percentage, "1%" or "0.5 %".
func ParseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !percent || !isShare(v/100) {
		return 0, fmt.Errorf("%q is no share of the devices, such as 1%%", text)
	}
	return v / 100, nil
}

// traits are what a device is like.
type traits struct {
	fate     Fate
	oldClock bool
	slow     bool
}

// draw gives each of n devices its traits: exactly as many have one as its share says,
// rounded, and the seed says which.
func (s Shares) draw(n int, seed uint64) []traits {
	all := make([]traits, n)
	order := func(of string) []int { return rand.New(rand.NewPCG(seed, hash(of))).Perm(n) }
	most := func(share float64) int { return int(math.Round(share * float64(n))) }
	left := order("fates")
	for _, fate := range fates {
		for _, i := range left[:min(most(s.Fates[fate]), len(left))] {
			all[i].fate = fate
		}
		left = left[min(most(s.Fates[fate]), len(left)):]
	}
	for _, i := range order("clocks")[:most(s.OldClock)] {
		all[i].oldClock = true
	}
	for _, i := range order("speeds")[:most(s.Slow)] {
		all[i].slow = true
	}
	return all
}

func hash(text string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	return h.Sum64()
}

// String names a fate for people.
func (f Fate) String() string { return cmp.Or(string(f), "good") }
