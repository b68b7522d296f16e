package testrig_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"slipstream/adminpanel/client"
	"slipstream/agent/control"
	"slipstream/testrig/clients"
	"slipstream/testrig/device"
)

// tile is an expression of cam-1's tile.
const tile = `document.querySelector('[data-testid=tile][data-device=cam-1]')`

// decoding has a page note at least a second apart, for each device on a wall, what its first
// connection has decoded and for how long in all it stood still.
const decoding = `
globalThis.decoded = {};
const peers = [];
const Real = RTCPeerConnection;
globalThis.RTCPeerConnection = class extends Real {
  constructor(...args) { super(...args); peers.push(this); }
};
const sample = async () => {
  for (const tile of document.querySelectorAll('[data-testid=tile]')) {
    const track = tile.querySelector('video').srcObject?.getVideoTracks()[0];
    const peer = peers.find((p) => p.getReceivers().some((r) => r.track === track));
    const stats = peer && [...(await peer.getStats()).values()].find((s) => s.type === 'inbound-rtp');
    if (stats) (decoded[tile.dataset.device] ||= []).push([stats.framesDecoded, stats.totalFreezesDuration]);
  }
  setTimeout(sample, 1000);
};
sample();`

func countDecoded(t *testing.T, tab context.Context) {
	t.Helper()
	if err := chromedp.Run(tab, chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(decoding).Do(ctx)
		return err
	})); err != nil {
		t.Fatal(err)
	}
}

// decodes is that Chromium decoded pictures of cam-1 in every second. Where the machine stood
// still, so did the control.
func decodes(t *testing.T, tab context.Context) {
	t.Helper()
	until(t, tab, "['cam-1', 'control'].every((id) => decoded[id]?.length > 3)")
	var all map[string][][2]float64
	if err := chromedp.Run(tab, chromedp.Evaluate("decoded", &all)); err != nil {
		t.Fatal(err)
	}
	cam, ctl := all["cam-1"], all["control"]
	n := min(len(cam), len(ctl))
	for i := 1; i < n; i++ {
		if cam[len(cam)-i][0] == cam[len(cam)-i-1][0] && ctl[len(ctl)-i][0] > ctl[len(ctl)-i-1][0] {
			t.Errorf("nothing was decoded in the last second but %d: %v", i-1, cam)
		}
	}
	still, ctlStill := cam[len(cam)-1][1], ctl[len(ctl)-1][1]
	t.Logf("%d pictures decoded in %d samples, %.2f s still, control %.2f s", int(cam[len(cam)-1][0]), len(cam), still, ctlStill)
	if still > ctlStill+0.5 {
		t.Errorf("the picture stood still for %.2f s, the control's for %.2f s", still, ctlStill)
	}
}

// small adds a second stream to a version.
func small(rel device.Release) device.Release {
	rel.Streams = []string{"main", "sub"}
	return rel
}

// shows waits until a part of cam-1's tile has a text.
func shows(t *testing.T, tab context.Context, part, text string) {
	t.Helper()
	until(t, tab, fmt.Sprintf(`%s?.querySelector('%s')?.textContent.toUpperCase() === %q`, tile, part, text))
}

// until waits until a condition in the page holds.
func until(t *testing.T, tab context.Context, condition string) {
	t.Helper()
	if err := chromedp.Run(tab, chromedp.Poll(condition, nil, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(time.Minute))); err != nil {
		var now string
		_ = chromedp.Run(tab, chromedp.Evaluate(`JSON.stringify(slipstream.players) + document.body.innerText`, &now))
		t.Fatalf("%s: %v; %s", condition, err, now)
	}
}

// bringsBy has a version staged and activated through the panel, and waits until the tile says
// that it runs.
func (r *rig) bringsBy(tab context.Context, panel *device.Panel, version, slot string) {
	r.t.Helper()
	id, err := panel.Upload(r.ctx, r.build(small(watched(version))))
	if err != nil {
		r.t.Fatal(err)
	}
	if got := panel.Stage(r.ctx, "cam-1", id); got.Exit != control.ExitDone {
		r.t.Fatalf("stage %s: %+v", version, got)
	}
	r.asks(panel, client.Activate)
	shows(r.t, tab, ".slotname", slot)
	shows(r.t, tab, ".chipset b", version+".0")
}

