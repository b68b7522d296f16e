package testrig_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/stream/publish"
	"slipstream/testrig/device"
	"slipstream/testrig/viewer"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// nextAgent is the agent in another version, built once.
var nextAgent = sync.OnceValues(func() (string, error) {
	bin, err := binaries()
	if err != nil {
		return "", err
	}
	path := filepath.Join(bin, "next", "slipstream")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X slipstream/agent.release=2.0.0", "-o", path, "slipstream/agent/cmd/slipstream")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// programs packs Slipstream's own programs; wrong are scripts in the place of some.
func (r *rig) programs(version string, deadline time.Duration, wrong map[string]string) string {
	r.t.Helper()
	return r.programsBy(verify.GreenlightAuto, version, deadline, wrong)
}

// programsBy lets somebody else than the agent give the greenlight.
func (r *rig) programsBy(greenlight, version string, deadline time.Duration, wrong map[string]string) string {
	r.t.Helper()
	r.counter++
	path, err := pack.BuildFile(r.ctx, r.t.TempDir(), pack.Options{
		Key: r.key, Images: []pack.Source{r.programFiles(wrong)},
		Manifest: verify.Manifest{
			Product: device.Product, Hardware: []string{device.Hardware}, Version: version, ReleaseCounter: r.counter,
			Trial: &verify.TrialTerms{Greenlight: greenlight, DeadlineMS: deadline.Milliseconds(), SoakMS: 300},
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return path
}

// programFiles is an image of Slipstream's own programs.
func (r *rig) programFiles(wrong map[string]string) pack.Source {
	r.t.Helper()
	next, err := nextAgent()
	if err != nil {
		r.t.Fatal(err)
	}
	dir, err := os.MkdirTemp(r.dir, "programs")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range []string{"slipstream", "slipstream-forward", "slipstream-gateway", "slipstream-ingest"} {
		from, script := filepath.Join(r.bin, name), wrong[name]
		if name == "slipstream" {
			from = next
		}
		if script != "" {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
			continue
		}
		err = errors.Join(err, os.Link(from, filepath.Join(dir, name)))
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return pack.Source{Class: verify.ClassRuntime, Kind: verify.KindTree, Path: dir}
}

// tries lets a package's trial run to its end, through all agents that it has.
func (r *rig) tries(path string) control.Record {
	r.t.Helper()
	return r.begins(path)()
}

// begins begins a trial, and returns what waits for its end.
func (r *rig) begins(path string) (ends func() control.Record) {
	r.t.Helper()
	r.stage(path)
	before := r.newest().Time
	if res := r.Client.Activate(r.ctx, control.ActivateRequest{Force: true}); res.Exit != control.ExitDone {
		r.t.Fatalf("activate: %+v", res)
	}
	return func() control.Record {
		r.t.Helper()
		for r.ctx.Err() == nil {
			if list, err := r.Client.History(r.ctx, 1); err == nil && len(list) > 0 && list[0].Time.After(before) {
				return list[0]
			}
			<-time.After(50 * time.Millisecond)
		}
		r.t.Fatal("the trial does not end")
		return control.Record{}
	}
}

// runs is the program of a process that the agent has recorded, without the device's path.
func (r *rig) runs(name string) string {
	r.t.Helper()
	for _, record := range []string{name, name + "-next"} {
		raw, err := os.ReadFile(filepath.Join(r.Config.Run, "proc", record+".json"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(raw), `"pid":`)
		pid, _, _ := strings.Cut(rest, ",")
		if exe, err := os.Readlink(filepath.Join("/proc", pid, "exe")); err == nil {
			return strings.TrimPrefix(strings.TrimPrefix(exe, r.Config.State+"/runtime/"), r.bin+"/")
		}
	}
	return ""
}

// settles waits until the agent and its daemons are of certain programs.
func (r *rig) settles(agent, dir string) control.Status {
	r.t.Helper()
	for {
		s, err := r.Client.Status(r.ctx)
		if err == nil && s.Agent == agent && s.Phase == "idle" && len(s.Problems) == 0 &&
			r.runs("forward") == dir+"slipstream-forward" && r.runs("gateway") == dir+"slipstream-gateway" {
			return s
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-r.ctx.Done():
			r.t.Fatalf("agent %s, phase %s, problems %q, forwarder %s, gateway %s; %v", s.Agent, s.Phase, s.Problems, r.runs("forward"), r.runs("gateway"), err)
		}
	}
}

// Slipstream's own programs are updated like anything else: nobody who watches notices.
func TestOwnProgramsAreUpdated(t *testing.T) {
	t.Parallel()
	r := newRigOf(t, device.Config{Name: "cam", Kept: true})
	r.mustBecome(r.build(release("1.0")))
	v := r.watch("1.0")
	rtsp, err := viewer.DialRTSP(r.ctx, viewer.RTSPTCP, r.RTSP("main"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rtsp.Close)
	r.sees(rtsp, "1.0", 0)
	first := r.settles(mustStatus(r).Agent, "")
	from, app := publish.Monotonic(), r.app("a")

	if rec := r.tries(r.programs("2.0.0", 30*time.Second, nil)); rec.Outcome != control.OutcomePermanent || rec.Class != verify.ClassRuntime || rec.From != "built-in" {
		t.Fatalf("history: %+v", rec)
	}
	s := r.settles("2.0.0", "a/root/")
	if len(s.Runtimes) != 2 || !s.Runtimes[0].Running || s.Runtimes[0].Version != "2.0.0" || s.Runtimes[0].State != control.StatePermanent {
		t.Errorf("runtime slots: %+v", s.Runtimes)
	}
	if rec := r.tries(r.programs("2.1.0", 30*time.Second, nil)); rec.Outcome != control.OutcomePermanent || rec.From != "2.0.0" {
		t.Fatalf("history: %+v", rec)
	}
	r.settles("2.0.0", "b/root/") // the agent says what it was built as
	if res := r.Client.Return(r.ctx, control.ReturnRequest{}); res.Exit != control.ExitDone {
		t.Fatalf("return: %+v", res)
	}
	r.settles("2.0.0", "a/root/")
	if h := r.newest(); h.Outcome != control.OutcomeReverted || h.To != "2.1.0" || h.Class != verify.ClassRuntime {
		t.Errorf("history: %+v", h)
	}
	r.sees(v, "1.0", publish.Monotonic())
	r.sees(rtsp, "1.0", publish.Monotonic())
	to := publish.Monotonic()
	clean(t, v, from, to)
	clean(t, rtsp, from, to)
	if now := r.app("a"); now != app || app == 0 {
		t.Errorf("the app was process %d and is %d", app, now)
	}

	// It holds when everything is started anew, and the app can be updated with it.
	if err := r.KillAll(); err != nil {
		t.Fatal(err)
	}
	if err := r.StartAgent(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.settles("2.0.0", "a/root/")
	r.mustBecome(r.build(release("3.0")))
	if first.Agent == "2.0.0" {
		t.Error("both agents say that they are the same")
	}
}

func mustStatus(r *rig) control.Status {
	r.t.Helper()
	s, err := r.Client.Status(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// Whatever is wrong with new programs, the ones before are back, and nobody who watches
// notices.
func TestBadProgramsAreReverted(t *testing.T) {
	t.Parallel()
	r := newRigOf(t, device.Config{Name: "cam", Kept: true})
	r.mustBecome(r.build(release("1.0")))
	v := r.watch("1.0")
	agent := r.settles(mustStatus(r).Agent, "").Agent
	from := publish.Monotonic()
	for _, row := range []struct {
		name     string
		deadline time.Duration
		wrong    map[string]string
		reason   string
		says     string
	}{
		{"a forwarder that never sends", time.Minute, map[string]string{"slipstream-forward": "exec sleep 1000"}, "start", "did not take over"},
		{"a forwarder that ends", time.Minute, map[string]string{"slipstream-forward": "exit 1"}, "start", "did not take over"},
		{"an agent that ends", time.Minute, map[string]string{"slipstream": "exit 1"}, "start", "the new agent ended"},
		{"an agent that cannot be executed", time.Minute, map[string]string{"slipstream": "\n"}, "start", "the new agent ended"},
		{"an agent that hangs", 6 * time.Second, map[string]string{"slipstream": "exec sleep 1000"}, "deadline", "was ended"},
		{"a gateway that ends", 12 * time.Second, map[string]string{"slipstream-gateway": "exit 1"}, "deadline", "gateway"},
	} {
		rec := r.tries(r.programs("2.0.0", row.deadline, row.wrong))
		if rec.Outcome != control.OutcomeReverted || rec.Reason != row.reason || !strings.Contains(rec.Detail, row.says) {
			t.Errorf("%s: %+v", row.name, rec)
		}
		r.settles(agent, "")
		r.sees(v, "1.0", publish.Monotonic())
	}
	clean(t, v, from, publish.Monotonic())
	if rec := r.tries(r.programs("2.0.1", 30*time.Second, nil)); rec.Outcome != control.OutcomePermanent {
		t.Errorf("a good one afterwards: %+v", rec)
	}
}

// Silence reverts programs as it does anything else: an agent on trial that is killed, and
// everything that ends at once. An operator's word makes them permanent.
func TestProgramsOnTrialThatAreKilled(t *testing.T) {
	t.Parallel()
	r := newRigOf(t, device.Config{Name: "cam", Kept: true})
	r.mustBecome(r.build(release("1.0")))
	agent := r.settles(mustStatus(r).Agent, "").Agent
	path := r.programsBy(verify.GreenlightOperator, "2.0.0", time.Minute, nil)
	onTrial := func() {
		r.t.Helper()
		r.stage(path)
		if res := r.Client.Activate(r.ctx, control.ActivateRequest{Force: true}); res.Exit != control.ExitDone {
			t.Fatalf("activate: %+v", res)
		}
		for {
			s, err := r.Client.Status(r.ctx)
			if err == nil && s.Agent == "2.0.0" && s.Trial != nil && !s.Trial.TookOver.IsZero() && r.runs("gateway") == "a/root/slipstream-gateway" {
				return
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-r.ctx.Done():
				t.Fatalf("not on trial: %+v", s)
			}
		}
	}

	onTrial()
	r.killsAgent()
	if s := mustSettle(r, agent); s.Last.Outcome != control.OutcomeReverted || s.Last.Reason != "start" {
		t.Fatalf("an agent that was killed: %+v", s.Last)
	}

	onTrial()
	if err := errors.Join(r.KillAll(), r.StartAgent(r.ctx)); err != nil {
		t.Fatal(err)
	}
	if s := mustSettle(r, agent); s.Last.Outcome != control.OutcomeReverted || s.Last.Reason != "forwarder" {
		t.Fatalf("everything was killed: %+v", s.Last)
	}

	onTrial()
	if res := r.Client.Greenlight(r.ctx); res.Exit != control.ExitDone {
		t.Errorf("greenlight: %+v", res)
	}
	r.settles("2.0.0", "a/root/")

	// From the first update of them the way leads back to those that were built in.
	if res := r.Client.Return(r.ctx, control.ReturnRequest{}); res.Exit != control.ExitDone {
		t.Fatalf("return: %+v", res)
	}
	r.settles(agent, "")
	if err := errors.Join(r.KillAll(), r.StartAgent(r.ctx)); err != nil {
		t.Fatal(err)
	}
	r.settles(agent, "")
	if res := r.Client.Stage(r.ctx, control.StageRequest{Path: path}); res.Exit != control.ExitRefused {
		t.Errorf("what was returned from: %+v", res)
	}
}

// mustSettle waits until the built-in programs run again, after a trial.
func mustSettle(r *rig, agent string) control.Status {
	r.t.Helper()
	s := r.settles(agent, "")
	if s.Last == nil {
		r.t.Fatal("no history")
	}
	return s
}
