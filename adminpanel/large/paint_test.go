package large_test

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// watchRows notes when the first device of the list is painted. It runs in each page before
// the page's own scripts.
const watchRows = `new MutationObserver((_, o) => {
  if (!globalThis.rowsAt && document.body?.innerText.includes('cam-0')) {
    o.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => { globalThis.rowsAt = performance.now(); }));
  }
}).observe(document, {childList: true, subtree: true, characterData: true})`

// seen is what a browser shows, by its own clock, in milliseconds from the navigation.
type seen struct {
	Paint float64 `json:"paint"` // first contentful paint
	Rows  float64 `json:"rows"`  // the devices are there
}

const tellSeen = `new Promise((done) => {
  const look = () => {
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    if (globalThis.rowsAt && paint) done({paint: paint.startTime, rows: globalThis.rowsAt});
    else setTimeout(look, 10);
  };
  look();
})`

const signInThere = `fetch('/api/v1/sessions', {method: 'POST', headers: {'Content-Type': 'application/json'},
  body: JSON.stringify({name: 'ann', password: %q})}).then((r) => r.status)`

// paints measures what somebody waits for who opens the list of devices in Chromium: once with
// nothing in its cache, and then again and again.
func (b *bench) paints(p *panel) {
	const again = 10
	ctx, cancel := context.WithTimeout(tab(b.T), patience())
	defer cancel()
	var status int
	err := chromedp.Run(ctx,
		chromedp.ActionFunc(func(ctx context.Context) error {
			_, err := page.AddScriptToEvaluateOnNewDocument(watchRows).Do(ctx)
			return err
		}),
		performance.Enable(), chromedp.Navigate(p.url+"/healthz"), chromedp.Evaluate(fmt.Sprintf(signInThere, password), &status, awaited))
	if err != nil || status > 299 {
		b.Fatalf("sign in at the page: %d, %v", status, err)
	}
	open := func(path string) (s seen) {
		if err := chromedp.Run(ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(p.url+path), chromedp.Evaluate(tellSeen, &s, awaited)); err != nil {
			b.Fatalf("open %s: %v", path, err)
		}
		return s
	}
	first := open("/devices")
	b.say("paint.first-visit.paint", first.Paint, "ms", "first contentful paint of the devices' page in Chromium; < 1000")
	b.say("paint.first-visit.rows", first.Rows, "ms", "until devices are shown; < 1000")
	for name, path := range map[string]string{"list": "/devices", "list-filtered": "/devices?q=version%3C1.4+site%3Asite-1*"} {
		var paint, rows []float64
		for range again {
			s := open(path)
			paint, rows = append(paint, s.Paint), append(rows, s.Rows)
		}
		slices.Sort(paint)
		slices.Sort(rows)
		b.say("paint."+name+".paint.p50", paint[again/2], "ms", "")
		b.say("paint."+name+".paint.most", paint[again-1], "ms", fmt.Sprintf("of %d; < 1000", again))
		b.say("paint."+name+".rows.p50", rows[again/2], "ms", "")
		b.say("paint."+name+".rows.most", rows[again-1], "ms", "likewise; < 1000")
	}
	err = chromedp.Run(ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		metrics, err := performance.GetMetrics().Do(ctx)
		for _, m := range metrics {
			if m.Name == "JSHeapUsedSize" {
				b.say("paint.heap", m.Value/1e6, "MB", "of the page's scripts; < 60")
			}
		}
		return err
	}))
	if err != nil {
		b.Fatal(err)
	}
}

func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// tab is one of a Chromium with an empty profile, which ends with the test.
func tab(t *testing.T) context.Context {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("this needs chromium: apt-get install chromium")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromium), chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-component-update", true),
	)
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(alloc, chromedp.WithErrorf(func(string, ...any) {})) // of events that are newer than it
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
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
