//go:build npm

package uitest_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdp "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"slipstream/adminpanel/ui/uitest"
)

// axe judges every page by the rules of WCAG 2.2 AA that a program can judge.
const judge = `axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then(r =>
	r.violations.map(v => v.id + ': ' + v.help + ' — ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')).join(' | ')))`

func TestPagesAreForEverybody(t *testing.T) {
	axe, err := os.ReadFile("../node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("run npm ci in adminpanel/ui: %v", err)
	}
	data := uitest.Sample(200, time.Now())
	data.Me = nil
	login := open(t, data, "/devices")
	login.run(cdp.SetBypassCSP(true))
	judged(t, login, string(axe), "login", "/devices", `document.querySelector('[data-testid=login]')`)
	for _, scheme := range []string{"light", "dark"} {
		for _, path := range paths {
			p := open(t, uitest.Sample(200, time.Now()), "/audit")
			p.run(cdp.SetBypassCSP(true), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
			judged(t, p, string(axe), scheme, path, `document.querySelector('#main h1') && !document.querySelector('.waiting') && `+live)
		}
	}
}

func judged(t *testing.T, p *page, axe, what, path, ready string) {
	t.Helper()
	p.run(chromedp.Navigate(p.url + path))
	p.until(ready)
	var wrong []string
	p.run(chromedp.Evaluate(axe+"; true", nil), chromedp.Evaluate(judge, &wrong, func(e *runtime.EvaluateParams) *runtime.EvaluateParams { return e.WithAwaitPromise(true) }))
	for _, w := range wrong {
		t.Error(fmt.Sprint(what, " ", path, ": ", w))
	}
}
