//go:build npm

package adminpanel_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	cdp "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

// town is a fleet in the middle of things: some thirty devices at four sites, most of them
// on one version, two rollouts behind them and one under way, a trial that waits for a
// person, some that failed and some that are away.
type town struct {
	*world
	running view.Rollout
}

var sites = []string{"Harbour", "North gate", "South gate", "Depot"}

// dayBefore writes how a day went, as the panel would have.
func dayBefore(t *testing.T, data string) {
	t.Helper()
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	s := must(bolt.Open(filepath.Join(data, "store.db")))
	now := time.Now().UTC().Truncate(15 * time.Minute)
	for h := 95; h > 0; h-- {
		at, done := now.Add(-time.Duration(h)*15*time.Minute), max(0, 24-h)
		point := must(json.Marshal(view.VersionPoint{At: at, Running: map[string]int{"1.0.0": 30 - done, "2.0.0": done}}))
		if _, err := s.Commit(t.Context(), nil, []store.Op{{Key: "v/" + at.Format("2006-01-02T15:04Z"), Value: point}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// newTown builds it. Its pictures are of a camera that plays in a tab.
func newTown(t *testing.T, browser context.Context) town {
	t.Helper()
	data := filepath.Join(t.TempDir(), "panel")
	dayBefore(t, data)
	key := newKey(t)
	cfg := blank(data)
	cfg.Trust = trustFile(t, key)
	w := start(t, cfg)
	const n = 30
	times := simulate.Times{Stage: 20 * time.Millisecond, Soak: 50 * time.Millisecond}
	w.crew(simulate.Config{Devices: n, Prefix: "cam", Seed: 3, Times: times, Shares: simulate.Shares{Fates: map[simulate.Fate]float64{simulate.Fails: 0.1, simulate.Refuses: 0.04}}})
	w.linked(n)
	w.signed("ben", view.RoleViewer)
	var set view.Settings
	w.ask("GET", "/api/v1/settings", nil).is(http.StatusOK, &set)
	set.Views, set.Walls = []view.Saved{{Name: "Older than 2.1", Selector: "version<2.1"}, {Name: "Doors", Selector: "tag:door"}}, []view.Wall{{Name: "Gates", Selector: "id:gate-*", Columns: 2}}
	w.ask("PUT", "/api/v1/settings", set, "If-Match", "*").is(http.StatusOK, nil)
	w.ask("POST", "/api/v1/tokens", view.TokenRequest{Name: "deploy script", Grants: []view.Grant{{Role: view.RoleReleaser, Selector: "site:Depot"}}, Until: time.Now().AddDate(0, 3, 0)}).is(http.StatusCreated, nil)
	for i := range n {
		w.describe(fmt.Sprintf("cam-%05d", i), sites[i*7%len(sites)], []string{"door", "yard", "lab"}[i%3], i)
	}
	two, three := w.upload(build(t, key, "2.0.0", 2)), w.upload(build(t, key, "2.1.0", 3))
	all := view.Plan{Name: "Winter release", Release: two.ID, Waves: []view.Wave{{Name: "canary", Count: 3}, {Name: "half", Percent: 50}, {Name: "rest"}},
		MaxUnavailable: 30, SuccessPercent: 60, FailPercent: 50, TrialDeadlineMS: 60_000, OnFailure: "halt", Activation: "waves"}
	w.rolled(w.runs(all).ID, "over", func(r view.Rollout) bool { return r.State == view.RolloutCompleted })

	// One that somebody looks at, on a trial that waits for a person, and one that is away.
	camera := newCamera(t, browser)
	watched := w.device("gate-1", camera.answer)
	w.describe("gate-1", "North gate", "door", 98)
	gone, away := context.WithCancel(t.Context())
	d := must(simulated(t, "gate-2", w.link, w.token("gate-2")))
	ended := make(chan struct{})
	go func() { defer close(ended); d.Run(gone) }()
	w.until("gate-2", "linked", func(d view.DeviceDetail) bool { return d.Online && d.Status != nil })
	w.describe("gate-2", "South gate", "door", 99)
	away()
	<-ended
	w.ask("POST", "/api/v1/devices/gate-1/stage", view.StageRequest{Release: three.ID}).is(http.StatusAccepted, nil)
	w.until("gate-1", "staged", func(d view.DeviceDetail) bool { return d.State == view.DeviceStaged })
	w.ask("POST", "/api/v1/devices/gate-1/activate", struct{}{}).is(http.StatusAccepted, nil)
	w.until("gate-1", "on trial", func(d view.DeviceDetail) bool { return d.State == view.DeviceTrial })
	watched.Change(judged)
	w.until("gate-1", "judged", func(d view.DeviceDetail) bool { return len(d.Status.Trial.Verdicts) == 3 })

	// And a rollout that has done its first wave, and soaks.
	all.Name, all.Release, all.Waves[0].SoakMS, all.Selector = "Night pictures", three.ID, 40*60_000, "id:cam-*"
	r := w.runs(all)
	r = w.rolled(r.ID, "past its canaries, with all others staged", func(r view.Rollout) bool {
		return r.Waves[0].Counts.Trial+r.Waves[0].Counts.Activating == 0 && r.Total.Staged+r.Total.Skipped > 20
	})
	return town{w, r}
}

// judged gives a device what simulated ones do not have: invariants, and slots of an image.
func judged(s *control.Status) {
	least, most, tries := 24.0, 120.0, 2
	s.Trial.Verdicts = []control.Verdict{
		{Stream: "main", Invariant: "frames", Measure: "frames per second", Value: 25.02, Min: &least, Required: true, Judged: true, Holds: true},
		{Stream: "main", Invariant: "latency", Measure: "p99 in ms", Value: 131, Max: &most, Judged: true},
		{Invariant: "disk", Measure: "free share", Required: true},
	}
	for i := range s.Slots {
		s.Slots[i].Stored = &control.Stored{State: "staged", Kind: "erofs", Size: 52 << 20, By: "panel", StagedAt: s.Time.Add(-time.Hour), VerifiedAt: s.Time}
	}
	s.Systems = []control.System{{Name: "a", State: "permanent", Version: "11.2", Running: true}, {Name: "b", Version: "11.1", TriesLeft: &tries}}
	s.Protections = []control.Protection{{Name: "user", On: true}, {Name: "landlock", On: true}, {Name: "memory-limit", Why: "the kernel has no memory controller"}}
}

// describe says where a device is.
func (w *world) describe(id, site, tag string, i int) {
	w.Helper()
	name := fmt.Sprintf("%s %d", site, i/len(sites)+1)
	tags := []string{tag, fmt.Sprint("entrance=", i/2)}
	w.ask("PATCH", "/api/v1/devices/"+id, view.DevicePatch{Name: &name, Site: &site, Tags: &tags}, "If-Match", "*").is(http.StatusOK, nil)
}

// views are all pages with something to see, by the names of their pictures.
func (t town) views() map[string]string {
	return map[string]string{
		"wall": "/wall?q=id:gate-*", "kiosk": "/wall?kiosk=1&q=id:gate-*&columns=3", "fleet": "/devices", "fleet-filtered": "/devices?q=site:harbour+version%3C2.1",
		"device": "/devices/gate-1", "device-away": "/devices/gate-2", "versions": "/versions", "rollouts": "/rollouts", "rollout": "/rollouts/" + t.running.ID,
		"plan": "/rollouts/new?q=tag:door", "releases": "/releases", "audit": "/audit", "settings": "/settings", "settings-accounts": "/settings?tab=accounts", "settings-tokens": "/settings?tab=tokens",
		"settings-enrolment": "/settings?tab=enrolment", "settings-walls": "/settings?tab=walls", "setup": "/setup", "nothing": "/no/such/page",
	}
}

const settled = `document.querySelector('#main h1') && !document.querySelector('.waiting') && document.querySelector('[data-testid=live]')?.dataset.state !== 'connecting'`

// judge asks axe about the rules of WCAG 2.2 AA that a program can judge.
const judge = `axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then(r =>
	r.violations.map(v => v.id + ': ' + v.help + ' — ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')).join(' | ')))`

const (
	// wide are the parts of a page that make it wider than a phone.
	wide = `document.documentElement.scrollWidth <= 360 ? [] : [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 360).map(e => e.tagName + ' ' + e.className)`
	// moving are the parts that take their time for a change.
	moving = `[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration !== '0s' || getComputedStyle(e).animationName !== 'none').map(e => e.tagName + ' ' + e.className)`
)

// Every page of a panel that is in use: axe has nothing against it in either light, it is no
// wider than a phone, and nothing moves for who wants no motion. Pictures of all go where
// SLIPSTREAM_SCREENSHOTS says, for people to look at.
func TestEveryPage(t *testing.T) {
	b := browser(t)
	w := newTown(t, b)
	p := w.as(b, w.ann, "/devices")
	p.run(t, cdp.SetBypassCSP(true)) // for axe, which is no script of the panel's
	each := func(t *testing.T, width, high int64, scheme, motion string, look func(name, path string)) {
		p.run(t, chromedp.EmulateViewport(width, high), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion},
		}))
		for name, path := range w.views() {
			p.run(t, chromedp.Navigate(w.url+path))
			p.until(t, settled)
			look(name, path)
		}
	}
	nothing := func(name, expr, what string) {
		var found []string
		p.run(t, chromedp.Evaluate(expr, &found, awaited))
		if len(found) > 0 {
			t.Errorf("%s: %s: %q", name, what, found)
		}
	}
	t.Run("narrow", func(t *testing.T) {
		each(t, 360, 740, "light", "reduce", func(name, _ string) {
			nothing(name, wide, "wider than 360 pixels")
			nothing(name, moving, "moves")
		})
	})
	axe, err := os.ReadFile("ui/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("run npm ci in adminpanel/ui: %v", err)
	}
	for _, scheme := range []string{"light", "dark"} {
		t.Run("axe "+scheme, func(t *testing.T) {
			each(t, 1280, 860, scheme, "no-preference", func(name, _ string) {
				p.run(t, chromedp.Evaluate(string(axe)+"; true", nil))
				nothing(name, judge, "axe")
			})
		})
	}
	if dir := os.Getenv("SLIPSTREAM_SCREENSHOTS"); dir != "" {
		t.Run("pictures", func(t *testing.T) {
			pictures(t, dir, p, each)
		})
	}
	t.Run("axe at the door", func(t *testing.T) {
		p.run(t, network.ClearBrowserCookies(), chromedp.Navigate(w.url+"/versions"), chromedp.WaitVisible(`[data-testid="login"]`), chromedp.Evaluate(string(axe)+"; true", nil))
		nothing("login", judge, "axe")
	})
}

type eachPage func(t *testing.T, width, high int64, scheme, motion string, look func(name, path string))

func pictures(t *testing.T, dir string, p page, each eachPage) {
	for _, width := range []int64{360, 1280, 1920} {
		for _, scheme := range []string{"light", "dark"} {
			each(t, width, min(1080, max(740, width*2/3)), scheme, "no-preference", func(name, path string) {
				if strings.Contains(path, "gate") {
					p.until(t, "slipstream.players.some(p => p.state === 'playing' && p.frames > 5) || document.querySelector('.stale')")
				}
				var png []byte
				p.run(t, chromedp.FullScreenshot(&png, 100))
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), png, 0o644); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}
