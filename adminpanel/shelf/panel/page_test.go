package adminpanel_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"slipstream/adminpanel/shelf/panel"
	"slipstream/agent/control"
)

// page is the panel's page in a tab.
type page struct {
	tab        context.Context
	complaints *complaints
}

func openPage(t *testing.T, browser context.Context, url string) page {
	t.Helper()
	tab, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := page{tab, listen(tab)}
	if err := chromedp.Run(tab, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return p
}

// until waits until a condition in the page holds.
func (p page) until(t *testing.T, condition string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.tab, patience)
	defer cancel()
	tried := "(() => { try { return Boolean(" + condition + ") } catch { return false } })()"
	err := chromedp.Run(ctx, chromedp.Poll(tried, nil, chromedp.WithPollingInterval(20*time.Millisecond)))
	if err != nil {
		screenshot(t, p.tab, "failed")
		var text string
		chromedp.Run(p.tab, chromedp.Evaluate("document.body.innerText", &text))
		t.Fatalf("never came true: %s: %v\nthe page says:\n%s\nthe browser says:\n%s", condition, err, text, p.complaints.all())
	}
}

func (p page) eval(t *testing.T, script string, v any) {
	t.Helper()
	if err := chromedp.Run(p.tab, chromedp.Evaluate(script, v, awaited)); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

func (p page) click(t *testing.T, device, button string) {
	t.Helper()
	p.until(t, in(device, button)+" && !"+in(device, button)+".disabled")
	p.eval(t, in(device, button)+".click()", nil)
}

// in names an element of a device's card, text its words.
func in(device, part string) string {
	return fmt.Sprintf("document.querySelector('[data-testid=\"device-%s\"] [data-testid=\"%s\"]')", device, part)
}

func text(device, part, want string) string {
	return in(device, part) + ".textContent.includes(" + fmt.Sprintf("%q", want) + ")"
}

// An operator brings a release to one of two devices, greenlights it, tries
// another one and takes it back, while the pictures of both go on.
func TestAnOperatorAtThePage(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	b := browser(t)
	one, two := w.device(t, "cam-1"), w.device(t, "cam-2")
	one.answer, two.answer = newCamera(t, b).answer, newCamera(t, b).answer
	key := newKey(t)
	w.upload(t, build(t, key, "2.0.0", 2))
	p := openPage(t, b, w.url)

	for _, cam := range []string{"cam-1", "cam-2"} {
		p.until(t, text(cam, "slot-a-state", "permanent")+" && "+text(cam, "slot-a-version", "1.0"))
		p.until(t, fmt.Sprintf("slipstream.tiles['%s'].presented > 30 && slipstream.tiles['%s'].state === 'playing'", cam, cam))
	}
	p.eval(t, "globalThis.before = "+in("cam-1", "video")+"; 0", nil)
	screenshot(t, p.tab, "idle")

	p.click(t, "cam-1", "stage")
	p.until(t, text("cam-1", "slot-b-state", "staged")+" && "+text("cam-1", "slot-b-version", "2.0.0"))
	p.click(t, "cam-1", "activate")
	p.until(t, text("cam-1", "slot-b-state", "trial")+" && "+text("cam-1", "countdown", " s"))
	p.until(t, "!"+in("cam-1", "slot-b-shown")+".hidden && "+in("cam-1", "slot-a-shown")+".hidden")
	p.looks(t, "trial")
	p.click(t, "cam-1", "greenlight")
	p.until(t, text("cam-1", "slot-b-state", "permanent")+" && "+text("cam-1", "slot-a-state", "previous"))

	three := w.upload(t, build(t, key, "3.0.0", 3))
	p.until(t, in("cam-1", "release")+".options.length === 2")
	p.until(t, in("cam-1", "stage")+".disabled && "+text("cam-1", "hint", "2.0.0 is permanent already"))
	p.eval(t, in("cam-1", "release")+".selectedIndex = 0; "+in("cam-1", "release")+".dispatchEvent(new Event('change'))", nil)
	p.click(t, "cam-1", "stage")
	p.until(t, text("cam-1", "slot-a-version", "3.0.0"))
	p.click(t, "cam-1", "activate")
	p.click(t, "cam-1", "revert")
	p.until(t, text("cam-1", "slot-a-state", "reverted")+" && "+text("cam-1", "last", "3.0.0 was reverted to 2.0.0: an operator took it back"))
	p.until(t, in("cam-1", "stage")+".disabled && "+text("cam-1", "hint", "3.0.0 was reverted before"))
	w.do(t, http.MethodPost, "/api/devices/cam-1/stage", "application/json", `{"release":"`+three.ID+`"}`)
	p.until(t, text("cam-1", "last", "3.0.0 was refused"))
	p.eval(t, in("cam-1", "force")+".click()", nil)
	p.click(t, "cam-1", "stage")
	p.until(t, text("cam-1", "slot-a-state", "staged"))
	p.eval(t, in("cam-1", "history")+".open = true", nil)
	p.until(t, in("cam-1", "history")+".querySelectorAll('li').length === 4")
	p.looks(t, "refused")
	p.click(t, "cam-1", "activate") // who insisted once need not do it again
	p.until(t, text("cam-1", "slot-a-state", "trial")+" && "+in("cam-1", "last")+".hidden")

	want := []string{"whep main", "stage 2.0.0", "activate", "greenlight", "stage 3.0.0", "activate", "revert", "refuse 3.0.0", "stage 3.0.0", "activate"}
	if got := one.askedOf(); !slices.Equal(got, want) {
		t.Errorf("cam-1 was asked %q, want %q", got, want)
	}
	if got := two.askedOf(); !slices.Equal(got, []string{"whep main"}) {
		t.Errorf("cam-2 was asked %q", got)
	}
	p.playedOn(t, "cam-1", "cam-2")
	if said := p.complaints.all(); said != "" {
		t.Errorf("the browser complains:\n%s", said)
	}
}

// playedOn checks that the pictures were those of one connection throughout.
func (p page) playedOn(t *testing.T, devices ...string) {
	t.Helper()
	var same bool
	if p.eval(t, "before === "+in("cam-1", "video")+" && before.isConnected", &same); !same {
		t.Error("the video element was made anew")
	}
	for _, device := range devices {
		var got struct {
			Presented, Connects int
			LongestGapMS        float64 `json:"longestGapMs"`
			Freezes             int
			State               string
		}
		p.eval(t, fmt.Sprintf(`(async () => { const t = slipstream.tiles['%s'], s = await t.stats();
			return {presented: t.presented, connects: t.connects, longestGapMs: t.longestGapMs, state: t.state, freezes: s.freezeCount} })()`, device), &got)
		if got.Connects != 1 || got.State != "playing" {
			t.Errorf("%s: %d connections, %s", device, got.Connects, got.State)
		}
		t.Logf("%s: %+v", device, got)
	}
}

// looks takes pictures of the page as people may see it, and checks that
// nothing has to be scrolled sideways.
func (p page) looks(t *testing.T, name string) {
	t.Helper()
	dark := func(mode string) chromedp.Action {
		return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: mode}})
	}
	for _, look := range []struct {
		name          string
		width, height int64
		mode          string
	}{
		{"narrow", 360, 780, "light"}, {"narrow-dark", 390, 844, "dark"}, {"wide-dark", 1900, 1000, "dark"}, {"dark", 1280, 900, "dark"}, {"light", 1280, 900, "light"},
	} {
		if err := chromedp.Run(p.tab, dark(look.mode), chromedp.EmulateViewport(look.width, look.height)); err != nil {
			t.Fatal(err)
		}
		var over bool
		if p.eval(t, "document.documentElement.scrollWidth > innerWidth", &over); over {
			t.Errorf("%s at %d px has to be scrolled sideways", name, look.width)
		}
		screenshot(t, p.tab, name+"-"+look.name)
	}
}

