package adminpanel_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"slipstream/adminpanel/view"
)

// page is the panel's page in a tab.
type page struct {
	tab        context.Context
	complaints *complaints
}

func openPage(t *testing.T, browser context.Context, url string) page {
	t.Helper()
	p := blankPage(t, browser)
	p.run(t, chromedp.Navigate(url))
	return p
}

func blankPage(t *testing.T, browser context.Context) page {
	t.Helper()
	tab, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := page{tab, listen(tab)}
	if err := chromedp.Run(tab); err != nil { // the tab lasts as long as the context of its first use
		t.Fatal(err)
	}
	p.run(t, chromedp.EmulateViewport(1280, 900))
	return p
}

func (p page) run(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.tab, 2*patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		p.lost(t, err)
	}
}

func (p page) lost(t *testing.T, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.tab, 10*time.Second)
	defer cancel()
	var text string
	if again := chromedp.Run(ctx, chromedp.Evaluate("document.body.innerText", &text)); again != nil {
		t.Log(again)
	}
	t.Fatalf("%v\nthe page says:\n%s\nthe browser says:\n%s", err, text, p.complaints.all())
}

// until waits until a condition in the page holds.
func (p page) until(t *testing.T, condition string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.tab, 2*patience)
	defer cancel()
	tried := "(() => { try { return Boolean(" + condition + ") } catch { return false } })()"
	err := chromedp.Run(ctx, chromedp.Poll(tried, nil, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(0)))
	for err != nil && ctx.Err() == nil && strings.Contains(err.Error(), "context") { // another document came in between
		err = chromedp.Run(ctx, chromedp.Poll(tried, nil, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(0)))
	}
	if err != nil {
		p.lost(t, fmt.Errorf("never came true: %s: %w", condition, err))
	}
}

func part(name string) string { return `document.querySelector('[data-testid="` + name + `"]')` }

// press waits until a button may be pressed, and presses it.
func (p page) press(t *testing.T, button string) {
	t.Helper()
	p.until(t, part(button)+" && "+part(button)+".getAttribute('aria-disabled') !== 'true' && !"+part(button)+".disabled")
	p.run(t, chromedp.Evaluate(part(button)+".click()", nil))
}

func says(name, text string) string {
	return part(name) + ".textContent.includes(" + fmt.Sprintf("%q", text) + ")"
}

// Somebody sets a new panel up at its page, brings a release to a device, confirms it, tries
// another one and takes it back, while the picture goes on.
func TestFromASetupTokenToARevert(t *testing.T) {
	w := launch(t, blank(t.TempDir()))
	token, err := w.panel.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := browser(t)
	camera := newCamera(t, b) // before the page: what is opened last is what somebody sees
	p := openPage(t, b, w.url+"/setup?token="+token)
	p.run(t, chromedp.WaitVisible(`[data-testid="setup-name"]`), chromedp.SendKeys(`[data-testid="setup-name"]`, "ann"),
		chromedp.SendKeys(`[data-testid="setup-password"]`, annPassword))
	p.press(t, "setup-make")
	p.until(t, part("step-admin")+".dataset.done === 'true'")

	w.login()
	s := w.device("cam-1", camera.answer)
	key := newKey(t)
	two, three := w.upload(build(t, key, "2.0.0", 2)), w.upload(build(t, key, "3.0.0", 3))
	p.run(t, chromedp.Navigate(w.url+"/devices/cam-1"))
	p.until(t, "slipstream.players[0].state === 'playing' && slipstream.players[0].frames > 10")
	p.run(t, chromedp.Evaluate("globalThis.before = document.querySelector('video'); 0", nil))

	p.stage(t, two)
	p.until(t, part("slot-b")+".dataset.state === 'staged' && "+says("slot-b", "2.0.0"))
	p.press(t, "activate")
	p.until(t, part("trial")+" && "+part("slot-b")+".dataset.state === 'trial'")
	p.press(t, "confirm")
	p.until(t, part("slot-b")+".dataset.state === 'permanent' && "+part("slot-a")+".dataset.state === 'previous'")
	p.stage(t, three)
	p.until(t, part("slot-a")+".dataset.state === 'staged' && "+says("slot-a", "3.0.0"))
	p.press(t, "activate")
	p.until(t, part("slot-a")+".dataset.state === 'trial'")
	p.press(t, "revert")
	p.press(t, "revert-yes")
	p.until(t, part("slot-a")+".dataset.state === 'reverted' && "+part("slot-b")+".dataset.state === 'permanent'")
	p.until(t, "document.querySelectorAll('.timeline li').length === 3")
	screenshot(t, p.tab, "device")

	want := []string{"whep main", "stage 2.0.0", "activate", "greenlight", "stage 3.0.0", "activate", "revert"}
	if got := s.Asked(); !slices.Equal(got, want) {
		t.Errorf("the device was asked %q, want %q", got, want)
	}
	p.until(t, "before.isConnected && slipstream.players.length === 1 && slipstream.players[0].connects === 1 && slipstream.players[0].state === 'playing'")
	if said := p.complaints.all(); said != "" {
		t.Errorf("the browser complains:\n%s", said)
	}
}

// stage picks a release in the dialog.
func (p page) stage(t *testing.T, r view.Release) {
	t.Helper()
	p.press(t, "stage")
	p.until(t, part("stage-release")+".options.length > 1")
	p.run(t, chromedp.SetValue(`[data-testid="stage-release"]`, r.ID),
		chromedp.Evaluate(part("stage-release")+".dispatchEvent(new Event('change', {bubbles: true}))", nil))
	p.press(t, "stage-yes")
}

// The picture outlives the panel: the page says that the panel is away, and finds it again.
func TestThePagePlaysOnWithoutItsPanel(t *testing.T) {
	cfg := blank(t.TempDir())
	w := start(t, cfg)
	b := browser(t)
	w.device("cam-1", newCamera(t, b).answer)
	p := openPage(t, b, w.url+"/devices/cam-1")
	p.run(t, chromedp.WaitVisible(`[data-testid="login-name"]`), chromedp.SendKeys(`[data-testid="login-name"]`, "ann"),
		chromedp.SendKeys(`[data-testid="login-password"]`, annPassword))
	p.press(t, "login")
	p.until(t, "slipstream.players[0].state === 'playing' && slipstream.players[0].frames > 10")
	cfg.Listen, cfg.Devices = w.url[len("http://"):], w.link[len("https://"):]
	w.stop()
	p.until(t, "document.body.textContent.includes('panel does not answer')")
	p.run(t, chromedp.Evaluate("globalThis.then = slipstream.players[0].frames; 0", nil))
	p.until(t, "slipstream.players[0].frames > then + 30")
	launch(t, cfg)
	p.until(t, "!document.body.textContent.includes('panel does not answer')")
	p.until(t, "slipstream.players[0].connects === 1 && slipstream.players[0].state === 'playing'")
}
