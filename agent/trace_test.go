package agent_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/stream/orders"
	"slipstream/verify"
)

var rewrite = flag.Bool("rewrite", false, "write what the traces give into testdata")

// TestTrace plays each story in testdata: commands, "----", then every effect
// and the state that they led to. Review reads the difference.
func TestTrace(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := play(want)
			if err != nil {
				t.Fatal(err)
			}
			if *rewrite {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s (-want +got; -rewrite takes it over):\n%s", file, diff)
			}
		})
	}
}

// play runs a trace's commands and returns the trace as it should read.
func play(trace []byte) ([]byte, error) {
	var out bytes.Buffer
	w := newWorld()
	output := false // within the part that is written anew
	for i, line := range strings.Split(strings.TrimRight(string(trace), "\n"), "\n") {
		switch {
		case line == "":
			output = false
			fmt.Fprintln(&out)
		case output:
		case strings.HasPrefix(line, "#"):
			fmt.Fprintln(&out, line)
		case line == "----":
			output = true
			fmt.Fprintln(&out, line)
			out.WriteString(w.flush())
		default:
			fmt.Fprintln(&out, line)
			if err := w.command(line); err != nil {
				return nil, fmt.Errorf("line %d: %s: %w", i+1, line, err)
			}
		}
	}
	return out.Bytes(), nil
}

// world is the device around the core, as far as a trace needs one.
type world struct {
	state     agent.State
	now       int64
	boots     int
	record    agent.Version // what the disk calls permanent
	previous  agent.Version
	pending   *agent.WriteRecord
	fallback  *agent.Version
	slots     [2]agent.Version // whole content
	alive     map[orders.SourceID]int
	forwarder bool
	outdated  bool // another forwarder was installed
	noFreezer string
	staging   *agent.StageSlot
	loader    *loader        // nil on a device without system slots
	systems   *systemDisk    // likewise
	programs  *runtimeDisk   // nil without a start program
	skew      time.Duration  // of the wall clock
	returns   *agent.Returns // what the runner finds to return to; nil: it does not look
	log       bytes.Buffer
}

func newWorld() *world {
	return &world{boots: 1, alive: map[orders.SourceID]int{}, now: int64(10 * time.Second)}
}

func rules() agent.Rules {
	return agent.Rules{
		Greenlight: verify.GreenlightApp, StartTimeout: 5 * time.Second, Deadline: 30 * time.Second,
		Soak: 3 * time.Second, StopTimeout: 2 * time.Second, RestartMax: 3, RestartWindow: time.Minute,
	}
}

func (w *world) version(v, slot string) agent.Version {
	return agent.Version{Slot: slot, Version: v, Digest: "digest-" + v, Image: "image-" + v, App: "contract", Counter: counterOf(v), Rules: rules(), Streams: []string{"main"}}
}

func counterOf(v string) int64 {
	var major, minor int64
	fmt.Sscanf(v, "%d.%d", &major, &minor)
	return 100*major + minor
}

func (w *world) step(what any) {
	e := agent.Event{Now: w.now, Wall: time.Unix(1_800_000_000, w.now).Add(w.skew).UTC(), What: what}
	var effects []agent.Effect
	w.state, effects = agent.Step(w.state, e)
	for _, e := range effects {
		w.effect(e)
	}
}

// effect notes what the outside world would do.
func (w *world) effect(e agent.Effect) {
	fmt.Fprintln(&w.log, "> "+describe(e))
	switch e := e.(type) {
	case agent.WriteRecord:
		w.pending = &e
	case agent.FallBack:
		w.fallback = &e.To
	case agent.StageSlot:
		w.staging = &e
		if e.Slot != "" {
			w.slots[index(e.Slot)] = agent.Version{}
		}
		if e.System != "" {
			w.loader.ok[e.System] = false
			delete(w.systems.content, e.System)
		}
		if e.Runtime != "" {
			delete(w.programs.content, e.Runtime)
		}
	case agent.CancelBoot:
		w.loader.cancel()
	case agent.Become:
		w.programs.become = &e
	}
}

func index(slot string) int { return strings.Index("ab", slot) }