// The veil falls when the picture stands still and lifts when it moves again,
// on the same connection.
func TestAStillPictureIsVeiled(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	b := browser(t)
	s, cam := w.device(t, "cam-1"), newCamera(t, b)
	s.answer = cam.answer
	p := openPage(t, b, w.url)
	p.until(t, "slipstream.tiles['cam-1'].presented > 10")
	cam.run(t, "still = true; stream.getVideoTracks()[0].enabled = true")
	p.until(t, "slipstream.tiles['cam-1'].state === 'stalled' && "+text("cam-1", "veil", "no new picture for"))
	cam.run(t, "still = false")
	p.until(t, "slipstream.tiles['cam-1'].state === 'playing' && slipstream.tiles['cam-1'].longestGapMs > 500")
	cam.run(t, "pcs.at(-1).close()")
	p.until(t, "slipstream.tiles['cam-1'].connects === 2 && slipstream.tiles['cam-1'].state === 'playing'")
}

// The page outlives its panel: it says so, and goes on by itself afterwards.
func TestThePagePlaysOnWithoutItsPanel(t *testing.T) {
	data := t.TempDir()
	w := start(t, adminpanel.Config{Data: data})
	b := browser(t)
	s := w.device(t, "cam-1")
	s.answer = newCamera(t, b).answer
	p := openPage(t, b, w.url)
	p.until(t, "slipstream.tiles['cam-1'].presented > 10")
	w.stop()
	p.until(t, "document.querySelector('[data-testid=live]').dataset.state === 'lost'")
	p.eval(t, "globalThis.then = slipstream.tiles['cam-1'].presented; 0", nil)
	p.until(t, "slipstream.tiles['cam-1'].presented > then + 30 && slipstream.tiles['cam-1'].connects === 1")
}

