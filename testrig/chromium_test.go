package testrig_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"slipstream/adminpanel/client"
	"slipstream/agent/control"
	"slipstream/testrig/camera"
	"slipstream/testrig/clients"
	"slipstream/testrig/device"
)

// browser is headless Chromium with one tab.
func browser(t *testing.T, ctx context.Context, options ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	tab, stop, err := clients.Browser(ctx, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Log(err)
		}
	})
	return tab
}

// tiles is an expression of the videos of two devices' tiles, by their names.
const tiles = "Object.fromEntries(['cam-1','control'].map(id => [id, document.querySelector(`[data-testid=tile][data-device=\"${id}\"] video`)]))"

// A person watches the panel's page in Chromium through an update that another one brings and
// confirms there, one that is taken back, one that fails, and a power cut, beside a device that
// nobody touches.
func TestChromiumWatchesThePanel(t *testing.T) {
	r := newRig(t)
	panel, err := device.StartPanel(r.ctx, r.bin, r.dir, "", r.trust)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(panel.Stop)
	devices := map[string]*device.Device{}
	one := r.build(small(release("1.0")))
	for _, name := range []string{"cam-1", "control"} {
		token, err := panel.Enrolment(r.ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := device.Start(r.ctx, device.Config{Name: name, Bin: r.bin, Trust: r.trust, PanelURL: panel.Link, PanelToken: token})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		devices[name] = d
		(&rig{Device: d, t: t, ctx: r.ctx}).mustBecome(one)
	}
	tab := browser(t, r.ctx)
	countDecoded(t, tab)
	signIn(t, tab, panel)
	plays(t, tab)
	cam := &rig{Device: devices["cam-1"], t: t, ctx: r.ctx, bin: r.bin, dir: r.dir, key: r.key, counter: r.counter}
	cam.isWatched(map[string]int{"main": 0, "sub": 1}) // walls take a small stream where there is one

	shows(t, tab, `.slotname`, "A")
	rec := cam.seen(tab, "update", func() control.Record {
		cam.bringsBy(tab, panel, "2.0", "B")
		cam.asks(panel, client.Confirm)
		return *cam.permanent("2.0.0").Last
	})
	if rec.Outcome != control.OutcomePermanent {
		t.Errorf("2.0: %+v", rec)
	}
	rec = cam.seen(tab, "revert by a person", func() control.Record {
		cam.bringsBy(tab, panel, "3.0", "A")
		cam.asks(panel, client.Revert)
		return *cam.permanent("2.0.0").Last
	})
	if rec.Outcome != control.OutcomeReverted {
		t.Errorf("3.0: %+v", rec)
	}
	shows(t, tab, `.slotname`, "B")
	four := small(release("4.0"))
	four.Greenlight = camera.Greenlight{By: "never"}
	four.Fault = camera.Fault{Kind: camera.FaultSEGV, AfterMS: 2000}
	rec = cam.seen(tab, "revert", func() control.Record { return cam.install(cam.build(four)) })
	if rec.Outcome != control.OutcomeReverted {
		t.Errorf("4.0: %+v", rec)
	}
	decodes(t, tab)
	for id, n := range connects(t, tab) {
		if n != 1 {
			t.Errorf("%s: %d peer connections", id, n)
		}
	}
	cam.losesPower(tab)
	if err := chromedp.Run(tab, chromedp.Click(`[data-testid=tile][data-device=cam-1] figcaption a`)); err != nil {
		t.Fatal(err)
	}
	cam.isWatched(map[string]int{"main": 1, "sub": 0}) // at its own page
}

// isWatched waits until the device has these viewers of its streams.
func (r *rig) isWatched(want map[string]int) {
	r.t.Helper()
	if _, err := r.WaitStatus(r.ctx, fmt.Sprintf("viewers %v", want), func(s control.Status) bool {
		got := map[string]int{}
		for _, stream := range s.Streams {
			got[stream.Name] = stream.Viewers
		}
		return maps.Equal(got, want)
	}); err != nil {
		r.t.Fatal(err)
	}
}

// signIn opens the panel's wall.
func signIn(t *testing.T, tab context.Context, panel *device.Panel) {
	t.Helper()
	if err := chromedp.Run(tab,
		chromedp.EmulateViewport(1280, 1000),
		chromedp.Navigate(panel.URL+"/wall"),
		chromedp.WaitVisible(`[data-testid="login-name"]`),
		chromedp.SendKeys(`[data-testid="login-name"]`, panel.Name),
		chromedp.SendKeys(`[data-testid="login-password"]`, panel.Password),
		chromedp.Click(`[data-testid="login"]`),
	); err != nil {
		t.Fatalf("sign in: %v", err)
	}
}

// plays waits until the wall plays both devices, and notes from then on what is seen.
func plays(t *testing.T, tab context.Context) {
	t.Helper()
	var ready bool
	if err := chromedp.Run(tab,
		chromedp.Poll(`window.slipstream && ['cam-1','control'].every(id => slipstream.players.some(p => p.device === id && p.frames > 30))`,
			&ready, chromedp.WithPollingTimeout(2*time.Minute)),
		clients.Note(tiles),
	); err != nil {
		var now string
		_ = chromedp.Run(tab, chromedp.Evaluate(`JSON.stringify(window.slipstream?.players ?? document.body.innerText)`, &now))
		t.Fatalf("the page does not play both devices: %v; %s", err, now)
	}
}

// connects is how often each tile has begun a connection.
func connects(t *testing.T, tab context.Context) (n map[string]int) {
	t.Helper()
	if err := chromedp.Run(tab, chromedp.Evaluate(`Object.fromEntries(slipstream.players.map(p => [p.device, p.connects]))`, &n)); err != nil {
		t.Fatal(err)
	}
	return n
}

// seen does something to the device and judges what Chromium presented
// meanwhile, a second before and after included. The machine may stall; the
// control tile stalls with it.
func (r *rig) seen(tab context.Context, what string, do func() control.Record) control.Record {
	r.t.Helper()
	const settle = time.Second
	var from float64
	if err := chromedp.Run(tab, chromedp.Evaluate(`performance.now()`, &from), chromedp.Sleep(settle)); err != nil {
		r.t.Fatal(err)
	}
	rec := do()
	if err := chromedp.Run(tab, chromedp.Sleep(settle)); err != nil {
		r.t.Fatal(err)
	}
	all, err := clients.PresentedSince(tab, from)
	if err != nil {
		r.t.Fatal(err)
	}
	cam, ctl := all["cam-1"], all["control"]
	jump := 0.0
	if rec.Proof != nil {
		for _, s := range append(rec.Proof.Switch, rec.Proof.Revert...) {
			jump = max(jump, s.ContentJumpMS)
		}
	}
	const frame = 1000.0 / camera.FrameRate
	r.t.Logf("%s: gap %.0f ms, control %.0f ms; picture back by %d frames, the forwarder says %.0f ms; %d pictures, %d unreadable",
		what, cam.LongestGap(), ctl.LongestGap(), cam.WentBack(), jump, len(cam), cam.Unreadable())
	if len(cam) < 30 || cam.Unreadable() > len(cam)/10 {
		r.t.Errorf("%s: %d pictures, %d without a readable counter", what, len(cam), cam.Unreadable())
	}
	if gap, limit := cam.LongestGap(), ctl.LongestGap()+2.5*frame; gap > limit {
		r.t.Errorf("%s: %.0f ms without a picture, %.0f ms allowed", what, gap, limit)
	}
	if back := float64(cam.WentBack()) * frame; back > jump+frame/2 {
		r.t.Errorf("%s: the picture went back by %.0f ms, the forwarder says %.0f ms", what, back, jump)
	}
	return rec
}
