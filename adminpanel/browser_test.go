package adminpanel_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// browser is a Chromium with an empty profile, which chromedp makes and removes.
func browser(t *testing.T) context.Context {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("this test needs chromium: apt-get install chromium")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromium),
		chromedp.Flag("no-sandbox", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.Flag("disable-component-update", true),
		// Without names that hide them, the two ends of one machine meet at once.
		chromedp.Flag("disable-features", "site-per-process,Translate,WebRtcHideLocalIpsWithMdns"),
	)
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(alloc, chromedp.WithErrorf(func(string, ...any) {})) // of events that are newer than it
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil { // waits until it has ended
			t.Log(err)
		}
		cancel()
		cancelAlloc()
	})
	if err := chromedp.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// complaints gathers what the browser says on a tab's console: errors of
// scripts, of the network and of the page's policy.
type complaints struct {
	mu   sync.Mutex
	list []string
}

func listen(tab context.Context) *complaints {
	c := &complaints{}
	add := func(text string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.list = append(c.list, text)
	}
	chromedp.ListenTarget(tab, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			add("exception: " + ev.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if ev.Type == runtime.APITypeError || ev.Type == runtime.APITypeWarning {
				add(fmt.Sprintf("console: %s", ev.Args[0].Value))
			}
		case *log.EventEntryAdded:
			if ev.Entry.Source != log.SourceNetwork && (ev.Entry.Level == log.LevelError || ev.Entry.Level == log.LevelWarning) { // a 401 is how the page learns that nobody is signed in
				add("log: " + ev.Entry.Text + " " + ev.Entry.URL)
			}
		}
	})
	return c
}

func (c *complaints) all() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.list, "\n")
}

// camera is a tab that plays a device's gateway: it answers offers with a
// picture that changes 30 times a second. So a panel's tile has a true WebRTC
// sender without any of the device's own programs.
type camera struct{ tab context.Context }

const cameraPage = `
globalThis.canvas = Object.assign(document.createElement('canvas'), {width: 320, height: 180});
document.body.append(canvas);
globalThis.ctx = canvas.getContext('2d');
globalThis.n = 0;
globalThis.still = false;
globalThis.stream = canvas.captureStream(30);
setInterval(() => {
  if (still) return;
  n++;
  const sky = ctx.createLinearGradient(0, 0, 0, 180);
  sky.addColorStop(0, '#27496d'); sky.addColorStop(1, '#c9d6df');
  ctx.fillStyle = sky; ctx.fillRect(0, 0, 320, 180);
  ctx.fillStyle = '#3d5a45'; ctx.fillRect(0, 128, 320, 52);
  ctx.fillStyle = '#e8e3d3'; ctx.fillRect((n * 2) % 360 - 40, 112, 34, 16);
  ctx.fillStyle = '#fff'; ctx.font = '14px monospace'; ctx.fillText('frame ' + n, 10, 22);
}, 33);
globalThis.answer = async (sdp) => {
  const pc = new RTCPeerConnection();
  (globalThis.pcs ||= []).push(pc);
  await pc.setRemoteDescription({type: 'offer', sdp});
  pc.addTrack(stream.getVideoTracks()[0], stream);
  await pc.setLocalDescription();
  await new Promise((done) => {
    if (pc.iceGatheringState === 'complete') return done();
    pc.onicegatheringstatechange = () => { if (pc.iceGatheringState === 'complete') done(); };
  });
  return pc.localDescription.sdp;
};
true`

func newCamera(t *testing.T, browser context.Context) camera {
	t.Helper()
	tab, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	var ok bool
	if err := chromedp.Run(tab, chromedp.Navigate("about:blank"), chromedp.Evaluate(cameraPage, &ok)); err != nil {
		t.Fatal(err)
	}
	return camera{tab}
}

func (c camera) answer(_ context.Context, offer string) (string, error) {
	var sdp string
	err := chromedp.Run(c.tab, chromedp.Evaluate(fmt.Sprintf("answer(%q)", offer), &sdp, awaited))
	return sdp, err
}

func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// screenshots go where SLIPSTREAM_SCREENSHOTS says, for people to look at.
func screenshot(t *testing.T, tab context.Context, name string) {
	t.Helper()
	dir := os.Getenv("SLIPSTREAM_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	var png []byte
	err := chromedp.Run(tab, target.ActivateTarget(chromedp.FromContext(tab).Target.TargetID), chromedp.FullScreenshot(&png, 100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
