package gateway_test

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"slipstream/stream/gateway"
)

func request(t *testing.T, method, url string) *http.Response {
	t.Helper()
	res, _ := requestText(t, method, url)
	return res
}

// requestText is request with the answer's text.
func requestText(t *testing.T, method, url string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func TestViewerPlaysByWHEP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	v := join(t, w.whep)
	if first := v.pass(t, 1); !first.key || !first.sets {
		t.Errorf("first picture: %+v", first)
	}
	v.pass(t, 60)
	v.unbroken(t)
	if n := w.viewers(t); n != 1 {
		t.Errorf("the forwarder has %d viewers", n)
	}
	for _, want := range []string{"a=ice-lite\r\n", "a=setup:passive\r\n", "a=sendonly\r\n", " 127.0.0.1 ", "packetization-mode=1"} {
		if !strings.Contains(v.answer, want) {
			t.Errorf("answer lacks %q:\n%s", want, v.answer)
		}
	}

	other := strings.Replace(v.location, "/main/", "/sub/", 1)
	if res := request(t, http.MethodDelete, other); res.StatusCode != http.StatusNotFound {
		t.Errorf("DELETE of another stream's session: %s", res.Status)
	}
	if res := request(t, http.MethodDelete, v.location); res.StatusCode != http.StatusOK {
		t.Errorf("DELETE: %s", res.Status)
	}
	w.log.await(t, "the viewer ended it")
	if n := w.viewers(t); n != 0 {
		t.Errorf("the forwarder still has %d viewers", n)
	}
	if res := request(t, http.MethodDelete, v.location); res.StatusCode != http.StatusNotFound {
		t.Errorf("second DELETE: %s", res.Status)
	}
}

// The wall-clock time of a picture must follow from a sender report.
func TestSenderReportsTellCaptureTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	v := join(t, w.whep)
	var report *rtcp.SenderReport
	f := v.until(t, "sender report", func(frame) bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(v.reports) == 2 {
			report = v.reports[1]
		}
		return report != nil
	})
	told := time.Unix(int64(report.NTPTime>>32)-2_208_988_800, int64(report.NTPTime&0xffffffff*1e9>>32))
	captured := told.Add(time.Duration(int32(f.ts-report.RTPTime)) * time.Second / 90_000)
	if age := f.at.Sub(captured); age < -50*time.Millisecond || age > 2*time.Second {
		t.Errorf("a picture that came at %v was captured at %v by the report", f.at, captured)
	}
	if report.PacketCount == 0 || report.OctetCount < report.PacketCount || report.SSRC != uint32(v.ssrc) {
		t.Errorf("report: %+v", report)
	}
}

// A viewer that lost the picture gets a key frame before the next one is due.
func TestPictureLossIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	v := join(t, w.whep)
	for range 3 {
		v.until(t, "key frame", func(f frame) bool { return f.key })
		v.pass(t, 2) // the next one is 13 frames away
		if err := v.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(v.ssrc)}}); err != nil {
			t.Fatal(err)
		}
		n := 0
		v.until(t, "key frame", func(f frame) bool { n++; return f.key })
		if n <= 8 {
			v.unbroken(t)
			return
		}
	}
	t.Error("key frames came at their own time only")
}

// A UDP address without an IP takes viewers on all of the device's own, every time.
func TestWildcardAddresses(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{":0", "0.0.0.0:0"} {
		w := newWorld(t, func(c *gateway.Config) { c.UDP, c.RTSP = addr, addr })
		w.forward(t)
		w.publish(t)
		for range 8 {
			v := join(t, w.whep)
			v.pass(t, 2)
			v.unbroken(t)
			if !strings.Contains(v.answer, " 127.0.0.1 ") {
				t.Errorf("answer lacks the loopback address:\n%s", v.answer)
			}
			v.pc.Close()
		}
		_, port, _ := net.SplitHostPort(w.gateway.RTSPAddr().String())
		play(t, "rtsp://127.0.0.1:"+port+"/main", "udp", 10)
	}
}

func TestAdvertisedAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) {
		c.Advertise = []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("2001:db8::7")}
	})
	w.forward(t)
	w.publish(t)
	v := join(t, w.whep)
	var got []string
	for _, m := range regexp.MustCompile(`a=candidate:\d+ 1 udp \d+ (\S+) \d+ typ host`).FindAllStringSubmatch(v.answer, -1) {
		got = append(got, m[1])
	}
	if want := "192.0.2.7 127.0.0.1 2001:db8::7"; strings.Join(got, " ") != want || strings.Count(v.answer, "a=candidate") != 3 {
		t.Errorf("candidates %v, want %s\n%s", got, want, v.answer)
	}
	v.pass(t, 10) // through the one that is true
	v.unbroken(t)
}

func TestNoPictureYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	offer := newOffer(t, newPeer(t))
	for _, c := range []struct{ state, says string }{
		{"no forwarder", "the forwarder is away; try again in a moment\n"},
		{"no source", "the stream has no picture yet\n"},
	} {
		res, body := post(t, w.whep, "application/sdp", offer)
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || body != c.says {
			t.Errorf("%s: %s %v %q", c.state, res.Status, res.Header, body)
		}
		if c.state == "no forwarder" {
			w.forward(t)
		}
	}
	res, body := post(t, strings.Replace(w.whep, "main", "other", 1), "application/sdp", offer)
	if res.StatusCode != http.StatusNotFound || res.Header.Get("Retry-After") != "" || body != "there is no such stream\n" {
		t.Errorf("a stream that no version has: %s %v %q", res.Status, res.Header, body)
	}
}

func TestSessionLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.MaxViewers = 1 })
	w.forward(t)
	w.publish(t)
	v := join(t, w.whep)
	v.pass(t, 1)
	offer := newOffer(t, newPeer(t))
	res, body := post(t, w.whep, "application/sdp", offer)
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(body, "places") {
		t.Errorf("%s: %q", res.Status, body)
	}
	request(t, http.MethodDelete, v.location)
	w.log.await(t, "viewer left")
	join(t, w.whep).pass(t, 1)
}

func TestOffersThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	good := newOffer(t, newPeer(t))
	withData := newPeer(t)
	if _, err := withData.CreateDataChannel("x", nil); err != nil {
		t.Fatal(err)
	}
	onlyData, err := withData.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	video := good[strings.Index(good, "m=video"):]
	for _, c := range []struct {
		name, path, kind, body string
		status                 int
		says                   string
	}{
		{"no SDP", "main", "application/sdp", "hello", 400, "not SDP"},
		{"an empty body", "main", "application/sdp", "", 400, "use a recvonly transceiver"},
		{"a data channel", "main", "application/sdp", newOffer(t, withData), 400, "no data channel"},
		{"a data channel alone", "main", "application/sdp", onlyData.SDP, 400, "no data channel"},
		{"no section", "main", "application/sdp", good[:strings.Index(good, "m=video")], 400, "use a recvonly transceiver"},
		{"two videos", "main", "application/sdp", good + video, 400, "two video sections"},
		{"no BUNDLE", "main", "application/sdp", strings.Replace(good, "a=group:BUNDLE 0", "a=group:LS 0", 1), 400, "BUNDLE"},
		{"a section outside of BUNDLE", "main", "application/sdp", strings.Replace(good, "a=group:BUNDLE 0", "a=group:BUNDLE 1", 1), 400, "BUNDLE"},
		{"RTCP on a port of its own", "main", "application/sdp", strings.ReplaceAll(good, "a=rtcp-mux\r\n", ""), 400, "rtcp-mux"},
		{"a hundred sections", "main", "application/sdp", good + strings.Repeat("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", 100), 400, "limit is 8"},
		{"video to send", "main", "application/sdp", strings.Replace(good, "recvonly", "sendonly", 1), 400, "does not ask to receive"},
		{"the DTLS server's role", "main", "application/sdp", strings.Replace(good, "setup:actpass", "setup:passive", 1), 400, "must be the DTLS client"},
		{"ICE-lite", "main", "application/sdp", strings.Replace(good, "t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n", 1), 400, "ICE-lite"},
		{"no H.264", "main", "application/sdp", strings.ReplaceAll(good, "H264", "H263"), 406, "the offer does not have"},
		{"single NAL units only", "main", "application/sdp", strings.ReplaceAll(good, "packetization-mode=1", "packetization-mode=0"), 406, "packetization-mode=1"},
		{"no fingerprint", "main", "application/sdp", strings.ReplaceAll(good, "a=fingerprint", "a=finger"), 400, "not usable"},
		{"no credentials", "main", "application/sdp", strings.ReplaceAll(good, "a=ice-pwd", "a=ice-p"), 400, "not usable"},
		{"another type", "main", "application/json", good, 415, "application/sdp"},
		{"no type", "main", "", good, 415, "application/sdp"},
		{"sound alone", "main", "application/sdp", strings.Replace(good, "m=video", "m=audio", 1), 406, "the offer does not have"},
		{"more than 64 KiB", "main", "application/sdp", good + strings.Repeat("a=x\r\n", 14000), 413, "64 KiB"},
		{"a name with a line feed", "main%0axxxxxx", "application/sdp", good, 404, "name"},
		{"a long name", strings.Repeat("x", 65), "application/sdp", good, 404, "name"},
	} {
		res, body := post(t, strings.Replace(w.whep, "main", c.path, 1), c.kind, c.body)
		if res.StatusCode != c.status || !strings.Contains(body, c.says) || strings.Count(body, "\n") != 1 {
			t.Errorf("%s: %s %q; want %d and %q", c.name, res.Status, body, c.status, c.says)
		}
	}
	join(t, w.whep).pass(t, 1)
}

// A viewer's candidates are where pion would call; the gateway must not know them.
func TestOfferWithCandidatesStillPlays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	offer := newOffer(t, newPeer(t))
	offer = strings.Replace(offer, "BUNDLE 0", "BUNDLE 0 1", 1)
	offer += "a=candidate:1 1 tcp 1 192.0.2.1 22 typ host tcptype passive\r\na=candidate:2 1 udp 1 f3.local 9 typ host\r\na=candidate:nonsense\r\n"
	offer += "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtcp-mux\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n"
	res, body := post(t, w.whep, "application/sdp", offer)
	if res.StatusCode != http.StatusCreated || !strings.Contains(body, "m=audio 0 ") {
		t.Errorf("%s: %s", res.Status, body)
	}
}

func TestOtherMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base := "http://" + w.gateway.HTTPAddr().String()
	w.forward(t)
	w.log.await(t, "the forwarder is there")
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/healthz", 200}, {"OPTIONS", "/whep/main", 200}, {"OPTIONS", "/whep/main/x", 200},
		{"GET", "/whep/main", 204}, {"HEAD", "/whep/main", 204}, {"PUT", "/whep/main", 405}, {"DELETE", "/whep/main", 405}, {"PATCH", "/whep/main", 405},
		{"GET", "/whep/main/x", 404}, {"PATCH", "/whep/main/x", 404}, {"DELETE", "/whep/main/x", 404}, {"PUT", "/whep/main/x", 405}, {"POST", "/whep/main/x", 405},
		{"GET", "/", 404},
	} {
		res := request(t, c.method, base+c.path)
		if res.StatusCode != c.status || res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: %s %v", c.method, c.path, res.Status, res.Header)
		}
		if c.method == "OPTIONS" && (!strings.Contains(res.Header.Get("Access-Control-Allow-Methods"), "DELETE") ||
			res.Header.Get("Accept-Post") != "application/sdp" || res.Header.Get("Accept-Patch") != "application/trickle-ice-sdpfrag") {
			t.Errorf("%s %s: %v", c.method, c.path, res.Header)
		}
	}
}
