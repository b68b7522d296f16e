package agent_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"slipstream/agent"
)

// The agent's machine, a forwarder that keeps its contract, apps, the boot loader, the start
// program and the disk are walked through together, breadth first, state by state: nothing
// is drawn by lot. Two states that go on in the same way are one. What the walks say is
// bounded by the number of faults in one life and by the number of steps of one story.
var (
	exploreFaults = flag.Int("explore.faults", 1, "how many faults a walk through all states of a device has")
	exploreDepth  = flag.Int("explore.depth", 200, "how many steps its stories have")
	exploreStates = flag.Int("explore.states", 8_000, "from how many states of a story it goes on; 0: from all")
	exploreOnly   = flag.String("explore.only", "", "the one story to walk through")
)

// exploreStories are what is asked of the device at its beginning.
var exploreStories = []exploreStory{
	{"live", func() *box { return newBox().offer("app", "app") }},
	{"live without a greenlight", func() *box { return newBox().offer("app", "app").silent() }},
	{"live that makes room", func() *box { return newBox().offer("app", "app").overlapping("none") }},
	{"live that freezes", func() *box { return newBox().offer("app", "auto").overlapping("frozen") }},
	{"system", func() *box { return newBox().offer("system", "operator") }},
	{"runtime", func() *box { return newBox().offer("runtime", "auto") }},
	{"system and app", func() *box { return newBox().offer("system+app", "app") }},
	{"runtime and app", func() *box { return newBox().offer("runtime+app", "app") }},
	{"runtime, system and app", func() *box { return newBox().offer("runtime+system+app", "app") }},
	{"return", func() *box { return newBox().updated("app").returns() }},
	{"return to a system", func() *box { return newBox().updated("system").returns() }},
	{"a version that keeps ending", func() *box { return newBox().updated("app").crashing(6) }},
	{"a system whose app keeps ending", func() *box { return newBox().updated("system").crashing(11) }},
	{"a system and its app that keep ending", func() *box { return newBox().updated("system+app").crashing(11) }},
}

// longStories are walked through where all states are asked for.
var longStories = []exploreStory{
	{"runtime and app that makes room", func() *box { return newBox().offer("runtime+app", "app").overlapping("none") }},
	{"runtime and system", func() *box { return newBox().offer("runtime+system", "auto") }},
}

// exploreStory is what is asked of a device.
type exploreStory struct {
	name  string
	begin func() *box
}

// TestEveryStateKeepsThePromises asserts in every state that the device could start a
// permanent version, that nothing becomes permanent without a marker of its own trial and,
// with an app, without a hold, that what was reverted is not tried again, that news of an
// older trial change nothing, and, whenever nothing is under way, that record, agent,
// forwarder and history agree. From every state silence must lead to rest, with the
// permanent version in front of viewers.
func TestEveryStateKeepsThePromises(t *testing.T) {
	stories := exploreStories
	if *exploreStates == 0 || *exploreOnly != "" {
		stories = slices.Concat(stories, longStories)
	}
	for _, story := range stories {
		if *exploreOnly != "" && *exploreOnly != story.name {
			continue
		}
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			explore(t, story.begin())
		})
	}
}

func explore(t *testing.T, first *box) {
	first.faults = *exploreFaults
	e := &explorer{t: t, first: first, seen: map[boxKey]bool{}, calm: map[boxKey]bool{}}
	e.add(first.clone(), -1, "", 0)
	cut, reached := 0, 0
	for next := 0; next < len(e.states); next++ {
		b, depth := e.states[next], e.depth[next]
		e.states[next] = nil // what came of it is enough
		if depth >= *exploreDepth || *exploreStates > 0 && next >= *exploreStates {
			cut++
			continue
		}
		reached = depth
		for _, m := range b.moves() {
			after := b.clone()
			if bad := after.try(m.do); bad != "" {
				t.Fatalf("%s\n%s", bad, e.story(next, m.name))
			}
			e.add(after, next, m.name, depth+1)
		}
	}
	t.Logf("%d states within %d faults, all of them that are reached by %d steps, and none beyond %d; %d are not gone on from; "+
		"%d states on the way to rest; %d rests with the new version, %d with the old one",
		len(e.states), *exploreFaults, reached, *exploreDepth, cut, len(e.calm), e.commits, e.reverts)
	if e.commits == 0 && !first.never || e.reverts == 0 && (cut == 0 || first.deaths == 0) {
		t.Error("no way led to a commit, or none to a revert")
	}
	if e.commits > 0 && first.never {
		t.Error("a version without a greenlight became permanent")
	}
}

