package testrig_test

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"slipstream/agent/control"
	"slipstream/testrig/camera"
	"slipstream/testrig/device"
)

// browser is headless Chromium with one tab.
func browser(t *testing.T, ctx context.Context) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("this test needs chromium: apt-get install chromium")
	}
	alloc, cancelAlloc := chromedp.NewExecAllocator(ctx, append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.Flag("no-sandbox", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		// Without names that hide them, the two ends of one machine meet at once.
		chromedp.Flag("disable-features", "site-per-process,Translate,WebRtcHideLocalIpsWithMdns"),
	)...)
	tab, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		if err := chromedp.Cancel(tab); err != nil {
			t.Log(err)
		}
		cancel()
		cancelAlloc()
	})
	return tab
}

// watchPictures notes, for each device's tile, every picture that Chromium
// presents: when, and the counter that is drawn into it.
const watchPictures = `(ids => {
  window.pictures = {};
  for (const id of ids) {
    const video = document.querySelector('[data-testid="device-' + id + '"] video');
    const seen = window.pictures[id] = [];
    const canvas = new OffscreenCanvas(320, 180);
    const view = canvas.getContext('2d', { willReadFrequently: true });
    const note = (now) => {
      view.drawImage(video, 0, 0, 320, 180);
      const row = view.getImageData(0, 162, 320, 1).data;
      let n = 0, ones = 0;
      for (let i = 0; i < %d; i++) {
        const white = row[(32 * i + 16) * 4] >= 128 ? 1 : 0;
        ones += white;
        if (i < %d - 1) n = n * 2 + white;
      }
      seen.push([now, ones %% 2 === 1 ? n : -1]);
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  }
})(%s)`

// pictures is what one tile presented in a window of the page's time.
type pictures [][2]float64

// longestGap is the longest time in ms without a new picture.
func (p pictures) longestGap() (gap float64) {
	for i := 1; i < len(p); i++ {
		gap = max(gap, p[i][0]-p[i-1][0])
	}
	return gap
}

// wentBack is the largest step back of the counter, in frames.
func (p pictures) wentBack() (frames int) {
	last := -1
	for _, pic := range p {
		n := int(pic[1])
		if n < 0 {
			continue
		}
		if back := (last - n + camera.CounterModulo) % camera.CounterModulo; last >= 0 && back < camera.CounterModulo/2 {
			frames = max(frames, back)
		}
		last = n
	}
	return frames
}

func (p pictures) unreadable() (n int) {
	for _, pic := range p {
		if pic[1] < 0 {
			n++
		}
	}
	return n
}

// A person watches the panel's page in Chromium through a good update and a
// revert, beside a device that nobody touches.
func TestChromiumWatchesThePanel(t *testing.T) {
	r := newRig(t)
	panel, err := device.StartPanel(r.ctx, r.bin, r.dir, "", r.trust)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(panel.Stop)
	devices := map[string]*device.Device{}
	one := r.build(release("1.0"))
	for _, name := range []string{"cam-1", "control"} {
		token, err := panel.Token(r.ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := device.Start(r.ctx, device.Config{Name: name, Bin: r.bin, Trust: r.trust, PanelURL: panel.URL, PanelToken: token})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		devices[name] = d
		(&rig{Device: d, t: t, ctx: r.ctx}).mustBecome(one)
	}
	tab := browser(t, r.ctx)
	var ready bool
	if err := chromedp.Run(tab,
		chromedp.EmulateViewport(1280, 1000),
		chromedp.Navigate(panel.URL),
		chromedp.Poll(`window.slipstream && ['cam-1','control'].every(id => slipstream.tiles[id] && slipstream.tiles[id].presented > 30)`,
			&ready, chromedp.WithPollingTimeout(60*time.Second)),
		chromedp.Evaluate(fmt.Sprintf(watchPictures, camera.CounterBlocks, camera.CounterBlocks, `['cam-1','control']`), nil),
	); err != nil {
		t.Fatalf("the page does not play both devices: %v", err)
	}
	cam := &rig{Device: devices["cam-1"], t: t, ctx: r.ctx, bin: r.bin, dir: r.dir, key: r.key, counter: r.counter}

	rec := cam.seen(tab, "update", func() control.Record { return cam.install(cam.build(release("2.0"))) })
	if rec.Outcome != control.OutcomePermanent {
		t.Errorf("2.0: %+v", rec)
	}
	three := release("3.0")
	three.Greenlight = camera.Greenlight{By: "never"}
	three.Fault = camera.Fault{Kind: camera.FaultSEGV, AfterMS: 2000}
	rec = cam.seen(tab, "revert", func() control.Record { return cam.install(cam.build(three)) })
	if rec.Outcome != control.OutcomeReverted {
		t.Errorf("3.0: %+v", rec)
	}

	var connects, freezes map[string]int
	if err := chromedp.Run(tab,
		chromedp.Evaluate(`Object.fromEntries(Object.entries(slipstream.tiles).map(([id, t]) => [id, t.connects]))`, &connects),
		chromedp.Evaluate(`(async () => Object.fromEntries(await Promise.all(Object.entries(slipstream.tiles).map(
			async ([id, t]) => [id, (await t.stats()).freezeCount]))))()`, &freezes, awaitPromise),
	); err != nil {
		t.Fatal(err)
	}
	for id := range devices {
		if connects[id] != 1 {
			t.Errorf("%s: %d peer connections", id, connects[id])
		}
		if freezes[id] != 0 {
			t.Errorf("%s: %d freezes", id, freezes[id])
		}
	}
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
	var all map[string]pictures
	if err := chromedp.Run(tab, chromedp.Sleep(settle),
		chromedp.Evaluate(fmt.Sprintf(`Object.fromEntries(Object.entries(pictures).map(([id, p]) => [id, p.filter(f => f[0] >= %f)]))`, from), &all),
	); err != nil {
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
		what, cam.longestGap(), ctl.longestGap(), cam.wentBack(), jump, len(cam), cam.unreadable())
	if len(cam) < 30 || cam.unreadable() > len(cam)/10 {
		r.t.Errorf("%s: %d pictures, %d without a readable counter", what, len(cam), cam.unreadable())
	}
	if gap, limit := cam.longestGap(), ctl.longestGap()+2*frame; gap > limit {
		r.t.Errorf("%s: %.0f ms without a picture, %.0f ms allowed", what, gap, limit)
	}
	if back := float64(cam.wentBack()) * frame; back > jump+frame/2 {
		r.t.Errorf("%s: the picture went back by %.0f ms, the forwarder says %.0f ms", what, back, jump)
	}
	return rec
}

func awaitPromise(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
