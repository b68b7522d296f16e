package agent_test

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"slipstream/agent"
	"slipstream/stream/orders"
)

// boxForwarder is a forwarder without pictures. What it does for real, and in which states,
// is walked through in package stream/core.
type boxForwarder struct {
	up        bool
	home      string // slot of the programs that it is of
	permanent orders.SourceID
	sources   []orders.SourceID
	trial     orders.TrialID
	source    orders.SourceID
	switched  bool
	due       int64            // the deadline, or the end of the lease
	over      []orders.TrialID // that it has seen end
	waiting   orders.TrialID   // reverted, and there was nobody to go back to
}

func (f *boxForwarder) happenings(b *box) (all []boxMove) {
	if !f.up {
		return nil
	}
	if len(b.toFwd) > 0 {
		all = append(all, boxMove{fmt.Sprintf("forwarder takes %T", b.toFwd[0]), func(b *box) {
			request := b.toFwd[0]
			b.toFwd = b.toFwd[1:]
			b.fwd.take(b, request)
		}})
	}
	if f.trial != "" && !f.switched && slices.Contains(b.ready, f.source) {
		all = append(all, boxMove{"viewers come over", func(b *box) {
			b.fwd.switched = true
			b.fwd.tell(b, agent.TookOver{Switched: orders.Switched{Trial: b.fwd.trial, Source: b.fwd.source, Done: b.now}})
		}})
	}
	if f.trial == "" && b.frozen != "" && b.frozen == f.permanent {
		all = append(all, boxMove{"forwarder thaws", func(b *box) { b.thaw(b.frozen) }})
	}
	if f.waiting != "" && slices.Contains(b.ready, f.permanent) && b.frozen != f.permanent {
		all = append(all, boxMove{"viewers are back at last", func(b *box) {
			id := b.fwd.waiting
			b.fwd.waiting = ""
			b.fwd.tell(b, agent.TrialReverted{Reverted: orders.Reverted{Trial: id, Source: b.fwd.permanent, First: b.now}})
		}})
	}
	if f.trial != "" && !b.busy() {
		all = append(all, boxMove{"forwarder's time has come", func(b *box) {
			b.now = max(b.now, b.fwd.due)
			b.fwd.end(b, orders.CauseDeadline)
		}})
	}
	return all
}

func (f *boxForwarder) tell(b *box, what any) {
	if b.up {
		b.toAgent = append(b.toAgent, what)
	}
}

func (f *boxForwarder) take(b *box, request any) {
	switch e := request.(type) {
	case agent.SendOrders:
		f.obey(b, e)
	case agent.AskStatus:
		phase := "armed"
		if f.switched {
			phase = "switched"
		}
		f.tell(b, agent.ForwarderStatus{Trial: f.trial, Phase: phase})
	case agent.Hold:
		switch {
		case f.trial != e.Trial:
			f.tell(b, agent.TrialReverted{Reverted: orders.Reverted{Trial: e.Trial, Cause: orders.CauseStall}})
		case f.switched:
			b.held, f.due = e.Trial, b.now+int64(2*time.Second)
			f.tell(b, agent.Held{Trial: e.Trial})
		}
	case agent.Settle:
		if !slices.Contains(f.sources, e.Source) {
			return // it knows no such source
		}
		if string(e.Source[:1]) != b.record().Slot {
			b.fail("%s is settled, and the record names slot %s", e.Source, b.record().Slot)
		}
		f.permanent = e.Source
		if f.trial == e.Trial {
			f.trial = ""
		}
		f.tell(b, agent.Settled{Trial: e.Trial})
	case agent.RevertTrial:
		if f.trial == e.Trial {
			f.end(b, e.Reason)
			return
		}
		f.tell(b, agent.TrialReverted{Reverted: orders.Reverted{Trial: e.Trial, Cause: orders.CauseOrders}})
	}
}

func (f *boxForwarder) obey(b *box, e agent.SendOrders) {
	if e.Permanent != "" && !slices.Contains(e.Sources, e.Permanent) {
		b.fail("orders call %s permanent and do not name it", e.Permanent)
	}
	if t := e.Trial; t != nil && (t.Source == e.Permanent || !slices.Contains(e.Sources, t.Source)) {
		b.fail("orders of trial %s: source %s, permanent %s, sources %v", t.ID, t.Source, e.Permanent, e.Sources)
	}
	if f.trial != "" && (e.Trial == nil || e.Trial.ID != f.trial) {
		if e.Permanent == f.source {
			f.trial = ""
		} else {
			f.end(b, orders.CauseOrders)
		}
	}
	f.permanent, f.sources = e.Permanent, e.Sources
	if t := e.Trial; t != nil && f.trial != t.ID {
		if slices.Contains(f.over, t.ID) {
			f.tell(b, agent.TrialReverted{Reverted: orders.Reverted{Trial: t.ID, Cause: orders.CauseLease}})
			return
		}
		f.trial, f.source, f.switched, f.waiting, f.due = t.ID, t.Source, false, "", t.Deadline
	}
}

