package agent_test

import (
	"fmt"
	"slices"
	"strings"

	"slipstream/agent"
)

// combinedWay is how a trial of programs with an app comes to each of its phases. With a
// system it begins with what is in systemWay.
var combinedWay = []struct{ phase, steps string }{
	{"arming", ""},
	{"renewing", "tried"},
	{"starting", "becomes; connected; reached; gateway; started"},
	{"armed", "ready"},
	{"trial", "took-over"},
	{"holding", "marker; wait 3s"},
	{"committing", "held"},
	{"settling", "record-written"},
}

const systemWay = "boot-tried; reboot; connected; run"

// combinedUpdate installs programs of Slipstream beside an app: combined-update PHASE, and
// what else the manifest says.
func (w *world) combinedUpdate(phase string, manifest []string) error {
	way := []string{"stage version=2.0 runtime=with " + strings.Join(manifest, " "), "staged", "activate"}
	i := slices.IndexFunc(combinedWay, func(step struct{ phase, steps string }) bool { return step.phase == phase })
	if i < 0 {
		return fmt.Errorf("unknown phase")
	}
	if slices.Contains(manifest, "system=with") {
		way = append(way, strings.Split(systemWay, "; ")...)
	}
	for _, step := range combinedWay[:i+1] {
		way = append(way, strings.Split(step.steps, "; ")...)
	}
	return w.quietly(slices.DeleteFunc(way, func(line string) bool { return line == "" })...)
}

// committed replaces the record, all of it at once.
func (w *world) committed(v, previous agent.Version) {
	brings := v.Runtime.Slot != "" || v.Runtime.BuiltIn
	if brings {
		w.programs.permanent = v.Runtime
	}
	switch alone := brings && v.Slot == "" && v.System.Slot == ""; {
	case alone:
	case w.systems != nil:
		w.systems.commit(v, previous)
	default:
		w.record, w.previous = v, previous
	}
}

// describeWrite names all that becomes permanent.
func describeWrite(e agent.WriteRecord) string {
	v, s := e.Version, "write record"
	if v.Runtime.Slot != "" || v.Runtime.BuiltIn {
		s += fmt.Sprintf(" programs %s/%s", v.Runtime.Slot, v.Runtime.Version)
	}
	if v.System.Slot != "" {
		s += " system " + v.System.Slot + optional(" and ", v.Slot)
	} else if v.Slot != "" {
		s += fmt.Sprintf(" %s/%s", v.Slot, v.Version)
	}
	return s + " previous=" + orNone(e.Previous.Version)
}
