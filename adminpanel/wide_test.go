package adminpanel_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/heapprofiler"
	cdp "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
)

var manyDevices = flag.Int("pages.devices", 12_345, "devices of the fleet whose page is opened")

// filled is a panel's directory with devices that have never called; every fifth is of ring 1.
func filled(t *testing.T, n int) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "panel")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	s := must(bolt.Open(filepath.Join(data, "store.db")))
	var ops []store.Op
	for i := range n {
		r := fleet.Record{
			ID: fmt.Sprintf("cam-%06d", i), Name: fmt.Sprint("Camera ", i), Site: fmt.Sprintf("Site %d", i%400), Tags: []string{fmt.Sprintf("ring=%d", i%5)},
			Key: strings.Repeat("0", 64), Serial: fmt.Sprint(i), Enrolled: time.Now().UTC(), Product: "sample-camera", Hardware: "rig", Away: true, LastSeen: time.Now().UTC(),
			Settled: fleet.Settled{Running: fmt.Sprintf("1.%d.0", i%10), Slot: "a", Previous: "1.0.0"},
		}
		if ops = append(ops, store.Op{Key: "d/" + r.ID, Value: must(json.Marshal(r))}); len(ops) == store.MaxOps || i == n-1 {
			must(s.Commit(t.Context(), nil, ops))
			ops = ops[:0]
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return data
}

// watched notes when the first rows are there, and what the page sends.
const watched = `globalThis.sent = [];
	const real = fetch;
	globalThis.fetch = (url, o = {}) => { sent.push({method: o.method ?? 'GET', url: String(url), body: String(o.body ?? '')}); return real(url, o); };
	globalThis.rowsAt = 0;
	new MutationObserver(() => { if (!rowsAt && document.querySelector('.gridbody [role=row]')) rowsAt = performance.now(); }).observe(document, {childList: true, subtree: true});`

// filter types a filter and takes the time until the page says what it found.
const filter = `new Promise((done) => {
	const box = document.querySelector('[data-testid="selector"]'), total = document.querySelector('[data-testid="total"]');
	new MutationObserver(() => { if (total.innerText.includes('meet')) done(performance.now() - began); }).observe(total, {childList: true, subtree: true, characterData: true});
	box.value = 'tag:ring=1';
	box.dispatchEvent(new Event('input', {bubbles: true}));
	const began = performance.now();
	box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));
})`

// sent finds what the page has sent by a method to addresses that match.
func sent(method, url string) string {
	return fmt.Sprintf(`sent.filter(s => s.method === %q && /%s/.test(s.url))`, method, url)
}

// The page of a fleet that is far longer than a screen: it has few rows and asks once; what
// devices do moves nothing that somebody has in hand; and all that meet a filter are meant by
// the filter, in one request.
func TestThePageOfALargeFleet(t *testing.T) {
	n := *manyDevices
	w := start(t, blank(filled(t, n)))
	release := w.upload(build(t, newKey(t), "2.0.0", 2))
	near := w.crew(simulate.Config{Devices: 3, Prefix: "aa"})
	w.linked(3)
	p := w.as(browser(t), w.ann, "/assets/icon.svg")
	p.run(t, chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := cdp.AddScriptToEvaluateOnNewDocument(watched).Do(ctx)
		return err
	}), performance.Enable(), chromedp.Navigate(w.url+"/devices"))
	p.until(t, "rowsAt > 0 && "+part("live")+".dataset.state === 'live'")
	p.counts(t, 1, sent("GET", `devices\?`))
	p.counts(t, n+4, `+document.querySelector('[role="grid"]').getAttribute('aria-rowcount')`)
	if rows := p.number(t, `document.querySelectorAll('[role="grid"] [role="row"]').length`); rows < 10 || rows > 100 {
		t.Errorf("the page has %v rows", rows)
	}
	t.Logf("%d devices: first paint after %.0f ms, rows after %.0f ms", n, p.number(t, `performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1`), p.number(t, "rowsAt"))

	p.run(t, chromedp.Focus(`[role="grid"]`), chromedp.KeyEvent("j"), chromedp.KeyEvent("x"), chromedp.Evaluate(`document.querySelector('[role="grid"]').scrollTop = 120`, nil))
	p.until(t, says("bulk", "1 selected"))
	held := `document.activeElement.getAttribute('role') + document.activeElement.getAttribute('aria-activedescendant') + document.querySelector('[role="grid"]').scrollTop + document.querySelector('[aria-selected="true"]').dataset.id`
	before := p.say(t, held)
	for _, d := range near.Devices() {
		shows(d, "8.0.0")
	}
	p.until(t, `['aa-00000', 'aa-00001', 'aa-00002'].every(id => document.querySelector('[data-id="' + id + '"] .c4').innerText === '8.0.0')`)
	if after := p.say(t, held); after != before {
		t.Errorf("what devices did moved %q to %q", before, after)
	}

	p.run(t, chromedp.Evaluate("sent.length = 0", nil))
	var took float64
	p.run(t, chromedp.Evaluate(filter, &took, awaited))
	p.counts(t, 1, sent("GET", `devices\?`))
	t.Logf("a filter is answered on the page after %.0f ms", took)
	p.heap(t)
	meet := fmt.Sprintf("%s devices", comma((n+3)/5))
	p.until(t, says("total", meet))
	p.until(t, `document.querySelector('.gridbody [role="row"]')`)
	p.run(t, chromedp.Focus(`[role="grid"]`), chromedp.KeyEvent("j"), chromedp.KeyEvent("x"))
	p.press(t, "select-all")
	p.press(t, "bulk-rollout")
	p.until(t, part("plan-release")+".options.length > 1")
	p.run(t, chromedp.SetValue(`[data-testid="plan-release"]`, release.ID),
		chromedp.Evaluate(part("plan-release")+".dispatchEvent(new Event('change', {bubbles: true}))", nil))
	p.until(t, says("preview", meet))
	p.press(t, "plan-make")
	p.until(t, part("waves"))
	p.counts(t, 1, sent("POST", "rollouts$"))
	if plan := p.say(t, sent("POST", "rollouts$")+"[0].body"); !strings.Contains(plan, `"selector":"tag:ring=1"`) || strings.Contains(plan, "cam-0") {
		t.Errorf("the plan is %s", plan)
	}
}

// heap says what the page keeps in memory.
func (p page) heap(t *testing.T) {
	t.Helper()
	p.run(t, heapprofiler.CollectGarbage(), chromedp.ActionFunc(func(ctx context.Context) error {
		figures, err := performance.GetMetrics().Do(ctx)
		for _, f := range figures {
			if f.Name == "JSHeapUsedSize" {
				t.Logf("the page keeps %.1f MB", f.Value/1e6)
			}
		}
		return err
	}))
}

func (p page) number(t *testing.T, expr string) (n float64) {
	t.Helper()
	p.run(t, chromedp.Evaluate(expr, &n))
	return n
}

// counts expects a number, or so many of a list.
func (p page) counts(t *testing.T, want int, expr string) {
	t.Helper()
	if got := p.number(t, fmt.Sprintf("(l => l.length ?? l)(%s)", expr)); int(got) != want {
		t.Errorf("%s is %v, not %d: %s", expr, got, want, p.say(t, "JSON.stringify("+expr+")"))
	}
}

// comma writes a number as pages do.
func comma(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", comma(n/1000), n%1000)
}