// end brings viewers back, and reports it.
func (f *boxForwarder) end(b *box, cause string) {
	id := f.trial
	f.over, f.trial = append(f.over, id), ""
	b.thaw(f.permanent)
	r := orders.Reverted{Trial: id, Cause: cause, Switched: f.switched, Source: f.permanent}
	if !slices.Contains(b.ready, f.permanent) {
		r.Source, f.waiting = "", id
	}
	f.tell(b, agent.TrialReverted{Reverted: r})
}

// forwarderDies leaves the agent with the news and a new forwarder, which knows nothing.
func (b *box) forwarderDies() {
	b.fwd = boxForwarder{}
	b.toFwd, b.toAgent, b.admitted = nil, nil, false
	if b.up {
		b.thaw(b.permanentSource())
		b.fwd.up, b.fwd.home = true, b.programs.permanent.Slot
		b.toAgent = []any{agent.ForwarderLost{Detail: "killed"}, agent.ForwarderConnected{}}
	}
}

// reconnect is a new connection: what was under way is lost.
func (b *box) reconnect() {
	b.admitted, b.toFwd, b.toAgent = false, nil, []any{agent.ForwarderConnected{}}
}

// report is the forwarder's regular word on whom viewers see.
func (b *box) report() {
	follows := b.fwd.permanent
	if b.fwd.trial != "" && b.fwd.switched {
		follows = b.fwd.source
	}
	if !slices.Contains(b.ready, follows) {
		follows = ""
	}
	s := orders.StreamStatus{Name: "main", Followed: follows}
	for _, source := range b.ready {
		s.Lines = append(s.Lines, orders.LineStatus{Source: source, Alive: true, LastFrame: b.now})
	}
	b.step(agent.LinesSeen{Streams: []orders.StreamStatus{s}})
}

// quiet says that all are there, and nothing is under way between them.
func (b *box) quiet() bool { return b.up && b.fwd.up && b.admitted && !b.busy() }

// broken says which promise a state breaks, if it does.
func (b *box) broken() string {
	s := b.agent
	record := b.record()
	switch {
	case record.Slot == "" || b.slots[index(record.Slot)].Digest != record.Digest:
		return "the record names an app that is not in its slot"
	case b.systems.content[b.systems.named].Digest != b.systems.is[b.systems.named].Digest:
		return "the record names a system that is not in its slot"
	case b.systems.content[b.loader.good].Digest != b.systems.is[b.loader.good].Digest || !b.loader.ok[b.loader.good]:
		return "the boot loader could start nothing that was permanent"
	case b.programs.permanent.Slot != "" && b.programs.content[b.programs.permanent.Slot].Digest != b.programs.permanent.Digest:
		return "the record names programs that are not in their slot"
	}
	if !b.quiet() {
		return ""
	}
	switch p := s.Phase; {
	case s.Permanent.Digest != record.Digest:
		return "the agent does not know what is permanent"
	case s.System.Permanent.Digest != b.systems.is[b.systems.named].Digest || s.Runtime.Permanent.Digest != b.programs.permanent.Digest:
		return "the agent does not know which system, or which programs, are permanent"
	case b.fwd.permanent != "" && string(b.fwd.permanent[:1]) != record.Slot:
		return "the forwarder does not know what is permanent"
	case b.frozen != "" && b.frozen == b.fwd.permanent && b.fwd.trial == "":
		return "viewers wait for a source that is frozen"
	case b.fwd.trial != "" && (b.fwd.trial != s.Trial.ID || p != agent.PhaseStarting && p != agent.PhaseTrial && p != agent.PhaseHolding):
		return "the forwarder is left with a trial"
	case s.Trial.To.Slot != "" && b.fwd.trial == "" && (p == agent.PhaseTrial || p == agent.PhaseHolding):
		return "the agent believes in a trial that is over"
	case p == agent.PhaseIdle && s.Trial.ID == "" && b.changed() && b.told == "":
		return "something is permanent that the history does not know of"
	case p == agent.PhaseIdle && s.Trial.ID == "" && b.told != "" && !slices.Contains(b.digests(), b.told):
		return "the history calls something permanent that the record does not name"
	}
	return ""
}

func (b *box) digests() []string {
	return []string{b.record().Digest, b.systems.is[b.systems.named].Digest, b.programs.permanent.Digest}
}

// unmoved says whether old news change anything.
func (b *box) unmoved() string {
	if wake := b.wake(); !b.up || wake != 0 && wake <= b.now {
		return ""
	}
	state := b.agent
	for _, what := range stale {
		next, effects := agent.Step(state, agent.Event{Now: b.now, Wall: time.Unix(1_800_000_000, 0), What: what})
		if len(effects) > 0 {
			return fmt.Sprintf("old news, %T, lead to %T", what, effects[0])
		}
		state = next
	}
	var old, now []byte
	if old, now = appendBoxKey(nil, reflect.ValueOf(b.agent), b.now), appendBoxKey(nil, reflect.ValueOf(state), b.now); string(old) != string(now) {
		return "old news change the state"
	}
	return ""
}

