package clients_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/clients"
	"slipstream/testrig/stand"
	"slipstream/testrig/standtest"
	"slipstream/testrig/viewer"
)

// stall is the stall limit of the apps here: decoders keep this machine busy.
const stall = time.Second

// versions are those on trial, in turns.
var versions = []string{"2.0", "3.0", "4.0", "5.0", "6.0"}

// theatre is a stand with an app and viewers that decode.
type theatre struct {
	*standtest.World
	old      *stand.App
	viewers  []*viewer.Viewer
	decoders []*clients.Decoder
	seen     []int // of each decoder, how many pictures were judged
	apps     int
}

func newTheatre(t *testing.T) *theatre {
	t.Helper()
	th := &theatre{World: standtest.New(t)}
	th.old = th.App(stand.AppConfig{ID: "a-1", Version: "1.0", Stall: stall}, func(a *stand.App) error { return th.Order(th.Ctx, nil, a.Part) })
	return th
}

// audience joins everybody.
func (th *theatre) audience() {
	th.T.Helper()
	th.viewers = th.Watch("1.0")
	for _, start := range []func() (*clients.Decoder, error){
		func() (*clients.Decoder, error) { return clients.FFmpeg(th.Ctx, th.RTSP(), "tcp") },
		func() (*clients.Decoder, error) { return clients.GStreamer(th.Ctx, th.RTSP(), "tcp") },
		func() (*clients.Decoder, error) { return clients.GStreamer(th.Ctx, th.RTSP(), "udp") },
	} {
		d, err := start()
		th.Must(err)
		th.T.Cleanup(func() { d.Stop() })
		th.decoders = append(th.decoders, d)
	}
	for _, d := range th.decoders {
		_, err := d.Shows(th.Ctx, "1.0", 0)
		th.Must(err)
		th.seen = append(th.seen, d.Count())
	}
}

// everybody waits until all see a version that was not seen since an instant.
func (th *theatre) everybody(version string, since time.Duration, from []int) {
	th.T.Helper()
	for _, v := range th.viewers {
		th.Sees(v, version, since)
	}
	for i, d := range th.decoders {
		_, err := d.Shows(th.Ctx, version, from[i])
		th.Must(err)
	}
}

func (th *theatre) counts() (counts []int) {
	for _, d := range th.decoders {
		counts = append(counts, d.Count())
	}
	return counts
}

// round brings a version on trial, and ends it in one of three ways.
func (th *theatre) round(i int) {
	th.T.Helper()
	version := versions[i%len(versions)]
	if version == th.old.Source.Version {
		version = versions[(i+1)%len(versions)]
	}
	th.apps++
	b := th.App(stand.AppConfig{ID: fmt.Sprintf("b-%d", th.apps), Version: version, Stall: stall},
		func(a *stand.App) error { return th.Order(th.Ctx, nil, th.old.Part, a.Part) })
	since, counts := publish.Monotonic(), th.counts()
	id, err := th.Try(th.Ctx, th.old.Part, b.Part)
	th.Must(err)
	_, err = th.Switched(th.Ctx, id)
	th.Must(err)
	th.everybody(version, since, counts)
	since, counts = publish.Monotonic(), th.counts()
	switch i % 3 {
	case 0:
		b.Signal(syscall.SIGKILL)
		_, err = th.Reverted(th.Ctx, id)
	case 1:
		_, err = th.Revert(th.Ctx, id)
	case 2:
		th.Must(th.Commit(th.Ctx, id, b.Source.ID))
		th.Must(th.Order(th.Ctx, nil, b.Part))
		th.old.End()
		th.old = b
		return
	}
	th.Must(err)
	th.everybody(th.old.Source.Version, since, counts)
	th.Must(th.Order(th.Ctx, nil, th.old.Part))
	b.End()
}

// disturb lets happen between rounds what happens to a device now and then: the
// gateway dies, the forwarder is replaced, and once, in the middle, it crashes.
func (th *theatre) disturb(i, count int) {
	th.T.Helper()
	switch {
	case i == count/2:
		th.Must(th.CrashForwarder(th.Ctx))
		th.Must(th.Order(th.Ctx, nil, th.old.Part))
	case i%3 == 1:
		th.Must(th.Succeed(th.Ctx))
		th.Must(th.Order(th.Ctx, nil, th.old.Part))
	case i%5 == 3:
		th.Gateway().Kill()
		th.Must(th.StartGateway(th.Ctx))
	}
}

