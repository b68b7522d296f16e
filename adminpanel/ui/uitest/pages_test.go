package uitest_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"slipstream/adminpanel/ui/uitest"
	"slipstream/adminpanel/view"
)

// patience is how long a browser may take on a machine that does other things as well.
const patience = 60 * time.Second

// browse starts the one Chromium of these tests; each test has a tab and, by its port, an origin of its own.
var browse = sync.OnceValues(func() (context.Context, error) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("this test needs chromium: apt-get install chromium")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromium),
		chromedp.Flag("no-sandbox", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.Flag("disable-features", "Translate,WebRtcHideLocalIpsWithMdns"),
	)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(alloc)
	ended = func() {
		chromedp.Cancel(ctx)
		stop()
	}
	return ctx, chromedp.Run(ctx)
})

var ended = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	ended()
	os.Exit(code)
}

// page is a tab on a server of its own.
type page struct {
	t      *testing.T
	tab    context.Context
	server *uitest.Server
	url    string

	mu         sync.Mutex
	complaints []string
}

func open(t *testing.T, data uitest.Data, path string) *page {
	t.Helper()
	return openWith(t, data, path, func(*uitest.Server) {})
}

// openWith changes the server before it is asked for anything.
func openWith(t *testing.T, data uitest.Data, path string, change func(*uitest.Server)) *page {
	t.Helper()
	browser, err := browse()
	if err != nil {
		t.Fatal(err)
	}
	s := uitest.New(data)
	change(s)
	http := httptest.NewServer(s)
	tab, cancel := chromedp.NewContext(browser)
	tab, late := context.WithTimeout(tab, patience)
	p := &page{t: t, tab: tab, server: s, url: http.URL}
	t.Cleanup(func() {
		late()
		cancel()
		http.CloseClientConnections()
		http.Close()
		if all := strings.Join(p.complaints, "\n"); all != "" {
			t.Errorf("the browser complains:\n%s", all)
		}
	})
	chromedp.ListenTarget(tab, p.listen)
	p.run(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(http.URL+path))
	return p
}

// listen gathers exceptions and what breaks the pages' policy.
func (p *page) listen(ev any) {
	text := ""
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		text = "exception: " + ev.ExceptionDetails.Error()
	case *log.EventEntryAdded:
		if ev.Entry.Level == log.LevelError && ev.Entry.Source != log.SourceNetwork {
			text = ev.Entry.Text
		}
	}
	if text != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.complaints = append(p.complaints, text)
	}
}

