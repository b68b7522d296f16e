package adminpanel_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	cdp "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
	"slipstream/adminpanel/view"
)

// inWaves brings a release to two devices, and then to all others.
func inWaves(release string) view.Plan {
	return view.Plan{
		Name: "Steered", Release: release, Waves: []view.Wave{{Name: "two", Count: 2}, {Name: "rest"}}, MaxUnavailable: 4,
		SuccessPercent: 90, FailPercent: 50, TrialDeadlineMS: 300_000, OnFailure: "halt", Activation: "waves",
	}
}

// activated counts what devices were asked, and names those that are on trial.
func activated(f *simulate.Fleet) (n int, trial []*simulate.Device) {
	for _, d := range f.Devices() {
		asked := 0
		for _, what := range d.Asked() {
			if what == "activate" {
				asked++
			}
		}
		if n += asked; asked > 0 && d.Did().Permanent == 0 {
			trial = append(trial, d)
		}
	}
	return n, trial
}

// figures are a rollout's page in words: its state and all numbers of its waves.
const figures = `document.querySelector('.head .state').dataset.state + ' ' + [...document.querySelectorAll('[data-testid="waves"] tbody tr')].map(r => r.innerText.replace(/\s+/g, ' ')).join(' / ')`

func (p page) say(t *testing.T, expr string) (text string) {
	t.Helper()
	p.run(t, chromedp.Evaluate(expr, &text))
	return text
}

// Somebody steers a rollout at its page. What pauses it has paused it when the answer is
// there; what is shown is the same after a reload, on the way back and in a second tab; and
// what cannot be taken back asks for a number first, from the keyboard too. All of it is in
// the audit, once, and who changes that is found out.
func TestARolloutIsSteeredAtItsPage(t *testing.T) {
	w := start(t, blank(filepath.Join(t.TempDir(), "panel")))
	const n = 6
	fleet := w.crew(simulate.Config{Devices: n, Device: simulate.Spec{Marker: "operator"}})
	w.linked(n)
	release := w.upload(build(t, newKey(t), "2.0.0", 2))
	r := w.runs(inWaves(release.ID))
	w.rolled(r.ID, "on trial in its first wave", func(r view.Rollout) bool { return r.Total.Trial == 2 && r.Total.Staged == n-2 })

	b := browser(t)
	p := w.as(b, w.ann, "/rollouts")
	p.until(t, "document.querySelector('[data-testid=\"rollouts\"] a')")
	p.run(t, chromedp.Evaluate("document.querySelector('[data-testid=\"rollouts\"] a').click()", nil))
	p.until(t, part("waves"))
	p.press(t, "pause")
	p.until(t, "document.querySelector('.head .state').dataset.state === 'paused'")
	before, trial := activated(fleet)
	if before != 2 || len(trial) != 2 {
		t.Fatalf("%d devices were activated before the pause, want 2", before)
	}
	for _, d := range trial { // now the second wave would open
		d.Greenlight(t.Context())
	}
	w.rolled(r.ID, "done with its first wave", func(r view.Rollout) bool { return r.Total.Done == 2 })
	p.until(t, says("waves", "100 % ended"))

	shown := p.say(t, figures)
	second := w.as(b, w.ann, "/rollouts/"+r.ID)
	second.until(t, figures+fmt.Sprintf(" === %q", shown))
	p.run(t, cdp.Reload())
	p.until(t, figures+fmt.Sprintf(" === %q", shown))
	p.run(t, chromedp.Evaluate("document.querySelector('#nav a[href=\"/versions\"]').click()", nil))
	p.until(t, part("sum"))
	if sum := p.say(t, part("sum")+".innerText"); sum != fmt.Sprint(n) {
		t.Errorf("the versions of %d devices make %s", n, sum)
	}
	p.run(t, chromedp.Evaluate("history.back()", nil))
	p.until(t, figures+fmt.Sprintf(" === %q", shown))
	if now, _ := activated(fleet); now != before {
		t.Errorf("%d devices were activated during the pause", now-before)
	}

	p.press(t, "resume")
	w.rolled(r.ID, "on trial in its second wave", func(r view.Rollout) bool { return r.Total.Trial == n-2 })
	p.until(t, "document.querySelector('.head .state').dataset.state === 'running'")
	p.aborts(t, n-2)
	p.until(t, "document.querySelector('.head .state').dataset.state === 'aborted'")
	second.until(t, "document.querySelector('.head .state').dataset.state === 'aborted'")

	// A device that has never said what it runs is counted too.
	p.run(t, chromedp.Navigate(w.url+"/versions"))
	must(simulated(t, "newcomer", w.link, w.token("newcomer")))
	p.until(t, part("sum")+fmt.Sprintf(".innerText === '%d'", n+1))
	p.until(t, says("versions", "not known"))
	w.accounts(p, "rollout.create", "rollout.start", "rollout.pause", "rollout.resume", "rollout.abort", "release.add")
	w.stop()
	forged(t, filepath.Join(w.cfg.Data, "store.db"))
}

// aborts does so by keys alone: the number is asked for, Escape takes the question back.
func (p page) aborts(t *testing.T, concerns int) {
	t.Helper()
	keys := func(keys ...string) {
		for _, k := range keys {
			p.run(t, chromedp.KeyEvent(k))
		}
	}
	asks := "document.activeElement?.dataset.testid === 'confirm-count'"
	p.until(t, part("abort")+".getAttribute('aria-disabled') !== 'true'")
	// A tab that comes to the front takes no keys before it has the focus of the window.
	p.run(t, emulation.SetFocusEmulationEnabled(true), cdp.BringToFront(), chromedp.Focus(`[data-testid="abort"]`))
	p.until(t, "document.hasFocus() && document.activeElement?.dataset.testid === 'abort'")
	keys(kb.Enter)
	p.until(t, asks)
	keys(kb.Escape)
	p.until(t, "!document.querySelector('dialog') && document.activeElement?.dataset.testid === 'abort'")
	keys(kb.Enter)
	p.until(t, asks)
	keys("9", "9", kb.Enter)
	p.until(t, "document.querySelector('dialog [role=alert]')")
	keys(kb.Backspace, kb.Backspace)
	keys(strings.Split(fmt.Sprint(concerns), "")...)
	keys(kb.Enter)
	p.until(t, "!document.querySelector('dialog')")
}

