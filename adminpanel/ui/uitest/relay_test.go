package uitest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/pion/webrtc/v3"

	"slipstream/adminpanel/ui/uitest"
)

// unreachable answers an offer as a device does to which there is no way.
func unreachable(t *testing.T, offer string) (string, error) {
	var settings webrtc.SettingEngine
	settings.SetInterfaceFilter(func(string) bool { return false })
	var media webrtc.MediaEngine
	if err := media.RegisterDefaultCodecs(); err != nil {
		return "", err
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(&media)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	t.Cleanup(func() { pc.Close() })
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

// Where there is no way to the device its pictures are asked of the panel; and of the device
// again, where the panel has none.
func TestPicturesComeThroughThePanel(t *testing.T) {
	asked := make(chan string, 100)
	p := openWith(t, uitest.Sample(5, time.Now()), "/devices/cam-00001", func(s *uitest.Server) {
		s.WHEP = func(r *http.Request, offer string) (string, error) {
			select {
			case asked <- r.URL.Query().Get("via"):
			default:
			}
			return unreachable(t, offer)
		}
	})
	for i, want := range []string{"", "panel"} {
		select {
		case got := <-asked:
			if got != want {
				t.Errorf("try %d goes via %q, want %q", i, got, want)
			}
		case <-time.After(patience):
			t.Fatalf("there was no try %d", i)
		}
	}
	p.run(chromedp.Navigate("about:blank"))
}
