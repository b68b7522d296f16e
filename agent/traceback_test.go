package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"slipstream/agent"
	"slipstream/verify"
)

// back is what the runner finds to return to.
func (w *world) back() agent.Returns {
	if w.returns == nil {
		return agent.Returns{}
	}
	return *w.returns
}

// backCommand performs a line of a trace that is about the version before.
func (w *world) backCommand(word string, plain []string, args map[string]string) error {
	switch word {
	case "way-back": // way-back for=24h system=1.0 code=rollback WORDS: what the device could return to
		r := agent.Returns{Bound: 24 * time.Hour}
		if d := args["for"]; d != "" {
			bound, err := time.ParseDuration(d)
			if err != nil {
				return err
			}
			r.Bound = bound
		}
		if code := args["code"]; code != "" {
			r.Live = agent.Candidate{Code: code, Why: strings.Join(plain, " ")}
		}
		r.System.Version = w.partBack(args["system"], verify.ClassSystem)
		if g := args["greenlight"]; g != "" {
			r.System.Version.Rules.Greenlight = g
		}
		if code := args["system-code"]; code != "" {
			r.System.Code, r.System.Why = code, strings.Join(plain, " ")
		}
		r.Runtime.Version = w.partBack(args["programs"], verify.ClassRuntime)
		w.returns = &r
	case "crashes": // crashes 20s: the permanent app is started, runs for so long, and ends
		ran, err := time.ParseDuration(plain[0])
		if err != nil {
			return err
		}
		return w.crashes(ran, slices.Contains(plain, "quietly"))
	case "crash-loop": // until the device has had enough
		for range 5 {
			if err := w.crashes(time.Second, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// crashes waits until the permanent app is started, and ends it.
func (w *world) crashes(ran time.Duration, quietly bool) error {
	i := index(w.state.Permanent.Slot)
	for range 100 {
		if now := w.state.Apps[i].Status; now == agent.AppStarting || now == agent.AppRunning {
			break
		}
		if err := w.wait(time.Second); err != nil {
			return err
		}
	}
	source := w.state.Apps[i].Source
	if w.state.Apps[i].Status == agent.AppStarting {
		w.alive[source] = 100
		w.step(agent.AppStarted{Source: source, PID: 100, At: w.now})
		w.step(agent.AppReady{Source: source})
	}
	if err := w.wait(ran); err != nil {
		return err
	}
	if quietly {
		w.log.Reset()
	}
	return w.command("exited " + string(source))
}

// partBack is a version of a system, or of programs, that was permanent before.
func (w *world) partBack(version, class string) agent.Version {
	if version == "" {
		return agent.Version{}
	}
	if version == "built-in" {
		v := agent.Version{Version: version, Rules: rules(), Runtime: agent.Part{Version: version, BuiltIn: true}}
		v.Rules.Greenlight = verify.GreenlightAuto
		return v
	}
	p := agent.Part{Digest: "digest-" + version, Version: version, Counter: counterOf(version)}
	v := agent.Version{Version: version, Digest: p.Digest, Counter: p.Counter, Rules: rules()}
	v.Rules.Greenlight = verify.GreenlightAuto
	if class == verify.ClassSystem {
		p.Slot = otherSlot(w.systems.running)
		p.Image = w.systems.content[p.Slot].Image
		v.System = p
		return v
	}
	p.Slot = otherSlot(w.programs.running)
	p.Image = w.programs.content[p.Slot].Image
	v.Runtime = p
	return v
}

func describeReturn(s agent.State) (out string) {
	if s.Trial.Return != "" {
		out += " return=" + s.Trial.Return
	}
	if app := s.Apps[max(0, index(s.Permanent.Slot))]; app.Barred != "" {
		out += fmt.Sprintf(" barred=%q", app.Barred)
	}
	return out
}
