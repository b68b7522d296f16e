package clients

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"slipstream/testrig/camera"
)

// Browser starts headless Chromium with one tab, which ends with the returned
// function. options are more of its flags.
func Browser(ctx context.Context, options ...chromedp.ExecAllocatorOption) (tab context.Context, stop func() error, err error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, nil, errors.New("chromium is missing: apt-get install chromium")
	}
	all := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.Flag("no-sandbox", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		// Without names that hide them, the two ends of one machine meet at once.
		chromedp.Flag("disable-features", "site-per-process,Translate,WebRtcHideLocalIpsWithMdns"),
	)
	alloc, cancelAlloc := chromedp.NewExecAllocator(ctx, append(all, options...)...)
	tab, cancel := chromedp.NewContext(alloc)
	return tab, func() error {
		err := chromedp.Cancel(tab)
		cancel()
		cancelAlloc()
		return err
	}, nil
}

// Note is a script that notes, for videos by a name of the caller's, each picture
// that Chromium presents: when, and the counter that is drawn into it. videos is an
// expression of an object from names to video elements.
func Note(videos string) chromedp.Action {
	return chromedp.Evaluate(fmt.Sprintf(`(videos => {
  window.pictures = {};
  for (const [name, video] of Object.entries(videos)) {
    const seen = window.pictures[name] = [];
    const canvas = new OffscreenCanvas(%[2]d, %[3]d);
    const view = canvas.getContext('2d', { willReadFrequently: true });
    const note = (now) => {
      view.drawImage(video, 0, 0, %[2]d, %[3]d);
      const row = view.getImageData(0, 162, %[2]d, 1).data;
      let n = 0, ones = 0;
      for (let i = 0; i < %[1]d; i++) {
        const white = row[(32 * i + 16) * 4] >= 128 ? 1 : 0;
        ones += white;
        if (i < %[1]d - 1) n = n * 2 + white;
      }
      seen.push([now, ones %% 2 === 1 ? n : -1]);
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  }
})(%[4]s)`, camera.CounterBlocks, Width, Height, videos), nil)
}

// Presented is what one video presented in a window of the page's time: when in ms,
// and the picture's counter, −1 where it could not be read.
type Presented [][2]float64

// PresentedSince reads what was noted since a moment of the page's time.
func PresentedSince(tab context.Context, from float64) (all map[string]Presented, err error) {
	err = chromedp.Run(tab, chromedp.Evaluate(
		fmt.Sprintf(`Object.fromEntries(Object.entries(pictures).map(([name, p]) => [name, p.filter(f => f[0] >= %f)]))`, from), &all))
	return all, err
}

// LongestGap is the longest time in ms without a new picture.
func (p Presented) LongestGap() (gap float64) {
	for i := 1; i < len(p); i++ {
		gap = max(gap, p[i][0]-p[i-1][0])
	}
	return gap
}

// WentBack is the largest step back of the counter, in frames.
func (p Presented) WentBack() (frames int) {
	last := -1
	for _, picture := range p {
		n := int(picture[1])
		if n < 0 {
			continue
		}
		if back := (last - n + camera.CounterModulo) % camera.CounterModulo; last >= 0 && back < camera.CounterModulo/2 {
			frames = max(frames, back)
		}
		last = n
	}
	return frames
}

// Unreadable is how many pictures had no counter.
func (p Presented) Unreadable() (n int) {
	for _, picture := range p {
		if picture[1] < 0 {
			n++
		}
	}
	return n
}

// AwaitPromise makes an evaluation wait for the promise that it returns.
func AwaitPromise(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// Page plays streams by WHEP: play(NAME, URL) joins one, stats() tells of all.
const Page = `<!doctype html><body></body><script>
window.videos = {}
window.peers = {}
async function play(name, url) {
  const video = videos[name] = document.createElement('video')
  video.autoplay = video.muted = video.playsInline = true
  document.body.append(video)
  const pc = peers[name] = new RTCPeerConnection()
  pc.addTransceiver('video', { direction: 'recvonly' })
  pc.ontrack = e => { video.srcObject = new MediaStream([e.track]) }
  await pc.setLocalDescription(await pc.createOffer())
  const res = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp })
  if (!res.ok) throw new Error(res.status + ' ' + await res.text())
  await pc.setRemoteDescription({ type: 'answer', sdp: await res.text() })
}
async function stats() {
  const all = {}
  for (const [name, pc] of Object.entries(peers)) {
    const s = [...(await pc.getStats()).values()].find(s => s.type === 'inbound-rtp')
    all[name] = { state: pc.connectionState, lost: s.packetsLost, freezes: s.freezeCount, dropped: s.framesDropped, decoded: s.framesDecoded,
      received: s.framesReceived, plis: s.pliCount, nacks: s.nackCount }
  }
  return all
}
</script>`

// PeerStats is what stats() tells of one connection.
type PeerStats struct {
	State                                                  string
	Lost, Freezes, Dropped, Decoded, Received, PLIs, Nacks int
}
