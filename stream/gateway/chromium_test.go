package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"slipstream/stream/orders"
)

// page plays a stream by WHEP and notes when each picture is presented.
const page = `<!doctype html><video autoplay muted playsinline></video><script>
window.presented = []
window.pc = new RTCPeerConnection()
async function play(url) {
  const video = document.querySelector('video')
  const note = now => { presented.push(now); video.requestVideoFrameCallback(note) }
  video.requestVideoFrameCallback(note)
  pc.addTransceiver('video', { direction: 'recvonly' })
  pc.ontrack = e => { video.srcObject = new MediaStream([e.track]) }
  await pc.setLocalDescription(await pc.createOffer())
  const res = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp })
  await pc.setRemoteDescription({ type: 'answer', sdp: await res.text() })
}
async function report() {
  const stats = [...(await pc.getStats()).values()]
  return {
    state: pc.connectionState, cipher: stats.find(s => s.type === 'transport').srtpCipher,
    decoded: stats.find(s => s.type === 'inbound-rtp').framesDecoded, dropped: stats.find(s => s.type === 'inbound-rtp').packetsLost,
    gap: Math.max(...presented.slice(1).map((at, i) => at - presented[i])),
  }
}
async function explain() {
  const stats = [...(await pc.getStats()).values()].filter(s => /candidate|transport|inbound/.test(s.type))
  return JSON.stringify({ state: pc.connectionState, now: performance.now(), last: presented.at(-1), stats })
}
</script>`

// Chromium plays on when the gateway is killed, with the connection that it has,
// and through a switch and a revert.
func TestChromiumOutlivesTheGateway(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("this test needs chromium: apt-get install chromium")
	}
	w := newStage(t)
	w.forward(t)
	w.publish(t)
	whep, _, kill := w.spawn(t, "127.0.0.1:0", ":0")
	site := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, page) }))
	defer site.Close()

	alloc, cancelAlloc := chromedp.NewExecAllocator(t.Context(), append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.ModifyCmdFunc(func(*exec.Cmd) {}), // no parent-death signal, as for ffmpeg
	)...)
	defer cancelAlloc()
	tab, cancel := chromedp.NewContext(alloc)
	defer cancel()
	presents := func(expression string) chromedp.Action {
		return chromedp.Poll(expression, nil, chromedp.WithPollingTimeout(patience))
	}
	if err := chromedp.Run(tab, chromedp.Navigate(site.URL),
		chromedp.Evaluate(fmt.Sprintf("play('http://%s/whep/main')", whep), nil, awaitPromise),
		presents("presented.length > 30"),
	); err != nil {
		t.Fatal(err)
	}
	kill()
	w.swap(t)
	var report struct {
		State, Cipher    string
		Decoded, Dropped int
		Gap              float64
	}
	if err := chromedp.Run(tab,
		chromedp.Evaluate(fmt.Sprintf("window.enough = performance.now() + %d", 2*consent.Milliseconds()), nil),
		presents("presented.at(-1) > enough"),
		chromedp.Evaluate("report()", &report, awaitPromise),
	); err != nil {
		var why string
		_ = chromedp.Run(tab, chromedp.Evaluate("explain()", &why, awaitPromise)) // as much as can be had
		t.Fatalf("%v: %s\nforwarder: %+v", err, why, w.ask(t, orders.Request{Status: true}, orders.ResultOK).Status)
	}
	t.Logf("%+v", report)
	if report.State != "connected" || report.Dropped != 0 || report.Gap > 2000 {
		t.Errorf("after the gateway's end: %+v", report)
	}
	if !strings.Contains(report.Cipher, "AES_128_GCM") {
		t.Errorf("the cipher is %s", report.Cipher)
	}
}

func awaitPromise(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
