package agent_test

import (
	"fmt"
	"slices"
	"strings"

	"slipstream/agent"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// runtimeDisk is what the record and the slots hold of Slipstream's own programs, and
// whose the agent is that runs.
type runtimeDisk struct {
	running   string
	permanent agent.Part
	content   map[string]agent.Part
	become    *agent.Become // what the agent that runs is to become
}

// found is what the runner reports of the programs.
func (d *runtimeDisk) found() agent.Runtimes {
	if d == nil {
		return agent.Runtimes{}
	}
	return agent.Runtimes{
		Programs: agent.Programs{Able: true, Running: d.running, Permanent: d.permanent},
		Slots:    [2]agent.Part{d.content["a"], d.content["b"]},
	}
}

// start is the start program: what is on trial it runs once, if it was asked to.
func (d *runtimeDisk) start(asked bool) {
	if d == nil {
		return
	}
	d.running = d.permanent.Slot
	if e := d.become; asked && e != nil && e.Trial != "" {
		d.running = e.Runtime.Slot
	}
	if d.content[d.running].Digest != d.permanent.Digest && d.running == d.permanent.Slot {
		d.running = "" // damaged
	}
	d.become = nil
}

// runtimeWay is how a trial of programs comes to each of its phases.
var runtimeWay = []struct{ phase, steps string }{
	{"arming", "staged; activate"},
	{"renewing", "tried"},
	{"up", "becomes; connected"},
	{"trial", "reached; gateway; seen a-1 ago=0s"},
	{"committing", "wait 3s"},
}

// runtimeCommand performs a line of a trace that is about Slipstream's own programs.
func (w *world) runtimeCommand(word string, plain []string, args map[string]string) error {
	said := strings.Join(plain, " ")
	trial := w.state.Trial.ID
	if id := args["trial"]; id != "" {
		trial = orders.TrialID(id)
	}
	switch word {
	case "programs": // programs slot=a version=1.0: a start program is there; these are permanent
		w.programs = &runtimeDisk{content: map[string]agent.Part{}}
		if v := args["version"]; v != "" {
			p := agent.Part{Slot: args["slot"], Digest: "digest-" + v, Image: "programs-" + v, Version: v, Counter: counterOf(v)}
			w.programs.permanent, w.programs.content[p.Slot] = p, p
		}
		w.programs.start(false)
	case "programs-damaged":
		w.programs.content[w.programs.permanent.Slot] = agent.Part{}
	case "programs-of": // somebody has started the agent of a slot
		w.programs.running = said
		w.start()
	case "programs-update": // programs-update PHASE
		way := []string{"stage version=2.0 runtime=only greenlight=auto"}
		i := slices.IndexFunc(runtimeWay, func(step struct{ phase, steps string }) bool { return step.phase == plain[0] })
		if i < 0 {
			return fmt.Errorf("unknown phase")
		}
		for _, step := range runtimeWay[:i+1] {
			way = append(way, strings.Split(step.steps, "; ")...)
		}
		return w.quietly(way...)
	case "tried": // with words: it failed
		w.step(agent.RuntimeTried{Trial: trial, Error: said, Damaged: args["damaged"] != ""})
	case "becomes": // the process becomes what the start program chooses
		was, tries := w.outdated, w.programs.become != nil && w.programs.become.Trial != ""
		w.programs.start(true)
		w.outdated = was || tries && w.programs.running != w.programs.permanent.Slot // its forwarder is not that of the permanent programs
		w.start()
		w.outdated = was
	case "reached":
		w.step(agent.Reached{})
	case "gateway": // with words: it does not run
		w.step(agent.GatewaySeen{Down: said})
	case "forwarder-back":
		w.step(agent.ForwarderReturned{Trial: trial})
	}
	return nil
}

// runtimeManifest changes what a version brings: runtime=with is programs beside its app,
// runtime=only some without.
func (w *world) runtimeManifest(v *agent.Version, args map[string]string) {
	if r := args["runtime"]; r != "" {
		v.Runtime = agent.Part{Digest: v.Digest, Image: "programs-" + v.Version, Version: v.Version, Counter: v.Counter}
		if r == "only" {
			v.Image, v.App, v.Streams = "", "", nil
			if args["greenlight"] == "" {
				v.Rules.Greenlight = verify.GreenlightAuto
			}
		}
	}
	if r := args["requires-programs"]; r != "" {
		fmt.Sscan(r, &v.Requires.Runtime)
	}
}

func describePrograms(s agent.State) string {
	if !s.Runtime.Able {
		return ""
	}
	return fmt.Sprintf(" programs=%s(runs: %s)", orNone(s.Runtime.Permanent.Version), orNone(s.Runtime.Running))
}
