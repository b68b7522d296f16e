package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"slipstream/stream/gateway"
	"slipstream/stream/orders"
	"slipstream/stream/viewers"
)

// page plays a stream by WHEP, with its sound if it is wanted, and notes when each
// picture is presented.
const page = `<!doctype html><video autoplay muted playsinline></video><script>
window.presented = []
window.pc = new RTCPeerConnection()
async function play(url, token, sound) {
  const video = document.querySelector('video')
  const note = now => { presented.push(now); video.requestVideoFrameCallback(note) }
  video.requestVideoFrameCallback(note)
  if (sound) pc.addTransceiver('audio', { direction: 'recvonly' })
  video.muted = !sound
  pc.addTransceiver('video', { direction: 'recvonly' })
  pc.ontrack = e => { video.srcObject = e.streams[0] }
  await pc.setLocalDescription(await pc.createOffer())
  const headers = token ? { Authorization: 'Bearer ' + token } : {}
  const res = await fetch(url, { method: 'POST', headers: { ...headers, 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp })
  if (!res.ok) throw new Error(res.status + ' ' + await res.text())
  window.session = { url: new URL(res.headers.get('Location'), url), headers, answer: await res.text(), tag: res.headers.get('ETag') }
  await pc.setRemoteDescription({ type: 'answer', sdp: session.answer })
}
async function restart() {
  await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }))
  while (pc.iceGatheringState !== 'complete') await new Promise(done => setTimeout(done, 20))
  const lines = pc.localDescription.sdp.split('\r\n').filter(l => /^(m=|a=(group|mid|ice-ufrag|ice-pwd|candidate):)/.test(l))
  const res = await fetch(session.url, { method: 'PATCH', body: lines.join('\r\n') + '\r\n',
    headers: { ...session.headers, 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' } })
  if (res.status !== 200 || res.headers.get('ETag') === session.tag) throw new Error(res.status + ' ' + await res.text())
  const fragment = await res.text()
  for (const key of ['ice-ufrag', 'ice-pwd']) {
    const line = fragment.match(new RegExp('a=' + key + ':.*'))[0]
    session.answer = session.answer.replaceAll(new RegExp('a=' + key + ':.*', 'g'), line)
  }
  await pc.setRemoteDescription({ type: 'answer', sdp: session.answer })
}
async function leave() { return (await fetch(session.url, { method: 'DELETE', headers: session.headers })).status }
async function report() {
  const stats = [...(await pc.getStats()).values()]
  return {
    state: pc.connectionState, cipher: stats.find(s => s.type === 'transport').srtpCipher,
    decoded: stats.find(s => s.type === 'inbound-rtp').framesDecoded, dropped: stats.find(s => s.type === 'inbound-rtp').packetsLost,
    gap: Math.max(...presented.slice(1).map((at, i) => at - presented[i])),
  }
}
async function sound() {
  const s = [...(await pc.getStats()).values()].find(s => s.type === 'inbound-rtp' && s.kind === 'audio')
  return { codec: pc.getReceivers().find(r => r.track.kind === 'audio').getParameters().codecs[0].mimeType,
    packets: s.packetsReceived, lost: s.packetsLost, energy: s.totalAudioEnergy, streams: new Set(pc.getReceivers().map(r => r.track.id)).size }
}
async function explain() {
  const stats = [...(await pc.getStats()).values()].filter(s => /candidate|transport|inbound/.test(s.type))
  return JSON.stringify({ state: pc.connectionState, now: performance.now(), last: presented.at(-1), stats })
}
</script>`

// newSite serves the page from an origin of its own.
func newSite(t *testing.T) (url string) {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, page) }))
	t.Cleanup(site.Close)
	return site.URL
}

// browse opens a page in Chromium.
func browse(t *testing.T, url string) (tab context.Context) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("this test needs chromium: apt-get install chromium")
	}
	alloc, cancelAlloc := chromedp.NewExecAllocator(t.Context(), append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.ModifyCmdFunc(func(*exec.Cmd) {}), // no parent-death signal, as for ffmpeg
	)...)
	t.Cleanup(cancelAlloc)
	tab, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	if err := chromedp.Run(tab, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return tab
}

// presents waits until the page says so.
func presents(expression string) chromedp.Action {
	return chromedp.Poll(expression, nil, chromedp.WithPollingTimeout(patience))
}

// Chromium plays on when the gateway is killed, with the connection that it has,
// and through a switch and a revert.
func TestChromiumOutlivesTheGateway(t *testing.T) {
	t.Parallel()
	w := newStage(t)
	w.forward(t)
	w.publish(t)
	whep, _, kill := w.spawn(t, "127.0.0.1:0", ":0")
	site := newSite(t)
	tab := browse(t, site)
	if err := chromedp.Run(tab,
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

// Chromium, from a page of a named origin and with a token, plays a picture in High
// profile, which it offers as part of a larger one, and its sound, and restarts ICE.
func TestChromiumWithSound(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "viewers")
	token, err := viewers.Add(file, "browser")
	if err != nil {
		t.Fatal(err)
	}
	site := newSite(t)
	w := newWorld(t, func(c *gateway.Config) { c.Public, c.Viewers, c.Origins = false, file, []string{site} })
	w.forward(t)
	w.publishBoth(t, orders.H264, orders.Opus, "-preset", "superfast", "-profile:v", "high")
	tab := browse(t, site)
	var sound struct {
		Codec         string
		Packets, Lost int
		Energy        float64
	}
	step := func(what string, actions ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(tab, actions...); err != nil {
			var why string
			_ = chromedp.Run(tab, chromedp.Evaluate("explain()", &why, awaitPromise)) // as much as can be had
			t.Fatalf("%s: %v: %s", what, err, why)
		}
	}
	step("play", chromedp.Evaluate(fmt.Sprintf("play('%s', '%s', true)", w.whep, token), nil, awaitPromise), presents("presented.length > 30"))
	step("sound", presents("sound().then(s => s.packets > 50 && s.energy > 0)"), chromedp.Evaluate("sound()", &sound, awaitPromise))
	if sound.Codec != "audio/opus" || sound.Lost != 0 {
		t.Errorf("sound: %+v", sound)
	}
	step("restart", chromedp.Evaluate("restart()", nil, awaitPromise))
	w.log.await(t, "ICE restarted")
	w.log.await(t, "viewer moved")
	heard := sound.Packets
	step("play on", chromedp.Evaluate("window.enough = presented.length + 60", nil), presents("presented.length > enough && pc.connectionState === 'connected'"),
		presents(fmt.Sprintf("sound().then(s => s.packets > %d)", heard+100)))
	var status int
	step("leave", chromedp.Evaluate("leave()", &status, awaitPromise))
	if status != http.StatusOK {
		t.Errorf("DELETE: %d", status)
	}
	w.log.await(t, "the viewer ended it")
}

func awaitPromise(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
