package agent

import (
	"fmt"
	"maps"
	"slices"

	"slipstream/agent/control"
	"slipstream/stream/orders"
	"slipstream/verify"
)

const (
	stateName = "state" // FDNAME= of what is handed over
	// maxAppStored bounds what an app stores besides its state. It shares the places
	// with the forwarder, whose viewers need most of them.
	maxAppStored = 32
)

// giver is an app that may store descriptors.
type giver struct {
	slot   string
	place  string // of its state
	schema string // "" if its manifest declares no state
	rtsp   bool   // it publishes by its ingest
}

// expectStored lets an app store, from before it lives.
func (a *Agent) expectStored(source orders.SourceID, slot, place string, m verify.Manifest) {
	g := giver{slot: slot, place: place, rtsp: m.App.PublishRTSP}
	if s := m.App.State; s != nil {
		g.schema = s.Schema
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.givers[string(source)] = g
}

// contract is what a run makes use of; nil if nothing runs.
func (a *Agent) contract(source orders.SourceID) *control.Contract {
	a.mu.Lock()
	g, runs := a.givers[string(source)]
	a.mu.Unlock()
	if !runs {
		return nil
	}
	held := a.states.schema(g.place)
	return &control.Contract{
		Control: a.desk.Listens(string(source)), State: g.schema, Handed: g.schema != "" && held == g.schema, RTSP: g.rtsp,
	}
}

// judgeStored takes the state of apps, and bounds what else they store. It runs where
// the app's words are read, one at a time, so none of its states overtakes another.
func (a *Agent) judgeStored(process, name string, remove bool, files []int) (dealt bool, err error) {
	a.mu.Lock()
	g, isApp := a.givers[process]
	a.mu.Unlock()
	switch {
	case !isApp:
		return false, nil
	case name != stateName:
		return false, a.roomFor(process, name, remove, len(files))
	case remove:
		a.states.remove(g.place)
	case g.schema == "":
		err = fmt.Errorf("its manifest declares no app.state")
	case len(files) != 1:
		err = fmt.Errorf("%d descriptors came instead of one", len(files))
	default:
		err = a.states.put(g.place, g.schema, files[0])
	}
	a.setStateProblem(orders.SourceID(process), err)
	return true, nil
}

func (a *Agent) roomFor(process, name string, remove bool, n int) error {
	if remove {
		return nil
	}
	held := a.sup.Stored(process)
	others := slices.DeleteFunc(held, func(h string) bool { return h == name })
	if len(others)+n > maxAppStored {
		return fmt.Errorf("an app may store %d besides its state", maxAppStored)
	}
	return nil
}

// setStateProblem notes why an app's newest state was not taken, or that it was.
func (a *Agent) setStateProblem(source orders.SourceID, err error) {
	why := ""
	if err != nil {
		why = fmt.Sprintf("app %s handed over a state that is not taken, and the one before holds: %s", source, sentence(err))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.untaken[source] == why {
		return
	}
	a.untaken[source] = why
	if why != "" {
		a.log.Warn("state not taken", "source", source, "reason", err)
	}
	a.announce()
}

// stateProblems are those that apps have now, for those who hold mu.
func (a *Agent) stateProblems() (out []string) {
	for _, source := range slices.Sorted(maps.Keys(a.untaken)) {
		if why := a.untaken[source]; why != "" {
			out = append(out, why)
		}
	}
	return out
}

// inherit gives a run that is about to start what the run before it has stored: of its
// own slot, or for a trial of the permanent version's.
func (a *Agent) inherit(e StartApp) {
	if e.Bare {
		a.log.Error("app starts without what was handed over, because it keeps ending with it", "source", e.Source)
		return
	}
	from := a.state.Permanent.Slot
	if e.Role == RolePermanent {
		from = e.Slot
	}
	a.mu.Lock()
	givers := maps.Clone(a.givers) // also those that ended while there was no agent
	a.mu.Unlock()
	for source, g := range givers {
		if g.slot != from || source == string(e.Source) {
			continue
		}
		if err := a.sup.Inherit(source, string(e.Source)); err != nil {
			a.log.Error("stored descriptors not passed on", "from", source, "to", e.Source, "reason", err)
		}
	}
}

// forgetStored drops what a run that is over has stored, for those who hold mu.
func (a *Agent) forgetStored(known func(orders.SourceID) bool) {
	for source := range a.givers {
		if !known(orders.SourceID(source)) {
			delete(a.givers, source)
			a.sup.DropStored(source)
		}
	}
}

// handOver gives a run its state, and returns what it is to be told of it. A state that
// its manifest does not take it is not given.
func (a *Agent) handOver(e StartApp, m verify.Manifest) (env []string, err error) {
	a.sup.Withdraw(string(e.Source), stateName)
	if m.App.State == nil || e.Bare {
		return nil, nil
	}
	f, schema, err := a.states.memfd(e.data())
	if err != nil || f == nil {
		return nil, err
	}
	defer f.Close()
	if !m.App.State.Takes(schema) {
		a.log.Error("app starts without state", "source", e.Source, "reason", refusedState(m.Version, schema))
		return nil, nil
	}
	if err := a.sup.Give(string(e.Source), stateName, int(f.Fd())); err != nil {
		return nil, fmt.Errorf("hand the state over: %w", err)
	}
	return []string{"SLIPSTREAM_STATE_SCHEMA=" + schema}, nil
}

// handedOver drops our own copy of what a run was given.
func (a *Agent) handedOver(source orders.SourceID) { a.sup.Withdraw(string(source), stateName) }

// refusedState is why a version does not start with a state.
func refusedState(version, schema string) string {
	return fmt.Sprintf("version %s does not take the state of schema %q that the running version has handed over, and would lose it: "+
		"its manifest must name the schema in app.state.accepts", version, schema)
}