// explorer is the search: the states that are still to be gone on from, and how each was
// come to.
type explorer struct {
	t                *testing.T
	first            *box
	states           []*box
	from, depth      []int
	by               []string
	seen, calm       map[boxKey]bool
	commits, reverts int
}

func (e *explorer) add(b *box, from int, by string, depth int) {
	k := b.key()
	if e.seen[k] {
		return
	}
	e.seen[k] = true
	e.states, e.from, e.by, e.depth = append(e.states, b), append(e.from, from), append(e.by, by), append(e.depth, depth)
	bad := b.broken()
	if bad == "" {
		bad = b.unmoved()
	}
	if bad == "" {
		bad = e.rest(b)
	}
	if bad != "" {
		e.t.Fatalf("%s\n%s", bad, e.story(len(e.states)-1, "and then silence"))
	}
}

// maxSilence is more steps than silence takes to come to rest.
const maxSilence = 600

// rest lets everything go its way, without faults and markers: a trial must come to its end.
func (e *explorer) rest(b *box) (bad string) {
	b = b.clone()
	b.faults, b.mute = 0, true
	var steps []string
	for range maxSilence {
		k := b.key()
		if e.calm[k] {
			return "" // from here on it was seen before
		}
		e.calm[k] = true
		m, ok := b.calmMove()
		if !ok {
			if bad = b.atRest(); bad != "" {
				return fmt.Sprintf("%s: %s, after %v", bad, b, steps)
			}
			if b.changed() {
				e.commits++
			} else {
				e.reverts++
			}
			return ""
		}
		steps = append(steps, m.name)
		if bad = b.try(m.do); bad == "" {
			bad = b.broken()
		}
		if bad != "" {
			return fmt.Sprintf("%s, after %v", bad, steps)
		}
	}
	return fmt.Sprintf("no rest: %s, after %v", b, steps[len(steps)-40:])
}

// story tells how a state was come to.
func (e *explorer) story(n int, then string) string {
	var names []string
	for ; e.from[n] >= 0; n = e.from[n] {
		names = append(names, e.by[n])
	}
	slices.Reverse(names)
	b := e.first.clone()
	lines := []string{"begin: " + b.String()}
	for _, name := range names {
		all := b.moves()
		all[slices.IndexFunc(all, func(m boxMove) bool { return m.name == name })].do(b)
		lines = append(lines, name+": "+b.String())
	}
	return strings.Join(append(lines, then), "\n")
}

// promise is what try recovers: one that was broken.
type promise string

func (b *box) fail(format string, args ...any) { panic(promise(fmt.Sprintf(format, args...))) }

func (b *box) try(do func(*box)) (bad string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case promise:
			bad = string(r) + ": " + b.String()
		default:
			panic(r)
		}
	}()
	do(b)
	return ""
}

func (b *box) String() string {
	return fmt.Sprintf("up=%v %s; record %s system %s programs %s; forwarder up=%v permanent=%s trial=%s switched=%v; alive %v; to it %d, from it %d, local %v, todo %d",
		b.up, describeState(b.agent), b.record().Version, b.systems.named, b.programs.permanent.Version,
		b.fwd.up, b.fwd.permanent, b.fwd.trial, b.fwd.switched, b.alive, len(b.toFwd), len(b.toAgent), len(b.local), len(b.todo))
}

// stale is news of what is long over.
var stale = []any{
	agent.MarkerSeen{Trial: "t0"}, agent.Held{Trial: "t0"}, agent.HoldWaits{Trial: "t0"}, agent.Settled{Trial: "t0"},
	agent.RecordWritten{Trial: "t0"}, agent.RecordFailed{Trial: "t0"}, agent.AppExited{Source: "b-0"}, agent.AppReady{Source: "b-0"},
	agent.StageDone{}, agent.BootTried{Trial: "t0"}, agent.RuntimeTried{Trial: "t0"}, agent.ForwarderReturned{Trial: "t0"},
	agent.SlotChecked{Trial: "t0"}, agent.ChecksSeen{Trial: "t0"},
}
