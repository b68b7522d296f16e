package testrig_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/control"
	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/device"
	"slipstream/testrig/viewer"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// withPrograms packs programs of Slipstream beside a camera.
func (r *rig) withPrograms(rel device.Release, wrong map[string]string) string {
	r.t.Helper()
	rel.With = []pack.Source{r.programFiles(wrong)}
	return r.build(rel)
}

// killsAgent kills the agent that runs; what has started it starts another one.
func (r *rig) killsAgent() {
	r.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(string(readFile(r.t, filepath.Join(r.Config.Run, "agent.pid")))))
	if err == nil {
		err = unix.Kill(pid, unix.SIGKILL)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// An app and programs of Slipstream in one package have one trial: both become permanent,
// and both are taken back, while people watch.
func TestProgramsWithAnApp(t *testing.T) {
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
	built := r.settles(mustStatus(r).Agent, "").Agent
	from := publish.Monotonic()

	if rec := r.tries(r.withPrograms(release("2.0"), nil)); rec.Outcome != control.OutcomePermanent || rec.Class != verify.ClassRuntime || rec.From != "1.0.0" {
		t.Fatalf("history: %+v", rec)
	}
	r.settles("2.0.0", "a/root/")
	r.sees(v, "2.0", publish.Monotonic())
	r.agrees("2.0.0")

	// At rest both are returned from, to what came with the device.
	r.returns()
	s := r.settles(built, "")
	if len(s.Runtimes) != 2 || s.Runtimes[0].Running || s.Runtimes[1].Running || s.Last == nil || s.Last.To != "2.0.0" || s.Last.Outcome != control.OutcomeReverted {
		t.Errorf("after the return: %+v, %+v", s.Runtimes, s.Last)
	}
	r.sees(v, "1.0", publish.Monotonic())
	r.sees(rtsp, "1.0", publish.Monotonic())
	r.agrees("1.0.0")

	crashes := release("3.0")
	crashes.Greenlight = camera.Greenlight{By: "never"}
	for _, row := range []struct {
		name   string
		camera device.Release
		wrong  map[string]string
		reason string
		do     func()
	}{
		{"its app is killed", crashes, nil, "exit", func() { crash(t, r.app("b")) }},
		{"its agent is killed", crashes, nil, "start", r.killsAgent},
		{"an operator ends it", crashes, nil, "operator", func() { r.Client.Revert(r.ctx) }},
		{"its agent ends", release("3.0"), map[string]string{"slipstream": "exit 1"}, "start", nil},
		{"its forwarder never sends", release("3.0"), map[string]string{"slipstream-forward": "exec sleep 1000"}, "start", nil},
	} {
		ends := r.begins(r.withPrograms(row.camera, row.wrong))
		if row.do != nil {
			r.showsTrial("a/root/")
			row.do()
		}
		if rec := ends(); rec.Outcome != control.OutcomeReverted || rec.Reason != row.reason {
			t.Errorf("%s: %+v", row.name, rec)
		}
		r.settles(built, "")
		r.sees(v, "1.0", publish.Monotonic())
		r.agrees("1.0.0")
	}
	r.sees(rtsp, "1.0", publish.Monotonic())
	to := publish.Monotonic()
	clean(t, v, from, to)
	clean(t, rtsp, from, to)
}

// returns begins the way back, once the app of the version before has ended.
func (r *rig) returns() {
	r.t.Helper()
	for {
		res := r.Client.Return(r.ctx, control.ReturnRequest{})
		if res.Exit == control.ExitDone {
			return
		}
		if res.Code != control.CodeBusy {
			r.t.Fatalf("return: %+v", res)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-r.ctx.Done():
			r.t.Fatalf("return: %+v", res)
		}
	}
}

// showsTrial waits until viewers see the version on trial, by programs of a slot.
func (r *rig) showsTrial(dir string) {
	r.t.Helper()
	for {
		s, err := r.Client.Status(r.ctx)
		if err == nil && s.Trial != nil && !s.Trial.TookOver.IsZero() && r.runs("gateway") == dir+"slipstream-gateway" {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-r.ctx.Done():
			r.t.Fatalf("not on trial: %+v", s)
		}
	}
}