// accounts looks for actions of ann's on the page of the audit: each is there once.
func (w *world) accounts(p page, actions ...string) {
	w.Helper()
	p.run(w.T, chromedp.Navigate(w.url+"/audit"))
	p.until(w.T, part("audit"))
	var lines []struct{ Action, Actor, From string }
	p.run(w.T, chromedp.Evaluate(`[...document.querySelectorAll('[data-testid="audit"] [data-action]')].map(e => ({action: e.dataset.action, actor: e.querySelector('b').innerText, from: e.innerText}))`, &lines))
	for _, action := range actions {
		found := slices.DeleteFunc(slices.Clone(lines), func(l struct{ Action, Actor, From string }) bool { return l.Action != action })
		if len(found) != 1 || found[0].Actor != "user ann" || !strings.Contains(found[0].From, "127.0.0.1") {
			w.Errorf("the page of the audit has %s so: %+v", action, found)
		}
	}
}

// forged changes one line of the audit in a store that nobody has open.
func forged(t *testing.T, file string) {
	t.Helper()
	s := must(bolt.Open(file))
	defer s.Close()
	if _, err := audit.Verify(t.Context(), s); err != nil {
		t.Errorf("the audit as the panel wrote it: %v", err)
	}
	lines := must(s.Scan(context.Background(), "a/", "a0", 3))
	line := lines.Items[len(lines.Items)-1]
	changed := strings.Replace(string(line.Value), "ann", "eve", 1)
	if _, err := s.Commit(t.Context(), nil, []store.Op{{Key: line.Key, Value: []byte(changed)}}); err != nil || changed == string(line.Value) {
		t.Fatal(err, changed)
	}
	if _, err := audit.Verify(t.Context(), s); !errors.Is(err, audit.ErrBroken) {
		t.Errorf("of a changed line it is said: %v", err)
	}
}

// The time left is what the device says, whatever time it is where somebody looks; an action
// that cannot be is there with its reason; and who may only look has none, and none by force.
func TestTheDevicesPageIsTheDevices(t *testing.T) {
	w := start(t, blank(t.TempDir()))
	w.device("cam-1")
	release := w.upload(build(t, newKey(t), "2.0.0", 2))
	b := browser(t)
	p := w.as(b, w.ann, "/devices/cam-1")
	p.until(t, part("activate")+".getAttribute('aria-disabled') === 'true'")
	why := p.say(t, "document.getElementById("+part("activate")+".getAttribute('aria-describedby')).innerText")
	if !strings.Contains(why, "staged") {
		t.Errorf("the page says of a device with nothing staged: %q", why)
	}
	p.run(t, chromedp.Evaluate(part("activate")+".click()", nil)) // it does nothing
	w.ask("POST", "/api/v1/devices/cam-1/stage", view.StageRequest{Release: release.ID}).is(http.StatusAccepted, nil)
	p.press(t, "activate")
	p.until(t, part("countdown"))

	p.until(t, `/holds for \d+ s:/.test(document.querySelector('[data-testid=verdict]')?.innerText)`)

	years := w.as(b, w.ann, "/about:blank")
	years.run(t, chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := cdp.AddScriptToEvaluateOnNewDocument(`{const real = Date, off = 3 * 365 * 864e5;
			globalThis.Date = class extends real { constructor(...a) { a.length ? super(...a) : super(real.now() + off); } static now() { return real.now() + off; } };}`).Do(ctx)
		return err
	}), chromedp.Navigate(w.url+"/devices/cam-1"))
	years.until(t, part("countdown"))
	if late := years.say(t, "String(new Date().getFullYear() - "+p.say(t, "String(new Date().getFullYear())")+")"); late != "3" {
		t.Fatalf("the clock of the second page is %s years off", late)
	}
	const seconds = `(() => { const [m, s] = document.querySelector('[data-testid="countdown"]').dataset.left.match(/\d+/g).map(Number); return 60 * m + s })()`
	var here, there int
	p.run(t, chromedp.Evaluate(seconds, &here))
	years.run(t, chromedp.Evaluate(seconds, &there))
	if d := w.until("cam-1", "on trial", func(d view.DeviceDetail) bool { return d.Status.Trial != nil }); here > 600 || there > 600 || max(here-there, there-here) > 60 || int64(there) < d.Status.Trial.RemainingMS/1000-60 {
		t.Errorf("%d s are left, on another machine %d s, and the device says %d ms", here, there, d.Status.Trial.RemainingMS)
	}

	looks := w.as(b, w.signed("ben", view.RoleViewer), "/devices/cam-1")
	looks.until(t, part("slot-b"))
	if n := looks.say(t, "String(document.querySelectorAll('#main button').length)"); n != "0" {
		t.Errorf("who may only look sees %s buttons", n)
	}
	for _, verb := range []string{"stage", "activate", "confirm", "revert", "cancel"} {
		var status int
		looks.run(t, chromedp.Evaluate(fmt.Sprintf(`fetch('/api/v1/devices/cam-1/%s', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'}).then(r => r.status)`, verb), &status, awaited))
		if status != http.StatusForbidden {
			t.Errorf("%s by force is answered %d", verb, status)
		}
	}
}