// flush returns the effects since the last one, and the state.
func (w *world) flush() string {
	defer w.log.Reset()
	return w.log.String() + describeState(w.state) + "\n"
}

// wait lets time pass, with a tick whenever the core wants one.
func (w *world) wait(d time.Duration) error {
	end := w.now + int64(d)
	for range 10_000 {
		at := w.state.Wake()
		if at == 0 || at > end {
			w.now = end
			return nil
		}
		w.now = max(w.now, at)
		w.step(agent.Tick{})
	}
	return fmt.Errorf("the core wants ticks without end")
}

// start starts the agent with what is on disk and what still runs.
func (w *world) start() {
	stored, err := json.Marshal(w.state)
	if err != nil {
		panic(err)
	}
	w.state = agent.State{}
	if err := json.Unmarshal(stored, &w.state); err != nil {
		panic(err)
	}
	systems := w.foundSystems()
	r := agent.Recover{
		System: systems, Runtime: w.programs.found(),
		Boot: fmt.Sprintf("boot-%d", w.boots), Up: w.now, Permanent: w.record, Previous: w.previous,
		Slots: w.slots, Forwarder: w.forwarder, Outdated: w.forwarder && w.outdated, NoFreezer: w.noFreezer,
	}
	for _, source := range slices.Sorted(maps.Keys(w.alive)) {
		r.Alive = append(r.Alive, agent.Alive{Source: source, PID: w.alive[source]})
	}
	w.step(r)
	w.forwarder = true
}

// foundSystems also says which app was permanent with the system that runs.
func (w *world) foundSystems() agent.Systems {
	if w.systems == nil {
		return agent.Systems{}
	}
	w.record, w.previous = w.systems.live[w.systems.with()], w.systems.before[w.systems.with()]
	return w.systems.found()
}

func describe(e agent.Effect) string {
	switch e := e.(type) {
	case agent.StartApp:
		return fmt.Sprintf("start %s role=%s%s", e.Source, e.Role, optional(" trial=", string(e.Trial)))
	case agent.StopApp:
		s := fmt.Sprintf("stop %s grace=%v", e.Source, e.Grace)
		if e.Leave > 0 {
			s += fmt.Sprintf(" leave=%v", e.Leave)
		}
		return s
	case agent.SendOrders:
		s := fmt.Sprintf("orders permanent=%s sources=%v", orNone(string(e.Permanent)), e.Sources)
		s += optional(" frozen=", string(e.Frozen))
		if t := e.Trial; t != nil {
			s += fmt.Sprintf(" trial=%s source=%s deadline=%v", t.ID, t.Source, time.Duration(t.Deadline))
		}
		return s
	case agent.AskStatus:
		return "ask status"
	case agent.Hold:
		return "hold " + string(e.Trial)
	case agent.Settle:
		return fmt.Sprintf("settle %s source=%s", e.Trial, e.Source)
	case agent.RevertTrial:
		return fmt.Sprintf("revert %s reason=%s", e.Trial, e.Reason)
	case agent.RestartForwarder:
		return "restart forwarder"
	case agent.CheckSlot:
		return fmt.Sprintf("check %s/%s", e.Version.Slot, e.Version.Version)
	case agent.Freeze:
		return "freeze " + string(e.Source)
	case agent.Thaw:
		return "thaw " + string(e.Source)
	case agent.ReplaceForwarder:
		return "replace forwarder"
	case agent.TryBoot:
		return fmt.Sprintf("try system %s/%s", e.System.Slot, e.System.Version)
	case agent.CancelBoot:
		return "cancel the boot loader's trial"
	case agent.AgreeBoot:
		return "boot loader to agree on system " + e.Slot
	case agent.Restart:
		if e.Journalled {
			return "restart the device if the journal knows"
		}
		return "restart the device"
	case agent.TryRuntime:
		return fmt.Sprintf("try forwarder of programs %s/%s", e.Runtime.Slot, e.Runtime.Version)
	case agent.ReturnForwarder:
		return "return the forwarder after " + string(e.Trial)
	case agent.Become:
		if e.Trial == "" {
			return "become the permanent agent"
		}
		return fmt.Sprintf("become the agent of %s/%s until %v", e.Runtime.Slot, e.Runtime.Version, time.Duration(e.Deadline))
	case agent.WriteRecord:
		return describeWrite(e)
	case agent.FallBack:
		return fmt.Sprintf("fall back %s/%s -> %s/%s floor=%d", e.From.Slot, e.From.Version, e.To.Slot, e.To.Version, e.To.Counter) + optional(" with system ", e.To.System.Slot)
	case agent.StageSlot:
		s := fmt.Sprintf("stage slot=%s%s attempt=%d", orNone(e.Slot), optional(" system=", e.System)+optional(" programs=", e.Runtime), e.Attempt)
		if e.Look {
			s += " look"
		}
		return s
	case agent.CancelStage:
		return fmt.Sprintf("cancel stage attempt=%d", e.Attempt)
	case agent.ClearSlots:
		return fmt.Sprintf("clear %v", e.Slots)
	case agent.Distrust:
		return fmt.Sprintf("distrust %v", e.Slots)
	case agent.WatchMarker:
		return "watch marker of " + string(e.Trial)
	case agent.WatchChecks:
		return fmt.Sprintf("watch checks of %s at %s", e.Trial, e.Source)
	case agent.MakeMarker:
		return "make marker of " + string(e.Trial)
	case agent.EndTrial:
		return fmt.Sprintf("end %s slot=%s kept=%v", e.Trial, e.Slot, e.Kept)
	case agent.Remember:
		return "remember " + describeRecord(e.Record)
	case agent.Answer:
		return fmt.Sprintf("answer %d%s %q", e.Exit, optional(" ", e.Code), e.Message)
	}
	return fmt.Sprintf("%T%+v", e, e)
}

