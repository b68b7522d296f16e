package adminpanel_test

import (
	"context"
	"fmt"
	"testing"

	pages "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// countedConnections has a page's connections be counted, from its first script on.
const countedConnections = `
globalThis.connections = new Set();
const Real = RTCPeerConnection;
globalThis.RTCPeerConnection = class extends Real {
  constructor(...args) { super(...args); connections.add(this); }
  close() { connections.delete(this); super.close(); }
};`

// seenPlay is that those tiles play that can be seen, that there are connections for these
// and no others, and how many they are.
const seenPlay = `(() => {
  const tiles = [...document.querySelectorAll('[data-testid=tile]')];
  const seen = tiles.filter((t) => { const { top, bottom } = t.getBoundingClientRect(); return bottom > 0 && top < innerHeight; });
  const plays = (t) => t.dataset.state === 'playing';
  return seen.every(plays) && tiles.filter(plays).length === seen.length && connections.size === seen.length && seen.length;
})()`

// Of forty devices on a wall those play that can be seen, and nothing plays behind another
// tab. How the wall looks is in its address.
func TestAWallPlaysWhatIsSeen(t *testing.T) {
	w := start(t, blank(t.TempDir()))
	b := browser(t)
	camera := newCamera(t, b)
	const devices, seen = 40, 9
	for i := range devices {
		w.device(fmt.Sprintf("cam-%02d", i), camera.answer)
	}
	p := blankPage(t, b)
	p.run(t, chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := pages.AddScriptToEvaluateOnNewDocument(countedConnections).Do(ctx)
		return err
	}), chromedp.EmulateViewport(900, 400), chromedp.Navigate(w.url+"/wall?columns=3&kiosk=1"),
		chromedp.WaitVisible(`[data-testid="login-name"]`), chromedp.SendKeys(`[data-testid="login-name"]`, "ann"),
		chromedp.SendKeys(`[data-testid="login-password"]`, annPassword))
	p.press(t, "login")
	const tiles = "document.querySelectorAll('[data-testid=tile]')"
	p.until(t, fmt.Sprintf("%s.length === %d", tiles, devices))
	var rows int64 // of pixels that nine tiles take
	p.run(t, chromedp.Evaluate(fmt.Sprintf("Math.floor(%s[%d].getBoundingClientRect().top) - 1", tiles, seen), &rows))
	p.run(t, chromedp.EmulateViewport(900, rows))
	p.until(t, fmt.Sprintf("%s === %d", seenPlay, seen))

	p.run(t, chromedp.Evaluate(tiles+"[20].scrollIntoView({ block: 'center' })", nil))
	p.until(t, "slipstream.players.some(p => p.device === 'cam-20' && p.state === 'playing') && "+seenPlay+" >= 9")

	front, leave := chromedp.NewContext(b)
	if err := chromedp.Run(front, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	p.until(t, "document.visibilityState === 'hidden' && connections.size === 0 && slipstream.players.every(p => p.state === 'idle')")
	leave()
	p.run(t, target.ActivateTarget(chromedp.FromContext(p.tab).Target.TargetID))
	p.until(t, "document.visibilityState === 'visible' && "+seenPlay+" >= 9")

	p.run(t, chromedp.Reload())
	const columns = "getComputedStyle(" + `document.querySelector('[data-testid=wall]')` + ").gridTemplateColumns.split(' ').length"
	p.until(t, columns+" === 3 && !document.querySelector('form') && !document.querySelector('nav') && "+seenPlay+" === 9")
	p.run(t, chromedp.KeyEvent(kb.Escape))
	p.until(t, columns+" === 3 && document.querySelector('form') && location.search === '?columns=3'")
	p.run(t, chromedp.Navigate(w.url+"/wall?columns=2&q=id:cam-0*"))
	p.until(t, columns+" === 2 && "+tiles+".length === 10")
	if said := p.complaints.all(); said != "" {
		t.Errorf("the browser complains:\n%s", said)
	}
}