// asks asks the device through the panel, and waits for its answer.
func (r *rig) asks(panel *device.Panel, verb string) {
	r.t.Helper()
	asked, err := panel.Ask(r.ctx, "cam-1", client.Wish{Verb: verb})
	if err == nil && !asked.Done {
		asked, err = panel.Follow(r.ctx, "cam-1", asked.ID, nil)
	}
	if err != nil || asked.Exit != control.ExitDone {
		r.t.Fatalf("%s: %+v, %v", verb, asked, err)
	}
}

// noteStates has the page note each state of cam-1's tile: what, when, whether the veil hangs
// and since when there is no new picture; and how late the page's own clocks are at worst.
const noteStates = `
globalThis.late = 0;
let last = performance.now();
setInterval(() => { const now = performance.now(); late = Math.max(late, now - last - 50); last = now; }, 50);
globalThis.states = [];
new MutationObserver(() => {
  const state = ` + tile + `.dataset.state;
  if (states.at(-1)?.state === state) return;
  states.push({ state, at: performance.now(), veil: !!` + tile + `.querySelector('[data-testid=veil]'), last: pictures['cam-1'].at(-1)[0] });
}).observe(` + tile + `, { attributeFilter: ['data-state'] }); 0`

// losesPower cuts a device's power. Its tile is veiled at once and counts, no other one is, and
// when the device is back so is its picture, without a reload. The tile says how long it was away.
func (r *rig) losesPower(tab context.Context) {
	r.t.Helper()
	const control = `slipstream.players.find((p) => p.device === 'control').frames`
	if err := chromedp.Run(tab, chromedp.Evaluate(noteStates, nil), chromedp.Evaluate(`globalThis.untouched = `+control, nil)); err != nil {
		r.t.Fatal(err)
	}
	if err := r.KillAll(); err != nil {
		r.t.Fatal(err)
	}
	until(r.t, tab, tile+`.querySelector('[data-testid=veil] .timer')?.textContent`)
	until(r.t, tab, control+` > untouched + 30`)
	if err := r.StartAgent(r.ctx); err != nil {
		r.t.Fatal(err)
	}
	until(r.t, tab, `states.length > 1 && `+tile+`.dataset.state === 'playing' && !`+tile+`.querySelector('[data-testid=veil]')`)
	r.wasTold(tab)
}

// wasTold judges what the page noted of a power cut.
func (r *rig) wasTold(tab context.Context) {
	r.t.Helper()
	var noted struct {
		States []struct {
			State    string
			At, Last float64
			Veil     bool
		}
		Late, Worst float64
		Said        string
	}
	if err := chromedp.Run(tab, chromedp.Evaluate(`({ states, late, worst: slipstream.players.find((p) => p.device === 'cam-1').worst,
		said: `+tile+`.querySelector('[data-testid=gap]').textContent })`, &noted)); err != nil {
		r.t.Fatal(err)
	}
	first, last := noted.States[0], noted.States[len(noted.States)-1]
	all, err := clients.PresentedSince(tab, first.Last)
	if err != nil {
		r.t.Fatal(err)
	}
	gap, veil := all["cam-1"].LongestGap(), first.At-first.Last
	r.t.Logf("a power cut: veiled after %.0f ms (the page's clocks are %.0f ms late), %d changes in %.0f ms; the tile says %s (%.0f ms), presented were none for %.0f ms",
		veil, noted.Late, len(noted.States), last.At-first.At, noted.Said, noted.Worst, gap)
	if first.State != "stalled" || !first.Veil || veil > 700+noted.Late {
		r.t.Errorf("the picture stood still, and the tile was %s after %.0f ms: %+v", first.State, veil, noted)
	}
	const frame = 100 // ms, of a slow picture
	if noted.Worst < gap-frame || noted.Worst > gap+frame {
		r.t.Errorf("the tile's worst gap is %.0f ms, %.0f ms was seen", noted.Worst, gap)
	}
	figure, inSeconds := strings.CutSuffix(noted.Said, " s")
	said, err := strconv.ParseFloat(strings.TrimSuffix(figure, " ms"), 64)
	if inSeconds {
		said *= 1000
	}
	if err != nil || said < noted.Worst-500 || said > noted.Worst+500 {
		r.t.Errorf("the tile says %q of %.0f ms", noted.Said, noted.Worst)
	}
}