// A device that refuses says why, in the page.
func TestTheDevicesRefusalIsShown(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	s := w.device(t, "cam-1")
	p := openPage(t, browser(t), w.url)
	p.until(t, text("cam-1", "hint", "add a package below")+" && "+in("cam-1", "release")+".offsetParent === null")
	w.do(t, http.MethodPost, "/api/devices/cam-1/revert", "", "")
	p.until(t, text("cam-1", "asked", "No trial is under way."))
	s.Activate(t.Context(), control.ActivateRequest{}) // by somebody else: it was said before this trial
	p.until(t, "!"+in("cam-1", "trial")+".hidden && "+in("cam-1", "asked")+".hidden")
}

// What is added on a page is chosen there, whatever else is offered.
func TestAnUploadIsChosen(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	w.device(t, "cam-1")
	key := newKey(t)
	w.upload(t, build(t, key, "3.0.0", 3))
	p := openPage(t, browser(t), w.url)
	p.until(t, in("cam-1", "stage")+".textContent === 'Stage 3.0.0'")
	file := filepath.Join(t.TempDir(), "sample-camera-2.0.0.slip")
	if err := os.WriteFile(file, []byte(build(t, key, "2.0.0", 2)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Run(p.tab, chromedp.SetUploadFiles("[data-testid=upload]", []string{file}, chromedp.ByQuery)); err != nil {
		t.Fatal(err)
	}
	p.until(t, in("cam-1", "release")+".options.length === 2 && "+in("cam-1", "stage")+".textContent === 'Stage 2.0.0'")
}

// A device that is away is shown as the past, and says how old its word is.
func TestAnAbsentDeviceIsShownAsThePast(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	key := newKey(t)
	w.upload(t, build(t, key, "2.0.0", 2))
	s := w.device(t, "cam-1")
	s.update("", func(st *control.Status) {
		st.Last = &control.Record{Time: time.Now(), To: "1.5", Outcome: control.OutcomeReverted, Reason: "media", Detail: "stream main sent B-frames"}
	})
	p := openPage(t, browser(t), w.url)
	p.until(t, text("cam-1", "stream", "2 viewers")+" && !"+in("cam-1", "slot-a-shown")+".hidden && "+in("cam-1", "stale")+".hidden")
	p.until(t, text("cam-1", "last", "1.5 was taken back: its stream was not the one its package declares; nothing was running before"))
	s.leave()
	p.until(t, text("cam-1", "stale", "offline; this is what it said")+" && "+text("cam-1", "stale", "s ago"))
	p.until(t, "!"+text("cam-1", "stream", "viewer")+" && "+in("cam-1", "slot-a-shown")+".hidden && "+text("cam-1", "veil", "offline"))
	p.until(t, "!"+text("cam-1", "slot-a", "app ready")+" && "+text("cam-1", "slot-a", "permanent"))
	p.until(t, in("cam-1", "stage")+".disabled && "+text("cam-1", "hint", "offline"))
	p.looks(t, "absent")
}

// What somebody must put right stands on the card, and goes when it is done.
func TestProblemsAreShown(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	s := w.device(t, "cam-1")
	p := openPage(t, browser(t), w.url)
	p.until(t, text("cam-1", "slot-a", "30 frames/s")+" && "+in("cam-1", "problems")+".hidden")
	s.update("", func(st *control.Status) {
		st.Problems = []string{"the app of 1.0 ends again and again", "the journal <i>cannot</i> be written"}
		st.Slots[0].App, st.Slots[0].Restarts, st.Slots[0].LastExit = "back-off", 3, "exit status 1"
	})
	p.until(t, text("cam-1", "problems", "The app of 1.0 ends again and again.")+" && "+text("cam-1", "problems", "<i>cannot</i>"))
	p.until(t, text("cam-1", "slot-a", "restarted 3 times · last end: exit status 1"))
	p.looks(t, "problems")
	s.update("", func(st *control.Status) { st.Problems = nil })
	p.until(t, in("cam-1", "problems")+".hidden")
}
