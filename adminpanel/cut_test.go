package adminpanel_test

import (
	"flag"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

var cutFor = flag.Duration("pages.cut", 0, "how long a page is without its panel, once it has noticed")

// cable is what lies between a browser and a panel.
type cable struct {
	to string

	mu   sync.Mutex // guards what follows
	ends map[net.Conn]bool
	cut  bool
}

// lay makes a cable, and returns the address of its near end.
func lay(t *testing.T, to string) (*cable, string) {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	c := &cable{to: to, ends: map[net.Conn]bool{}}
	var owned sync.WaitGroup
	owned.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			owned.Go(func() { c.carry(near) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.set(true)
		owned.Wait()
	})
	return c, l.Addr().String()
}

func (c *cable) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer far.Close()
	c.mu.Lock()
	if c.cut {
		c.mu.Unlock()
		return
	}
	c.ends[near], c.ends[far] = true, true
	c.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(far, near); far.Close() })
	both.Go(func() { _, _ = io.Copy(near, far); near.Close() })
	both.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ends, near)
	delete(c.ends, far)
}

// set cuts it, or mends it.
func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for end := range c.ends {
		if cut {
			end.Close()
		}
	}
}

// shows gives a device a version in its spare slot that a page can see.
func shows(d *simulate.Device, version string) {
	d.Change(func(s *control.Status) {
		s.Phase = "staged"
		s.Slots[1] = control.Slot{Name: "b", State: control.StateStaged, Version: version, Digest: strings.Repeat("0", 64)}
	})
}

// A page that is cut off says so, and what it shows is right again without a reload when the
// panel can be reached: where it was told what it had missed, and where nobody knows that
// any more.
func TestAPageIsCutOff(t *testing.T) {
	w := start(t, blank(filepath.Join(t.TempDir(), "panel")))
	const n = 4
	fleet := w.crew(simulate.Config{Devices: n})
	w.linked(n)
	line, near := lay(t, strings.TrimPrefix(w.url, "http://"))
	far := *w
	far.url = "http://" + near
	b := browser(t)
	p := far.as(b, w.ann, "/devices")
	resynced := make(chan struct{}, 100)
	chromedp.ListenTarget(p.tab, func(ev any) {
		if m, ok := ev.(*network.EventEventSourceMessageReceived); ok && m.EventName == "resync" {
			select {
			case resynced <- struct{}{}:
			default:
			}
		}
	})
	live := part("live") + ".dataset.state === 'live'"
	row := func(version string) string {
		return "same && !" + part("lost") + " && " + live + ` && document.querySelector('[data-id="sim-00000"] .c4').innerText === '` + version + "'"
	}
	p.until(t, live+" && document.querySelectorAll('[data-id]').length === 4")
	p.run(t, chromedp.Evaluate("globalThis.same = true", nil))

	line.set(true)
	p.until(t, part("lost"))
	shows(fleet.Devices()[0], "7.0.0")
	w.until("sim-00000", "changed", func(d view.DeviceDetail) bool { return d.Staged == "7.0.0" })
	<-time.After(*cutFor)
	line.set(false)
	p.until(t, row("7.0.0"))
	if len(resynced) > 0 {
		t.Error("the panel did not know what a page had missed in a moment")
	}

	line.set(true)
	p.until(t, part("lost"))
	site := "Elsewhere"
	w.ask("PATCH", "/api/v1/devices/sim-00001", view.DevicePatch{Site: &site}, "If-Match", "*").is(http.StatusOK, nil)
	w.cfg.Listen, w.cfg.Devices = strings.TrimPrefix(w.url, "http://"), strings.TrimPrefix(w.link, "https://")
	w.stop()
	again := launch(t, w.cfg)
	again.ann = w.ann
	shows(fleet.Devices()[0], "7.1.0")
	again.until("sim-00000", "changed", func(d view.DeviceDetail) bool { return d.Staged == "7.1.0" })
	<-time.After(*cutFor)
	line.set(false)
	p.until(t, row("7.1.0"))
	p.until(t, `document.querySelector('[data-id="sim-00001"] .c2').innerText === 'Elsewhere'`)
	if len(resynced) == 0 {
		t.Error("another panel claims to know what a page has missed")
	}
}

// A panel that is killed in the middle of a wave goes on where it was when it is back, its
// page with it, and nothing is done twice.
func TestAPanelIsKilledUnderItsPage(t *testing.T) {
	data := filepath.Join(t.TempDir(), "panel")
	s := openSockets(t)
	w := launchAt(t, blank(data), s.at)
	token := must(w.panel.SetupToken(t.Context()))
	w.ann = w.ask("POST", "/api/v1/setup", view.SetupRequest{Token: token, Name: "ann", Password: annPassword}).is(http.StatusCreated, nil).cookies
	release := w.upload(build(t, newKey(t), "2.0.0", 2))
	w.stop()
	one := s.begin(t, data)
	const n = 12
	fleet := w.crew(simulate.Config{Devices: n, Times: simulate.Times{Start: 50 * time.Millisecond, Soak: 200 * time.Millisecond}})
	w.linked(n)
	p := w.as(browser(t), w.ann, "/rollouts")
	p.until(t, part("live")+".dataset.state === 'live'")
	p.run(t, chromedp.Evaluate("globalThis.same = true", nil))
	plan := inWaves(release.ID)
	plan.MaxUnavailable = 2
	r := w.runs(plan)
	p.until(t, "document.querySelector('[data-testid=\"rollouts\"] a')")
	p.run(t, chromedp.Evaluate("document.querySelector('[data-testid=\"rollouts\"] a').click()", nil))
	p.until(t, part("waves")+".querySelector('tr[data-open=\"true\"] th').innerText.startsWith('2')")
	if err := one.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = one.end() // it was killed
	p.until(t, part("lost"))
	s.begin(t, data)
	end := w.rolled(r.ID, "over", func(r view.Rollout) bool { return r.State == view.RolloutCompleted })
	p.until(t, "same && !"+part("lost")+" && document.querySelector('.head .state').dataset.state === 'completed'")
	if end.Total.Done != n {
		t.Errorf("it ends as %+v", end.Total)
	}
	for _, d := range fleet.Devices() {
		if did := d.Did(); did.Trials != 1 || did.Permanent != 1 || did.Stages != 1 {
			t.Errorf("%s has done %+v", d.ID, did)
		}
	}
	var lines view.Audit
	w.ask("GET", "/api/v1/audit?object=rollout+"+r.ID, nil).is(http.StatusOK, &lines)
	once := map[string]int{}
	for _, l := range lines.Lines {
		if once[l.Action+l.Detail]++; once[l.Action+l.Detail] > 1 {
			t.Errorf("twice in the audit: %s %s", l.Action, l.Detail)
		}
	}
	if len(once) < 5 {
		t.Errorf("the audit has %d lines on the rollout: %+v", len(once), lines.Lines)
	}
}
