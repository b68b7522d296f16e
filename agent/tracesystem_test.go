package agent_test

import (
	"fmt"
	"strings"
	"time"

	"slipstream/agent"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// systemCommand performs a line of a trace that is about systems.
func (w *world) systemCommand(word string, plain []string, args map[string]string) error {
	first := strings.Join(plain, " ")
	trial := w.state.Trial.ID
	if id := args["trial"]; id != "" {
		trial = orders.TrialID(id)
	}
	switch word {
	case "running-system": // as "running", on a device whose system slot a holds 1.0
		return w.quietly("device slot=a version=1.4", "systems version=1.0", "boot", "boot-agrees a", "connected", "run")
	case "system-update": // system-update version=2.0: the way there is in system-good.txt
		return w.systemUpdate(args["version"])
	case "system-proves":
		return w.systemProves()
	case "systems": // systems version=1.0: the device has system slots, and a runs
		w.systems, w.loader = newSystemDisk("a"), newLoader("a")
		w.holds("a", args["version"])
	case "record-elsewhere": // the record names another system than anybody knows
		w.holds("b", args["version"])
		w.systems.named = "b"
	case "clock-jump":
		d, err := time.ParseDuration(first)
		w.skew += d
		return err
	case "told-boot-loader": // and nobody has heard of it
		w.loader.tryOnce(w.state.Trial.To.System.Slot)
	case "boot-tried": // with words: it failed
		if first == "" {
			w.loader.tryOnce(w.state.Trial.To.System.Slot)
		}
		w.step(agent.BootTried{Trial: trial, Error: first, Damaged: args["damaged"] != ""})
	case "boot-agrees":
		w.loader.agree(first)
		w.step(agent.BootAgrees{Slot: first})
	}
	return nil
}

// systemUpdate installs a system alone.
func (w *world) systemUpdate(version string) error {
	way := []string{"stage system=only greenlight=auto version=" + version, "staged", "activate", "boot-tried", "reboot"}
	if err := w.quietly(way...); err != nil {
		return err
	}
	return w.systemProves()
}

// systemProves: viewers see the permanent app of a system on trial, which becomes permanent.
func (w *world) systemProves() error {
	app := w.state.Apps[index(w.state.Permanent.Slot)].Source
	return w.quietly("connected", "run", fmt.Sprintf("seen %s ago=0s", app), "wait 3s", "record-written", "boot-agrees "+w.systems.running)
}

// holds lets a system slot hold a version that was permanent there.
func (w *world) holds(slot, version string) {
	p := agent.Part{Digest: "digest-" + version, Version: version, Counter: counterOf(version)}
	w.systems.is[slot], w.systems.content[slot], w.systems.live[slot] = p, p, w.record
}

// powerCut is also what a reboot is. The boot loader chooses the system, or whatever
// brings another one up.
func (w *world) powerCut(into string) {
	w.alive, w.forwarder = map[orders.SourceID]int{}, false
	w.boots++
	if w.systems != nil {
		w.systems.running = w.loader.boot()
		if into != "" {
			w.systems.running = into
		}
	}
	w.skew += time.Duration(w.now) + 20*time.Second // the wall clock goes on
	w.now = int64(5 * time.Second)
	w.programs.start(false)
	w.start()
}

// written: the last byte of what is staged is on the disk.
func (w *world) written() {
	v := w.state.Stage.Version
	if v.Slot != "" {
		w.slots[index(v.Slot)] = v
	}
	if v.System.Slot != "" {
		w.systems.content[v.System.Slot] = v.System
	}
	if v.Runtime.Slot != "" {
		w.programs.content[v.Runtime.Slot] = v.Runtime
	}
}

// systemManifest changes what a version brings: system=with is a system beside its app,
// system=only one without.
func (w *world) systemManifest(v *agent.Version, args map[string]string) {
	if s := args["system"]; s != "" {
		v.System = agent.Part{Digest: v.Digest, Image: "system-" + v.Version, Version: v.Version, Counter: v.Counter}
		if s == "only" {
			v.Image, v.App, v.Streams, v.Rules.Greenlight = "", "", nil, verify.GreenlightOperator
		}
	}
	if g := args["greenlight"]; g != "" {
		v.Rules.Greenlight = g
	}
	if i := args["systemimage"]; i != "" {
		v.System.Image = i
	}
	if d, err := time.ParseDuration(args["deadline"]); err == nil {
		v.Rules.Deadline = d
	}
	if r := args["requires"]; r != "" {
		fmt.Sscan(r, &v.Requires.System)
	}
}