func describeRecord(r control.Record) string {
	s := fmt.Sprintf("%s %s -> %s", r.Outcome, orNone(r.From), r.To)
	s += optional(" class=", strings.TrimPrefix(r.Class, verify.ClassSystem))
	s += optional(" trial=", r.Trial) + optional(" overlap=", r.Overlap) + optional(" reason=", r.Reason)
	if r.Reboots > 0 {
		s += fmt.Sprintf(" reboots=%d dark=%dms", r.Reboots, r.DarkMS)
	}
	if r.Detail != "" {
		s += fmt.Sprintf(" %q", r.Detail)
	}
	if len(r.Evidence) > 0 {
		s += fmt.Sprintf(" evidence=%q", r.Evidence)
	}
	if p := r.Proof; p != nil {
		s += optional(" by=", p.By)
		if p.First > 0 {
			s += fmt.Sprintf(" first=%.1fms", p.DetectToFirstMS)
		}
		for _, v := range p.Verdicts {
			s += fmt.Sprintf(" %s=%v", strings.TrimPrefix(v.Stream+"."+v.Invariant, "."), v.Compared)
		}
	}
	return s
}

func describeState(s agent.State) string {
	out := fmt.Sprintf("phase=%s permanent=%s", s.Phase, orNone(s.Permanent.Version))
	for i, name := range []string{"a", "b"} {
		state, v := s.SlotState(name)
		out += fmt.Sprintf(" %s=%s%s", name, state, optional("/", v.Version))
		if app := s.Apps[i]; app.Source != "" {
			out += fmt.Sprintf("(%s %s)", app.Source, app.Status)
			if app.Restarts > 0 {
				out += fmt.Sprintf(" restarted %d x, %q", app.Restarts, app.LastExit)
			}
		}
	}
	if s.Trial.Latched {
		out += " latched"
	}
	out += describeReturn(s) + optional(" retiring=", s.Retiring) + optional(" frozen=", string(s.Trial.Frozen))
	if s.System.Running != "" {
		out += fmt.Sprintf(" system=%s%s", s.System.Permanent.Slot, optional("/", s.System.Permanent.Version))
		if s.System.Running != s.System.Permanent.Slot {
			out += "(runs: " + s.System.Running + ")"
		}
	}
	out += describePrograms(s)
	out += optional(" package=", s.Package.Version) + optional(" trial-of=", s.Trial.To.System.Version)
	if s.Damage != "" {
		out += fmt.Sprintf(" damage=%q", s.Damage)
	}
	return out
}

func optional(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