func (p *page) run(actions ...chromedp.Action) {
	p.t.Helper()
	if err := chromedp.Run(p.tab, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// until waits for an expression to be true.
func (p *page) until(expr string) {
	p.t.Helper()
	var ok bool
	poll := func() error {
		return chromedp.Run(p.tab, chromedp.Poll("!!("+expr+")", &ok, chromedp.WithPollingTimeout(patience/2)))
	}
	err := poll()
	if err != nil && strings.Contains(err.Error(), "Cannot find context") {
		err = poll() // a new document came in between
	}
	if err != nil {
		var text string
		chromedp.Run(p.tab, chromedp.Evaluate(`document.body.innerText`, &text))
		p.t.Fatalf("never became true: %s: %v; asked %q\n%s", expr, err, p.server.Asked(), text)
	}
}

func (p *page) is(want any, expr string) {
	p.t.Helper()
	var got any
	p.run(chromedp.Evaluate(expr, &got))
	if fmt.Sprint(got) != fmt.Sprint(want) {
		p.t.Errorf("%s is %v, not %v", expr, got, want)
	}
}

func (p *page) press(keys ...string) {
	p.t.Helper()
	for _, k := range keys {
		p.run(chromedp.KeyEvent(k))
	}
}

const (
	rows = `document.querySelectorAll('.gridbody [role=row]').length`
	live = `document.querySelector('[data-testid=live]')?.dataset.state === 'live'`
)

func text(testid string) string {
	return fmt.Sprintf(`(document.querySelector('[data-testid=%q]')?.innerText ?? '')`, testid)
}

func TestLoginLeadsWhereOneWantedToGo(t *testing.T) {
	data := uitest.Sample(40, time.Now())
	data.Me = nil
	p := open(t, data, "/versions")
	p.until(`document.querySelector('[data-testid=login]')`)
	p.run(chromedp.SendKeys(`[data-testid=login-name]`, "ann"), chromedp.SendKeys(`[data-testid=login-password]`, "wrong"+kb.Enter))
	p.until(`document.querySelector('[role=alert]')?.innerText.includes('do not belong together')`)
	p.run(chromedp.SendKeys(`[data-testid=login-password]`, "let me in"+kb.Enter))
	p.until(`document.querySelector('[data-testid=versions]')`)
	p.is("40", text("sum"))
}

func TestKeysLeadThroughTheFleet(t *testing.T) {
	p := open(t, uitest.Sample(1000, time.Now()), "/devices")
	p.until(rows + ` > 10`)
	p.until(live)
	p.press("j", "j", "j", "x")
	p.is("grid", `document.activeElement.getAttribute('role')`)
	p.is("cam-00002", `document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).dataset.id`)
	p.until(text("bulk") + `.includes('1 selected')`)
	// Live changes move neither focus nor selection nor what one looks at.
	p.run(chromedp.Evaluate(`document.querySelector('[role=grid]').scrollTop = 400`, nil))
	p.server.Do(func(d *uitest.Data) (events []view.Event) {
		for i := range 200 {
			d.Devices[i].Running = "9.9.9"
			events = append(events, uitest.Event("device", d.Devices[i].ID, d.Devices[i]))
		}
		return events
	})
	p.until(`document.querySelector('[data-id=cam-00015] .c3').innerText.includes('9.9.9')`)
	p.is(400, `document.querySelector('[role=grid]').scrollTop`)
	p.is("grid", `document.activeElement.getAttribute('role')`)
	p.until(text("bulk") + `.includes('1 selected')`)
	p.press(kb.Enter)
	p.until(`location.pathname === '/devices/cam-00002'`)
	p.press("g", "r")
	p.until(`location.pathname === '/rollouts'`)
	p.press("?")
	p.until(`document.querySelector('dialog[open]')`)
	p.press(kb.Escape)
	p.until(`!document.querySelector('dialog')`)
	p.press("/")
	p.until(`document.activeElement?.dataset.testid === 'selector'`)
}

func TestFilterIsTheServersAndSaysWhereItIsWrong(t *testing.T) {
	p := open(t, uitest.Sample(1000, time.Now()), "/devices")
	p.until(rows + ` > 10`)
	p.run(chromedp.SendKeys(`[data-testid=selector]`, "site:harbour state:trial"))
	p.until(`new URL(location).searchParams.get('q') === 'site:harbour state:trial'`)
	p.until(rows + ` > 0 && [...document.querySelectorAll('.gridbody .c2')].every(c => c.innerText === 'harbour')`)
	p.is(2, `document.querySelectorAll('.chip.on').length`)
	p.run(chromedp.Click(`.chip.on`))
	p.until(`new URL(location).searchParams.get('q') === 'state:trial'`)
	p.run(chromedp.Navigate(p.url + "/devices?q=site:x%20colour:red"))
	p.until(text("selector-error") + `.includes('column 8')`)
	p.is("colour:red", `document.querySelector('[data-testid=selector-error] mark').innerText`)
}

func TestAllThatMatchAreMeantBySelector(t *testing.T) {
	p := open(t, uitest.Sample(2000, time.Now()), "/devices?q=tag:door")
	p.until(rows + ` > 10`)
	p.press("j", "x")
	p.run(chromedp.Click(`[data-testid=select-all]`), chromedp.Click(`[data-testid=bulk-rollout]`))
	p.until(`location.pathname === '/rollouts/new'`)
	p.until(`document.querySelector('[data-testid=plan-release] option[value=c08e11aa]')`)
	p.run(chromedp.SetValue(`[data-testid=plan-release]`, "c08e11aa"),
		chromedp.Evaluate(`document.querySelector('[data-testid=plan-release]').dispatchEvent(new Event('change', {bubbles: true}))`, nil))
	p.until(text("preview") + `.includes('667 devices')`)
	p.run(chromedp.Click(`[data-testid=plan-make]`))
	p.until(`location.pathname === '/rollouts/43'`)
	if body := p.server.Body("/api/v1/rollouts"); !strings.Contains(body, `"selector":"tag:door"`) || strings.Contains(body, "cam-") {
		t.Errorf("the plan was %s", body)
	}
}

// Each release says where a public log has its signatures, or that none has.
func TestReleasesNameTheirLog(t *testing.T) {
	p := open(t, uitest.Sample(10, time.Now()), "/releases")
	p.until(`document.querySelectorAll('[data-testid=logged]').length === 3`)
	p.is("true", `/^entry 91304551 of c0d2c0d2c0d2c0d2 · /.test(document.querySelectorAll('[data-testid=logged]')[0].innerText)`)
	p.is("none: no public log has its signatures", `document.querySelectorAll('[data-testid=logged]')[1].innerText`)
}

func TestCountdownIsTheDevices(t *testing.T) {
	// The machine that looks believes that it is years later.
	p := open(t, uitest.Sample(10, time.Now().AddDate(-3, 0, 0)), "/devices/cam-00000")
	p.until(`document.querySelector('[data-testid=countdown]')`)
	p.until(`/^(3:00|2:[345]\d) min$/.test(document.querySelector('[data-testid=countdown]').dataset.left)`)
	p.is("ready,failed,unknown", `[...document.querySelectorAll('[data-testid=verdict]')].map(v => v.dataset.verdict).join()`)
	p.is("true", `/holds for 1:3\d min:/.test(document.querySelectorAll('[data-testid=verdict]')[0].innerText)`)
	p.is("true", `/broken for \d+ s:/.test(document.querySelectorAll('[data-testid=verdict]')[1].innerText)`)
	p.is("true", `/not known yet$/.test(document.querySelectorAll('[data-testid=verdict]')[2].innerText)`) // an agent that does not say since when
	p.is("true", `document.querySelector('[data-testid=activate]').getAttribute('aria-disabled')`)
	p.is("Nothing is staged.", `document.getElementById(document.querySelector('[data-testid=activate]').getAttribute('aria-describedby')).innerText`)
	p.run(chromedp.Click(`[data-testid=activate]`), chromedp.Click(`[data-testid=confirm]`))
	p.until(text("asked") + `.includes('asked')`)
	if asked := p.server.Asked(); !slices.Equal(asked, []string{"POST /api/v1/devices/cam-00000/confirm"}) {
		t.Errorf("asked %q", asked)
	}
}

func TestViewersSeeNoActions(t *testing.T) {
	data := uitest.Sample(10, time.Now())
	data.Me.Grants = []view.Grant{{Role: view.RoleViewer}}
	p := open(t, data, "/devices/cam-00000")
	p.until(`document.querySelector('[data-testid=slot-b]')`)
	p.is(0, `document.querySelectorAll('.actions button, .head button').length`)
}

func TestAbortAsksForTheCount(t *testing.T) {
	p := open(t, uitest.Sample(30, time.Now()), "/rollouts/42")
	p.until(`document.querySelector('[data-testid=waves]')`)
	p.run(chromedp.Focus(`[data-testid=abort]`))
	p.press(kb.Enter)
	p.until(`document.activeElement?.dataset.testid === 'confirm-count'`)
	p.press(kb.Escape)
	p.until(`!document.querySelector('dialog') && document.activeElement?.dataset.testid === 'abort'`)
	p.press(kb.Enter)
	p.until(`document.activeElement?.dataset.testid === 'confirm-count'`)
	p.press("9", "0", kb.Enter)
	p.until(`document.querySelector('dialog [role=alert]')`)
	p.press("7", "7", kb.Enter)
	p.until(`document.querySelector('.head .state').dataset.state === 'aborted'`)
	if asked := p.server.Asked(); !slices.Equal(asked, []string{"POST /api/v1/rollouts/42/abort"}) {
		t.Errorf("asked %q", asked)
	}
}

func TestNoPageIsWiderThanAPhone(t *testing.T) {
	p := open(t, uitest.Sample(200, time.Now()), "/devices")
	p.run(chromedp.EmulateViewport(360, 740))
	for _, path := range paths {
		p.run(chromedp.Navigate(p.url + path))
		p.until(`document.querySelector('#main h1') && !document.querySelector('.waiting')`)
		p.is(path+" ", fmt.Sprintf(`%q + ' ' + (document.documentElement.scrollWidth > 360 ? [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 360).map(e => e.className || e.tagName) : '')`, path))
	}
}

var paths = []string{"/devices", "/devices/cam-00000", "/rollouts", "/rollouts/42", "/rollouts/new?q=tag:door", "/versions", "/releases", "/wall?q=site:harbour+state:trial,staged,problem", "/audit", "/settings", "/settings?tab=accounts", "/settings?tab=tokens", "/settings?tab=enrolment", "/settings?tab=walls", "/setup"}