// atRest says what is missing for the device to be as it should after all of it.
func (b *box) atRest() string {
	s := b.agent
	source := b.permanentSource()
	switch {
	case !b.quiet():
		return "something is under way for ever"
	case s.Phase != agent.PhaseIdle && s.Phase != agent.PhaseStaged || s.Trial.ID != "":
		return "the trial does not end"
	case !slices.Contains(b.ready, source) || b.fwd.permanent != source:
		return "the permanent version does not run, or the forwarder does not know it"
	case b.frozen != "":
		return string(b.frozen) + " is left frozen"
	case len(b.alive) != 1:
		return fmt.Sprintf("%v run", b.alive)
	case b.systems.running != b.systems.named || b.loader.good != b.systems.named || b.loader.try != "":
		return fmt.Sprintf("system %s runs, the record names %s, the boot loader has %+v", b.systems.running, b.systems.named, *b.loader)
	case b.programs.running != b.programs.permanent.Slot || b.fwd.home != b.programs.permanent.Slot:
		return fmt.Sprintf("programs of %q run, with a forwarder of %q; permanent are %q", b.programs.running, b.fwd.home, b.programs.permanent.Slot)
	case b.halfway():
		return "a part of a package is permanent, and another is not"
	}
	return ""
}

// halfway says that what came in one package is not permanent together, or the version
// before not all of it.
func (b *box) halfway() bool {
	of := b.offered
	parts := map[bool]int{}
	for _, p := range []struct {
		brought   bool
		permanent string
	}{
		{of.Image != "", b.record().Digest},
		{of.System.Digest != "", b.systems.is[b.systems.named].Digest},
		{of.Runtime.Digest != "", b.programs.permanent.Digest},
	} {
		if p.brought {
			parts[p.permanent == of.Digest]++
		}
	}
	return len(parts) > 1
}

// exploreStart is late enough for every time to be told from a number.
const exploreStart = int64(1) << 52

// notInBoxKey are fields that tell people how something came about, and decide nothing, and
// ages, which are those of a day in no story.
var notInBoxKey = map[string]bool{
	"Detail": true, "Evidence": true, "LastExit": true, "Switched": true, "Verdicts": true, "Began": true, "TookOver": true,
	"Since": true, "LastExitAt": true, "Rules": true, "now": true, "Asked": true, "Left": true, "Said": true, "Barred": true,
	"Restarts": true, "Age": true, "Mark": true, "Lived": true, "Boots": true, "Wall": true, "began": true,
}

// boxKey names a state: two states of one key go on in the same way.
type boxKey [16]byte

func (b *box) key() (k boxKey) {
	sum := sha256.Sum256(appendBoxKey(make([]byte, 0, 4096), reflect.ValueOf(b).Elem(), b.now))
	copy(k[:], sum[:])
	return k
}

// longGone is for how long after a time has come it still matters when that was.
const longGone = -2 * int64(time.Second)

func appendBoxKey(k []byte, v reflect.Value, now int64) []byte {
	switch v.Kind() {
	case reflect.Bool:
		return strconv.AppendBool(k, v.Bool())
	case reflect.Int, reflect.Int64:
		n := v.Int()
		if n > exploreStart/2 {
			n = max(n-now, longGone)
		}
		return append(strconv.AppendInt(k, n, 36), ',')
	case reflect.Uint64:
		return append(strconv.AppendUint(k, v.Uint(), 36), ',')
	case reflect.String:
		return append(append(k, v.String()...), ',')
	case reflect.Slice, reflect.Array:
		k = append(k, '[')
		for i := range v.Len() {
			k = appendBoxKey(k, v.Index(i), now)
		}
		return append(k, ']')
	case reflect.Map:
		for _, name := range []string{"a", "b"} { // all are by slot
			if at := v.MapIndex(reflect.ValueOf(name)); at.IsValid() {
				k = appendBoxKey(append(k, name...), at, now)
			}
		}
		return append(k, ';')
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return append(k, '0')
		}
		if v.Kind() == reflect.Interface {
			k = append(k, v.Elem().Type().Name()...)
		}
		return appendBoxKey(k, v.Elem(), now)
	case reflect.Struct:
		k = append(k, '{')
		for _, i := range boxFields(v.Type()) {
			k = appendBoxKey(k, v.Field(i), now)
		}
		return append(k, '}')
	}
	panic("a state with a " + v.Kind().String())
}

var boxKeyFields sync.Map // by type

func boxFields(t reflect.Type) (fields []int) {
	if known, ok := boxKeyFields.Load(t); ok {
		return known.([]int)
	}
	for i := range t.NumField() {
		if !notInBoxKey[t.Field(i).Name] {
			fields = append(fields, i)
		}
	}
	boxKeyFields.Store(t, fields)
	return fields
}
