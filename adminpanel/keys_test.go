package adminpanel_test

import (
	"testing"

	"github.com/chromedp/cdproto/input"
	cdp "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A long list is walked by keys alone on a panel as it is: row by row, to a name, to a place,
// and to the other pages; the address keeps where one was.
func TestKeysLeadThroughALongList(t *testing.T) {
	w := start(t, blank(filled(t, 1200)))
	p := w.as(browser(t), w.ann, "/devices")
	p.run(t, cdp.BringToFront())
	keys := func(list ...string) {
		t.Helper()
		for _, k := range list {
			p.run(t, chromedp.KeyEvent(k))
		}
	}
	// leads presses a key as a person does: what the page takes is typed nowhere.
	leads := func(key, to string) {
		t.Helper()
		p.run(t, input.DispatchKeyEvent(input.KeyDown).WithKey(key).WithText(key), input.DispatchKeyEvent(input.KeyUp).WithKey(key))
		p.until(t, "document.activeElement?.dataset.testid === '"+to+"' && !/["+key+"]/.test(document.activeElement.value)")
	}
	row := `document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.dataset.id`
	focus := `document.activeElement?.dataset.testid`
	at := func(id string) {
		t.Helper()
		p.until(t, row+" === '"+id+"'")
	}
	p.until(t, part("live")+".dataset.state === 'live' && "+part("jump"))
	keys("j", "j", "j") // the first leads to the list
	at("cam-000002")
	keys("k", "x")
	at("cam-000001")
	p.until(t, says("bulk", "1 selected"))
	keys(kb.Escape)
	p.until(t, "!"+part("bulk"))

	leads("J", "jump")
	p.run(t, chromedp.KeyEvent("cam-0007"+kb.Enter))
	at("cam-000700")
	p.until(t, says("place", "from number 701 of 1,200"))
	p.until(t, `document.querySelector('[data-id="cam-000700"]').getAttribute('aria-rowindex') === '702' && document.querySelector('[role="grid"]').getAttribute('aria-rowcount') === '1201'`)
	keys("j", "x")
	at("cam-000701")
	p.until(t, `document.querySelector('[aria-selected="true"]').dataset.id === 'cam-000701'`)
	keys(kb.Enter)
	p.until(t, "location.pathname === '/devices/cam-000701'")
	p.run(t, chromedp.Evaluate("history.back()", nil))
	p.until(t, says("place", "from number 701 of 1,200"))
	p.run(t, cdp.Reload())
	p.until(t, says("place", "from number 701 of 1,200"))
	p.until(t, part("live")+".dataset.state === 'live'")

	leads("J", "jump")
	p.run(t, chromedp.KeyEvent("#1199"+kb.Enter))
	at("cam-001198")
	p.until(t, `document.querySelectorAll('.gridbody [role="row"]').length === 2`)
	leads("J", "jump")
	p.run(t, chromedp.KeyEvent("zoo"+kb.Enter))
	p.until(t, says("place", "no device comes there or after"))
	p.press(t, "jump-first")
	at("cam-000000")

	leads("/", "selector")
	keys(kb.Escape)
	p.until(t, focus+" !== 'selector'")
	keys("g", "v")
	p.until(t, "location.pathname === '/versions' && "+part("sum"))
	keys("?")
	p.until(t, "document.querySelector('dialog[open]')?.innerText.includes('jump to a name')")
	keys(kb.Escape)
	p.until(t, "!document.querySelector('dialog')")
	keys("g", "d")
	p.until(t, "location.pathname === '/devices'")
	if said := p.complaints.all(); said != "" {
		t.Errorf("the browser complains:\n%s", said)
	}
}
