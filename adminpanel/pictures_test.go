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
	"github.com/chromedp/chromedp"

	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
	"slipstream/adminpanel/view"
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
	for i := range n {
		w.describe(fmt.Sprintf("cam-%05d", i), sites[i*7%len(sites)], []string{"door", "yard", "lab"}[i%3], i)
	}
	two, three := w.upload(build(t, key, "2.0.0", 2)), w.upload(build(t, key, "2.1.0", 3))
	all := view.Plan{Name: "Winter release", Release: two.ID, Waves: []view.Wave{{Name: "canary", Count: 3}, {Name: "half", Percent: 50}, {Name: "rest"}},
		MaxUnavailable: 30, SuccessPercent: 60, FailPercent: 50, TrialDeadlineMS: 60_000, OnFailure: "halt", Activation: "waves"}
	w.rolled(w.runs(all).ID, "over", func(r view.Rollout) bool { return r.State == view.RolloutCompleted })

	// One that somebody looks at, on a trial that waits for a person, and one that is away.
	camera := newCamera(t, browser)
	w.device("gate-1", camera.answer)
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

	// And a rollout that has done its first wave, and soaks.
	all.Name, all.Release, all.Waves[0].SoakMS, all.Selector = "Night pictures", three.ID, 40*60_000, "id:cam-*"
	r := w.runs(all)
	r = w.rolled(r.ID, "past its canaries, with all others staged", func(r view.Rollout) bool {
		return r.Waves[0].Counts.Trial+r.Waves[0].Counts.Activating == 0 && r.Total.Staged+r.Total.Skipped > 20
	})
	return town{w, r}
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
		"wall": "/wall?q=id:gate-*,cam-0000?", "kiosk": "/wall?kiosk=1&q=id:gate-*,cam-0000?&columns=3", "fleet": "/devices", "fleet-filtered": "/devices?q=site:harbour+version%3C2.1",
		"device": "/devices/gate-1", "device-away": "/devices/gate-2", "versions": "/versions", "rollouts": "/rollouts", "rollout": "/rollouts/" + t.running.ID,
		"plan": "/rollouts/new?q=tag:door", "releases": "/releases", "audit": "/audit", "settings": "/settings", "settings-accounts": "/settings?tab=accounts", "settings-tokens": "/settings?tab=tokens",
		"settings-enrolment": "/settings?tab=enrolment", "settings-walls": "/settings?tab=walls", "setup": "/setup", "nothing": "/no/such/page",
	}
}

const settled = `document.querySelector('#main h1') && !document.querySelector('.waiting') && document.querySelector('[data-testid=live]')?.dataset.state !== 'connecting'`

// TestPictures makes pictures of the panel's pages for people, in every width and both
// lights, where SLIPSTREAM_SCREENSHOTS says.
func TestPictures(t *testing.T) {
	dir := os.Getenv("SLIPSTREAM_SCREENSHOTS")
	if dir == "" {
		t.Skip("nobody asks for pictures: set SLIPSTREAM_SCREENSHOTS to a directory")
	}
	b := browser(t)
	w := newTown(t, b)
	p := w.as(b, w.ann, "/devices")
	shot := func(name string) {
		var png []byte
		p.run(t, chromedp.FullScreenshot(&png, 100))
		if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, look := range []struct {
		name, scheme string
		width, high  int64
	}{{"360-light", "light", 360, 740}, {"360-dark", "dark", 360, 740}, {"1280-light", "light", 1280, 860}, {"1280-dark", "dark", 1280, 860}, {"1920-light", "light", 1920, 1080}, {"1920-dark", "dark", 1920, 1080}} {
		p.run(t, chromedp.EmulateViewport(look.width, look.high), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}}))
		for name, path := range w.views() {
			p.run(t, chromedp.Navigate(w.url+path))
			p.until(t, settled)
			if strings.Contains(path, "gate") {
				p.until(t, "slipstream.players.some(p => p.state === 'playing' && p.frames > 5) || document.querySelector('.stale')")
			}
			shot(name + "-" + look.name)
		}
	}
}
