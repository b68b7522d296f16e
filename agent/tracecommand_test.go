package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/stream/orders"
)

// command performs one line of a trace: a word, then words and key=value pairs.
func (w *world) command(line string) error {
	words := strings.Fields(line)
	args := map[string]string{}
	var plain []string
	for _, word := range words[1:] {
		if key, value, ok := strings.Cut(word, "="); ok {
			args[key] = value
		} else {
			plain = append(plain, word)
		}
	}
	first := func() string {
		if len(plain) > 0 {
			return plain[0]
		}
		return ""
	}
	trial := w.state.Trial.ID
	if id := args["trial"]; id != "" {
		trial = orders.TrialID(id)
	}
	source := w.state.Trial.Source
	if s := first(); len(s) > 2 && s[1] == '-' {
		source = orders.SourceID(s)
	}
	switch words[0] {
	case "running": // a device on which version 1.4 has been running for a while
		return w.quietly("device slot=a version=1.4", "boot", "connected", "run")
	case "update": // update PHASE: the way there is in good-update.txt
		i := slices.Index(updatePhases, first())
		if i < 0 {
			return fmt.Errorf("unknown phase")
		}
		return w.quietly(wayTo(i, strings.Join(words[2:], " "))...)
	case "device": // device slot=a version=1.4: what the record says before the first boot
		if args["version"] != "" {
			w.record = w.version(args["version"], args["slot"])
			w.manifest(&w.record, args)
			w.slots[index(args["slot"])] = w.record
		}
	case "systems", "running-system", "system-update", "system-proves", "clock-jump", "told-boot-loader", "record-elsewhere", "boot-tried", "boot-agrees":
		return w.systemCommand(words[0], plain, args)
	case "programs", "programs-damaged", "programs-of", "programs-update", "tried", "becomes", "reached", "gateway", "forwarder-back":
		return w.runtimeCommand(words[0], plain, args)
	case "combined-update":
		return w.combinedUpdate(first(), words[2:])
	case "boot":
		w.start()
	case "run": // the permanent app comes up
		source := w.state.Apps[index(w.state.Permanent.Slot)].Source
		w.alive[source] = 100
		w.step(agent.AppStarted{Source: source, PID: 100, At: w.now})
		w.step(agent.AppReady{Source: source})
	case "clock": // time that nobody has noticed
		d, err := time.ParseDuration(first())
		w.now += int64(d)
		return err
	case "wait":
		d, err := time.ParseDuration(first())
		if err != nil {
			return err
		}
		return w.wait(d)

	case "stage":
		v := w.version(args["version"], "")
		w.manifest(&v, args)
		v.Factory = first() == "factory"
		w.step(agent.StageAsked{Version: v, Force: first() == "force"})
	case "cancel", "cancelled", "clear", "cleared", "looked":
		return w.spareCommand(words[0], plain, args)
	case "written-slot": // the slot's last byte is on the disk
		w.written()
	case "staged":
		w.written()
		w.step(agent.StageDone{Attempt: w.staging.Attempt})
	case "stage-failed":
		w.step(agent.StageDone{Attempt: w.staging.Attempt, Code: args["code"], Error: "the package is damaged"})
	case "refused":
		w.step(agent.PackageRefused{To: args["version"], Code: args["code"], Message: "no trusted key signed it"})
	case "activate":
		w.step(agent.ActivateAsked{Force: first() == "force"})
	case "greenlight":
		w.step(agent.GreenlightAsked{})
	case "revert":
		w.step(agent.RevertAsked{Force: first() == "force", Back: w.back()})
	case "return":
		w.step(agent.RevertAsked{Rest: true})
	case "way-back", "crashes", "crash-loop":
		return w.backCommand(words[0], plain, args)
	case "rehearse":
		w.step(agent.RehearseAsked{})

	case "started":
		w.alive[source] = 200
		w.step(agent.AppStarted{Source: source, PID: 200, At: w.now})
	case "ready":
		w.step(agent.AppReady{Source: source})
	case "known":
		w.step(agent.AppKnown{Source: source, PID: 300})
	case "ping":
		w.step(agent.AppAlive{Source: source})
	case "hung":
		w.step(agent.AppHung{Source: source})
	case "period", "extends": // period B 500ms
		d, err := time.ParseDuration(plain[len(plain)-1])
		if err != nil {
			return err
		}
		if words[0] == "period" {
			w.step(agent.AppPeriod{Source: source, Period: d})
		} else {
			w.step(agent.AppExtends{Source: source, For: d})
		}
	case "exited":
		delete(w.alive, source)
		w.step(agent.AppExited{Source: source, Detail: "exited with status 1", Evidence: []string{"last words"}, Unasked: slices.Contains(plain, "unasked"), OOM: slices.Contains(plain, "oom"), Back: w.returns})
	case "dies": // while nobody watches
		delete(w.alive, source)
	case "unborn":
		w.step(agent.AppExited{Source: source, Detail: "the slot is damaged", Unborn: true})
	case "damaged":
		w.step(agent.AppExited{Source: source, Detail: "not started: the slot does not hold what was staged", Unborn: true, Damaged: true})
	case "fell-back", "record-fell-back":
		if w.systems != nil {
			w.systems.commit(*w.fallback, w.record)
		}
		w.record, w.previous = *w.fallback, w.record
		if words[0] == "fell-back" {
			w.step(agent.FellBack{})
		}
	case "runs": // and nobody has told the core
		w.alive[source] = 300
	case "fall-back-failed":
		w.step(agent.FallBackFailed{Error: "slot a does not hold what was staged"})
	case "slot-checked": // the new version may be started; the old one is to make room
		w.step(agent.SlotChecked{Trial: trial, Error: strings.Join(plain, " "), Damaged: args["damaged"] != ""})
	case "not-frozen":
		w.step(agent.FreezeFailed{Source: source, Error: "no cgroups of version 2 are mounted"})
	case "marker-failed":
		w.step(agent.MarkerFailed{Trial: trial, Error: "make the greenlight marker: no space left on device"})
	case "marker":
		w.step(agent.MarkerSeen{Trial: trial})

	case "checks": // checks memory=holds self=broken WEB=open: how they stand; WEB is only wanted
		w.step(agent.ChecksSeen{Trial: trial, Verdicts: checksOf(words[1:])})

	case "connected":
		w.step(agent.ForwarderConnected{})
	case "forwarder-lost":
		w.forwarder = true
		w.step(agent.ForwarderLost{Detail: "the forwarder was killed"})
	case "forwarder-dies": // while nobody watches
		w.forwarder = false
	case "no-cgroups":
		w.noFreezer = "no cgroups of version 2 are mounted"
	case "forwarder-installed":
		w.outdated = true
	case "replace":
		w.step(agent.ReplaceAsked{})
	case "replaced", "not-replaced":
		w.outdated = words[0] == "not-replaced"
		e := agent.ForwarderReplaced{}
		if w.outdated {
			e.Error = "it did not take over within 2s"
		}
		w.step(e)
	case "status":
		w.step(agent.ForwarderStatus{Trial: orders.TrialID(args["trial"]), Phase: args["phase"], Missing: plain})
	case "lost": // lost a-1 stream=main
		w.step(agent.LineLost{Source: source, Lost: agent.Lost{Stream: args["stream"], At: w.now, Detail: "the publisher closed its connection"}})
	case "seen": // seen a-1 ago=1s: a frame of stream main came from a-1 then, and viewers see it
		ago, err := time.ParseDuration(args["ago"])
		if err != nil {
			return err
		}
		line := orders.LineStatus{Source: source, LastFrame: w.now - int64(ago), Alive: slices.Contains(plain, "alive")}
		w.step(agent.LinesSeen{Streams: []orders.StreamStatus{{Name: "main", Followed: source, Lines: []orders.LineStatus{line}}}})
	case "took-over":
		w.step(agent.TookOver{Switched: orders.Switched{Trial: trial, Source: source, At: w.now, Done: w.now}})
	case "reverted":
		w.step(agent.TrialReverted{Reverted: orders.Reverted{
			Trial: trial, Cause: args["cause"], Detail: args["detail"], Switched: true, Detected: w.now, First: w.now + 2e6,
			By: args["by"], Verdicts: verdictsOf(args["cause"]), Source: orders.SourceID(args["to"]),
		}})
	case "held":
		w.step(agent.Held{Trial: trial})
	case "hold-waits":
		w.step(agent.HoldWaits{Trial: trial})
	case "settled":
		w.step(agent.Settled{Trial: trial})

	case "record-on-disk", "record-written":
		if w.pending == nil {
			return fmt.Errorf("no record is being written")
		}
		w.committed(w.pending.Version, w.pending.Previous)
		if words[0] == "record-written" {
			w.step(agent.RecordWritten{Trial: trial})
		}
	case "record-failed":
		w.step(agent.RecordFailed{Trial: trial, Error: "write active record: no space left on device"})

	case "agent-restart": // the agent alone dies and comes back
		w.programs.start(false)
		w.start()
	case "power-cut", "reboot":
		w.powerCut(args["into"])
	case "journal-lost":
		w.state = agent.State{}
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

var updatePhases = []string{"starting", "armed", "trial", "holding", "committing", "settling"}

func wayTo(phase int, manifest string) []string {
	way := []string{"stage version=2.0 " + manifest, "staged", "activate"}
	if strings.Contains(manifest, "overlap=none") {
		way = append(way, "slot-checked", "exited a-1")
	}
	way = append(way, "started")
	further := [][]string{nil, {"ready"}, {"took-over"}, {"marker", "wait 3s"}, {"held"}, {"record-written"}}
	for _, step := range further[:phase+1] {
		way = append(way, step...)
	}
	return way
}

// quietly performs commands without a trace of them.
func (w *world) quietly(lines ...string) error {
	for _, line := range lines {
		if err := w.command(line); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	w.log.Reset()
	return nil
}

// verdictsOf is the forwarder's word on the invariant that ended a trial.
func verdictsOf(cause string) []orders.Verdict {
	name, found := strings.CutPrefix(cause, "invariant:")
	if !found {
		return nil
	}
	stream, invariant, _ := strings.Cut(name, ".")
	return []orders.Verdict{{
		Stream: stream, Invariant: invariant, Measure: orders.MeasureFrameRate, Against: orders.AgainstPermanent,
		Baseline: "permanent", Value: 12, Base: 25, Compared: 0.48, Min: new(0.9), Required: true, Judged: true,
	}}
}

// checksOf reads verdicts from words such as memory=holds, self=broken or web=open.
// A name in capitals is only wanted.
func checksOf(words []string) (list []control.Verdict) {
	for _, word := range words {
		name, state, found := strings.Cut(word, "=")
		if !found || name == "trial" {
			continue
		}
		list = append(list, control.Verdict{
			Invariant: strings.ToLower(name), Required: name == strings.ToLower(name),
			Judged: state != "open", Holds: state == "holds", Detail: "it ended with 1",
		})
	}
	return list
}

// manifest changes a version's rules.
func (w *world) manifest(v *agent.Version, args map[string]string) {
	if g := args["greenlight"]; g != "" {
		v.Rules.Greenlight = g
	}
	if d, err := time.ParseDuration(args["watchdog"]); err == nil {
		v.Rules.Watchdog, v.Rules.Soak = d, d/2
	}
	v.Rules.Silent = args["ready"] == "never"
	v.Rules.Overlap = args["overlap"]
	if s := args["streams"]; s != "" {
		v.Streams = strings.Split(s, ",")
	}
	if s := args["codecs"]; s != "" {
		for i, codec := range strings.Split(s, ",") {
			v.Envelopes = append(v.Envelopes, orders.Stream{Name: v.Streams[i], Codec: codec, Profile: args["profile"]})
		}
	}
	if s := args["breaks"]; s != "" {
		v.Breaks = strings.Split(s, ",")
	}
	if s := args["events"]; s != "" {
		v.Events = strings.Split(s, ",")
	}
	if n := args["checks"]; n != "" {
		fmt.Sscan(n, &v.Rules.Checks)
	}
	if e := args["epoch"]; e != "" {
		fmt.Sscan(e, &v.Epoch)
	}
	if i := args["image"]; i != "" {
		v.Image = "image-" + i
	}
	if c := args["contract"]; c != "" {
		v.App = c
	}
	w.systemManifest(v, args)
	w.runtimeManifest(v, args)
}
