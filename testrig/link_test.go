package testrig_test

import (
	"fmt"
	"strings"
	"testing"

	"slipstream/adminpanel/client"
	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/testrig/device"
)

// slowly is kbit/s at which a package of the sample camera takes seconds.
const slowly = 4000

// Panel and agent are killed, one after the other, while a package comes by their
// link. Each finds the other again by itself, asked again the device goes on where it
// was, and what it runs meanwhile nobody touches.
func TestALinkOutlivesBothItsEnds(t *testing.T) {
	r := newRig(t) // for its keys
	panel, err := device.StartPanel(r.ctx, r.bin, r.dir, "", r.trust)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { panel.Stop() })
	token, err := panel.Enrolment(r.ctx, "cam-1")
	if err != nil {
		t.Fatal(err)
	}
	d, err := device.Start(r.ctx, device.Config{
		Name: "cam-1", Bin: r.bin, Trust: r.trust, PanelURL: panel.Link, PanelToken: token, Fetch: config.Fetch{MaxKbps: slowly},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(d.Logs())
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	if r := d.Client.Enroll(r.ctx, control.EnrollRequest{Panel: panel.Link, Token: "slipstream_AAAAAAAA_" + strings.Repeat("A", 26)}); r.Exit == control.ExitDone {
		t.Errorf("a token that nobody made: %+v", r)
	}
	cam := &rig{Device: d, t: t, ctx: r.ctx, bin: r.bin, dir: r.dir, key: r.key, counter: r.counter}
	cam.mustBecome(cam.build(release("1.0")))
	if err := panel.WaitOnline(r.ctx, "cam-1"); err != nil {
		t.Fatal(err)
	}
	for _, kill := range []struct {
		what, version string
		it            func() error
	}{
		{"panel", "2.0", func() error { panel.Kill(); return panel.Start(r.ctx) }},
		{"agent", "3.0", func() error { return firstError(d.KillAgent, func() error { return d.StartAgent(r.ctx) }) }},
	} {
		id, err := panel.Upload(r.ctx, cam.build(release(kill.version)))
		if err != nil {
			t.Fatal(err)
		}
		cam.beginStage(panel, id)
		if err := kill.it(); err != nil {
			t.Fatalf("kill the %s: %v", kill.what, err)
		}
		if err := panel.WaitOnline(r.ctx, "cam-1"); err != nil {
			t.Fatalf("after the %s was killed: %v", kill.what, err)
		}
		// What a killed panel had asked for goes on without it.
		s, err := d.WaitStatus(r.ctx, "the end of what was under way", func(s control.Status) bool { return s.Staging == nil })
		if err != nil || s.Permanent != "1.0.0" {
			t.Fatalf("after the %s was killed %q is permanent, %v", kill.what, s.Permanent, err)
		}
		if got := panel.Stage(r.ctx, "cam-1", id); got.Exit != control.ExitDone && got.Code != control.CodeAlreadyStaged {
			t.Fatalf("stage again after the %s was killed: %+v", kill.what, got)
		}
	}
	if got := d.Client.Activate(r.ctx, control.ActivateRequest{Wait: true}); got.Exit != control.ExitDone {
		t.Errorf("activate: %+v", got)
	}
}

// beginStage asks for a stage by the panel, and returns when some of it has come.
func (r *rig) beginStage(panel *device.Panel, release string) {
	r.t.Helper()
	if _, err := panel.Ask(r.ctx, "cam-1", client.Wish{Verb: client.Stage, Release: release}); err != nil {
		r.t.Fatal(err)
	}
	some := func(s control.Status) bool { return s.Staging != nil && s.Staging.Done > 0 }
	if _, err := r.WaitStatus(r.ctx, fmt.Sprintf("some of %s", release), some); err != nil {
		r.t.Fatal(err)
	}
}

// firstError does one after the other, until one fails.
func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