// judge checks what everybody got since an instant.
func (th *theatre) judge(from time.Duration) {
	th.T.Helper()
	for _, v := range th.viewers {
		r := th.Clean(v, th.old.Source.Version, from)
		th.T.Logf("%s: %+v", v.Kind, r)
		if r.SkippedFrames > 0 {
			th.T.Errorf("%s: %d scenes were never shown", v.Kind, r.SkippedFrames)
		}
	}
	for i, d := range th.decoders {
		th.Must(d.Reaches(th.Ctx, d.Count()+30))
		if err := d.Judge(th.seen[i]); err != nil {
			th.T.Error(err)
		}
		count := d.Count()
		if said := d.Stop(); said != "" {
			th.T.Errorf("%s complains:\n%s", d.Name, said)
		}
		th.T.Logf("%s decoded %d pictures", d.Name, count)
	}
}

// ffmpeg and GStreamer watch switches, crashes, reverts and commits; each picture is
// there, and they have nothing to complain of.
func TestDecodersSeeEveryFrame(t *testing.T) {
	t.Parallel()
	th := newTheatre(t)
	th.audience()
	from := publish.Monotonic()
	count := standtest.Rounds(5, 50)
	for i := range count {
		th.round(i)
		th.disturb(i, count)
	}
	th.judge(from)
}

// Chromium watches the same beside a stream that nobody touches.
func TestChromiumSeesNoGap(t *testing.T) {
	t.Parallel()
	th := newTheatre(t)
	th.viewers = []*viewer.Viewer{th.Join("1.0", func() (*viewer.Viewer, error) { return viewer.DialWHEP(th.Ctx, th.WHEP()) })}
	control := newTheatre(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, clients.Page) }))
	defer site.Close()
	tab, stop, err := clients.Browser(th.Ctx)
	th.Must(err)
	defer func() {
		if err := stop(); err != nil {
			t.Log(err)
		}
	}()
	play := func(name, url string) chromedp.Action {
		return chromedp.Evaluate(fmt.Sprintf("play(%q, %q)", name, url), nil, clients.AwaitPromise)
	}
	th.Must(chromedp.Run(tab, chromedp.Navigate(site.URL), play("cam", th.WHEP()), play("control", control.WHEP()),
		clients.Note("videos"), chromedp.Poll("pictures.cam.length > 30 && pictures.control.length > 30", nil, chromedp.WithPollingTimeout(time.Minute))))
	begin := publish.Monotonic()
	const frame = 1000.0 / camera.FrameRate
	count, late := standtest.Rounds(5, 50), 0
	for i := range count {
		var from float64
		th.Must(chromedp.Run(tab, chromedp.Evaluate("performance.now()", &from)))
		since := publish.Monotonic()
		th.round(i)
		th.disturb(i, count)
		th.Must(chromedp.Run(tab, chromedp.Sleep(500*time.Millisecond)))
		all, err := clients.PresentedSince(tab, from)
		th.Must(err)
		cam, spare := all["cam"], all["control"]
		jump := th.viewers[0].Report(since, publish.Monotonic()).ContentJumpMS
		t.Logf("round %d: longest gap %.0f ms, control %.0f ms; back by %d frames, %.0f ms sent again; %d pictures, %d unreadable",
			i, cam.LongestGap(), spare.LongestGap(), cam.WentBack(), jump, len(cam), cam.Unreadable())
		if gap, limit := cam.LongestGap(), spare.LongestGap()+2*frame; gap > limit {
			late++
			t.Logf("round %d: %.0f ms without a picture, %.0f ms allowed", i, gap, limit)
		}
		if back := float64(cam.WentBack()) * frame; back > jump+frame/2 {
			t.Errorf("round %d: the picture went back by %.0f ms, %.0f ms were sent again", i, back, jump)
		}
	}
	// The two streams have processes of their own, and a busy machine may let those
	// of one wait: now and then, but not with every switch.
	if late > count/5 {
		t.Errorf("%d of %d rounds had a gap beyond the control's", late, count)
	}
	var stats map[string]clients.PeerStats
	th.Must(chromedp.Run(tab, chromedp.Evaluate("stats()", &stats, clients.AwaitPromise)))
	t.Logf("%+v", stats)
	// Frames that are sent again may be too old for a screen, and are not decoded then.
	// What Chromium counts as a freeze is judged against its mean interval, which they
	// shorten too: the gaps above are compared instead.
	again := th.viewers[0].Report(begin, publish.Monotonic()).ReplayedFrames
	for name, s := range stats {
		if s.State != "connected" || s.Lost+s.PLIs+s.Nacks > 0 || s.Dropped > stats["control"].Dropped+again+10*late {
			t.Errorf("%s: %+v, %d frames were sent again", name, s, again)
		}
	}
	th.judge(begin)
}
