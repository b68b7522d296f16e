package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/gateway"
	"slipstream/stream/handover"
)

// setUp brings a conversation as far as PLAY, with both tracks interleaved.
func (c *conversation) setUp(t *testing.T, url string) {
	t.Helper()
	for track := range 2 {
		status, _ := c.ask(t, "SETUP", fmt.Sprintf("%s/trackID=%d", url, track), fmt.Sprintf("Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d", 4*track, 4*track+1))
		if status != "RTSP/1.0 200 OK" {
			t.Fatalf("SETUP: %s", status)
		}
	}
}

// At PLAY the forwarder gets the connection, what was read of it, and the answer;
// the gateway neither answers nor reads any more.
func TestPlayIsHandedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFakeWithSound(t, w)
	c := talk(t, w)
	c.setUp(t, w.rtsp)
	const behind = "OPTIONS * RTSP/1.0\r\nCSeq: 8\r\n\r\n$\x01\x00\x02ab"
	c.send(t, "PLAY "+w.rtsp+" RTSP/1.0\r\nCSeq: 7\r\nSession: "+c.session+"\r\n\r\n"+behind)
	h := f.player()
	p := h.Player
	if p == nil || p.Session != c.session || p.UDP || string(p.Unread) != behind || p.TimeoutMS < 10_000 || len(p.Tracks) != 2 || len(h.fds) != 1 {
		t.Fatalf("handed over: %+v with %d descriptors", p, len(h.fds))
	}
	for i, want := range []handover.Track{
		{Stream: "main", PayloadType: 96, Codec: "h264"},
		{Stream: "mic", PayloadType: 97, Channel: 4, Codec: "opus"},
	} {
		got := p.Tracks[i]
		if got.SSRC == 0 {
			t.Errorf("track %d has no SSRC", i)
		}
		got.SSRC, got.Seq = 0, 0
		if got != want {
			t.Errorf("track %d: %+v", i, got)
		}
	}
	reply := string(p.Reply)
	info := fmt.Sprintf("RTP-Info: url=%s/trackID=0;seq=%d,url=%s/trackID=1;seq=%d\r\n", w.rtsp, p.Tracks[0].Seq, w.rtsp, p.Tracks[1].Seq)
	for _, want := range []string{"RTSP/1.0 200 OK\r\n", "CSeq: 7\r\n", "Session: " + c.session + ";timeout=60\r\n", info} {
		if !strings.Contains(reply, want) {
			t.Errorf("the answer lacks %q:\n%s", want, reply)
		}
	}
	if flags, err := unix.FcntlInt(uintptr(h.fds[0]), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("the connection blocks: %x, %v", flags, err)
	}
	theirs := h.file(t, 0)
	c.send(t, "more")
	if got, err := io.ReadAll(io.LimitReader(theirs, 4)); err != nil || string(got) != "more" {
		t.Errorf("from the viewer: %q, %v", got, err)
	}
	io.WriteString(theirs, "here")
	if got, err := io.ReadAll(io.LimitReader(c.r, 4)); err != nil || string(got) != "here" {
		t.Errorf("to the viewer: %q, %v", got, err)
	}
}

// Over UDP each track has two sockets, whose ports the viewer was told.
func TestPlayOverUDPIsHandedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFakeWithSound(t, w)
	c := talk(t, w)
	var mine [4]*net.UDPConn
	var told []string
	for i := range mine {
		mine[i] = newSocket(t)
		mine[i].SetDeadline(time.Now().Add(patience))
	}
	at := func(i int) int { return mine[i].LocalAddr().(*net.UDPAddr).Port }
	for track := range 2 {
		ports := fmt.Sprintf("client_port=%d-%d", at(2*track), at(2*track+1))
		status, _ := c.ask(t, "SETUP", fmt.Sprintf("%s/trackID=%d", w.rtsp, track), "Transport: RTP/AVP;unicast;"+ports)
		server := regexp.MustCompile(`server_port=(\d+)-(\d+)`).FindStringSubmatch(c.header.Get("Transport"))
		if status != "RTSP/1.0 200 OK" || server == nil || !strings.Contains(c.header.Get("Transport"), ports) {
			t.Fatalf("SETUP: %s, %s", status, c.header.Get("Transport"))
		}
		var rtp, rtcp int
		fmt.Sscan(server[1], &rtp)
		fmt.Sscan(server[2], &rtcp)
		if rtp%2 != 0 || rtcp != rtp+1 {
			t.Errorf("server ports %d and %d", rtp, rtcp)
		}
		told = append(told, server[1:]...)
	}
	c.send(t, "PLAY "+w.rtsp+"/ RTSP/1.0\r\nCSeq: 7\r\n\r\n")
	h := f.player()
	if h.Player == nil || !h.Player.UDP || len(h.fds) != 5 {
		t.Fatalf("handed over: %+v with %d descriptors", h.Player, len(h.fds))
	}
	for i, conn := range mine {
		theirs := h.file(t, i+1)
		if _, port, _ := net.SplitHostPort(theirs.LocalAddr().String()); port != told[i] {
			t.Errorf("socket %d is at %v; the viewer was told %s", i, theirs.LocalAddr(), told[i])
		}
		io.WriteString(theirs, "packet")
		buf := make([]byte, 100)
		if n, from, err := conn.ReadFrom(buf); err != nil || string(buf[:n]) != "packet" || from.String() != theirs.LocalAddr().String() {
			t.Errorf("socket %d: %q from %v, %v", i, buf[:n], from, err)
		}
	}
}

// A viewer that the forwarder does not take is told, and may try again.
func TestForwarderTakesNoPlayer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFakeWithSound(t, w)
	f.change(func() { f.refusal = "it is full" })
	c := talk(t, w)
	c.setUp(t, w.rtsp)
	if status, _ := c.ask(t, "PLAY", w.rtsp); status != "RTSP/1.0 503 Service Unavailable" || c.header.Get("Retry-After") == "" {
		t.Errorf("PLAY: %s", status)
	}
	f.player()
	f.change(func() { f.refusal = "" })
	c.send(t, "PLAY "+w.rtsp+" RTSP/1.0\r\nCSeq: 9\r\n\r\n")
	f.player()
}

// Nobody knows whether a forwarder that says nothing has the viewer, so nobody
// here writes to it again.
func TestForwarderSaysNothingToAPlayer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFakeWithSound(t, w)
	f.change(func() { f.mute = true })
	c := talk(t, w)
	c.setUp(t, w.rtsp)
	c.send(t, "PLAY "+w.rtsp+" RTSP/1.0\r\nCSeq: 7\r\n\r\n")
	h := f.player()
	f.hear("the viewer's end", func(r handover.Request) bool { return r.End != nil && r.End.ID == h.Player.ID })
	theirs := h.file(t, 0)
	theirs.Close() // the last one
	if got, err := io.ReadAll(c.r); err != nil || len(got) > 0 {
		t.Errorf("the viewer got %q, %v", got, err)
	}
}

// What the forwarder passes on is answered as to one who watches.
func TestAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFakeWithSound(t, w)
	talk(t, w).wants(t, "200", "DESCRIBE", w.rtsp) // they know each other
	for i, c := range []struct{ request, want string }{
		{"PLAY " + w.rtsp + " RTSP/1.0\r\nCSeq: 3\r\nSession: s-1\r\n\r\n", "200 OK"},
		{"DESCRIBE " + w.rtsp + " RTSP/1.0\r\nCSeq: 3\r\n\r\n", "200 OK"},
		{"DESCRIBE " + w.rtsp + "x RTSP/1.0\r\nCSeq: 3\r\n\r\n", "404 Not Found"},
		{"PAUSE " + w.rtsp + " RTSP/1.0\r\nCSeq: 3\r\n\r\n", "455 Method Not Valid In This State"},
		{"SETUP " + w.rtsp + "/trackID=0 RTSP/1.0\r\nCSeq: 3\r\n\r\n", "455 Method Not Valid In This State"},
		{"RECORD " + w.rtsp + " RTSP/1.0\r\nCSeq: 3\r\n\r\n", "501 Not Implemented"},
		{"nonsense", "400 Bad Request"}, {"PLAY", "400 Bad Request"}, {"", "400 Bad Request"},
	} {
		id := fmt.Sprint("s-", i)
		f.say(handover.Message{Asked: &handover.Asked{ID: id, Request: []byte(c.request)}})
		r := f.hear("the answer to "+c.request, func(r handover.Request) bool { return r.Reply != nil }).Reply
		text := string(r.Reply)
		if r.ID != id || !strings.HasPrefix(text, "RTSP/1.0 "+c.want+"\r\n") || strings.Contains(c.request, "CSeq") != strings.Contains(text, "CSeq: 3\r\n") {
			t.Errorf("to %q: %s %q", c.request, r.ID, text)
		}
		if strings.HasPrefix(c.request, "PLAY rtsp") && !strings.Contains(text, "Session: "+id) {
			t.Errorf("PLAY names no session: %q", text)
		}
	}
}

// A viewer's place is free again when the forwarder says that it is gone.
func TestPlayersPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.MaxViewers = 1 })
	f := newFakeWithSound(t, w)
	first, second := talk(t, w), talk(t, w)
	first.setUp(t, w.rtsp)
	first.send(t, "PLAY "+w.rtsp+" RTSP/1.0\r\nCSeq: 7\r\n\r\n")
	h := f.player()
	w.log.await(t, "viewer joins")
	setup := func() string {
		status, _ := second.ask(t, "SETUP", w.rtsp+"/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
		return status
	}
	if status := setup(); status != "RTSP/1.0 453 Not Enough Bandwidth" {
		t.Errorf("second viewer: %s", status)
	}
	f.say(handover.Message{Ended: &handover.Ended{ID: h.Player.ID, Reason: handover.EndedClosed}})
	w.log.await(t, "viewer left")
	if status := setup(); status != "RTSP/1.0 200 OK" {
		t.Errorf("second viewer, afterwards: %s", status)
	}
}

func TestSDPOfAStreamWithSound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	newFakeWithSound(t, w)
	c := talk(t, w)
	status, text := c.ask(t, "DESCRIBE", w.rtsp)
	if status != "RTSP/1.0 200 OK" || c.header.Get("Content-Base") != w.rtsp+"/" || c.header.Get("Content-Type") != "application/sdp" {
		t.Fatalf("%s %v", status, c.header)
	}
	video, audio, _ := strings.Cut(text, "m=audio")
	for _, want := range []string{"m=video 0 RTP/AVP 96\r\n", "a=control:trackID=0\r\n", "a=rtpmap:96 H264/90000\r\n", "sprop-parameter-sets=Z0LADdkB"} {
		if !strings.Contains(video, want) {
			t.Errorf("no %q for the picture:\n%s", want, text)
		}
	}
	for _, want := range []string{" 0 RTP/AVP 97\r\n", "a=control:trackID=1\r\n", "a=rtpmap:97 opus/48000/2\r\n"} {
		if !strings.Contains(audio, want) {
			t.Errorf("no %q for the sound:\n%s", want, text)
		}
	}
}

// The gateway ends. The viewers that it has handed over are not its own, and what
// has not been handed over is closed.
func TestGatewayEndsWithViewers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFakeWithSound(t, w)
	watching, joining := talk(t, w), talk(t, w)
	watching.setUp(t, w.rtsp)
	watching.send(t, "PLAY "+w.rtsp+" RTSP/1.0\r\nCSeq: 7\r\n\r\n")
	h := f.player()
	w.log.await(t, "viewer joins")
	joining.setUp(t, w.rtsp)
	w.stop()
	if got, err := io.ReadAll(joining.r); len(got) > 0 {
		t.Errorf("who had not played yet: %q, %v", got, err)
	}
	theirs := h.file(t, 0)
	io.WriteString(theirs, "a line\n")
	if line, err := bufio.NewReader(watching.r).ReadString('\n'); err != nil || line != "a line\n" {
		t.Errorf("who watches: %q, %v", line, err)
	}
}

// RTSP viewers are counted, and so is what was refused to them.
func TestRTSPIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, guarded(t, "nvr:right-secret\n"), func(c *gateway.Config) { c.Metrics = "127.0.0.1:0" })
	f := newFakeWithSound(t, w)
	c := talk(t, w)
	c.wants(t, "401", "DESCRIBE", w.rtsp)
	nonce, track := c.nonce(t), w.rtsp+"/trackID=0"
	c.wants(t, "404", "DESCRIBE", w.rtsp+"x", digest("MD5", "nvr", "right-secret", nonce, "DESCRIBE", w.rtsp+"x"))
	c.wants(t, "401", "DESCRIBE", w.rtsp, digest("MD5", "nvr", "wrong-secret", nonce, "DESCRIBE", w.rtsp))
	nonce = c.nonce(t)
	c.wants(t, "200", "SETUP", track, interleaved, digest("MD5", "nvr", "right-secret", nonce, "SETUP", track))
	w.counts(t, "slipstream_gateway_half_open 1")
	c.send(t, "PLAY "+w.rtsp+" RTSP/1.0\r\nCSeq: 7\r\n"+digest("MD5", "nvr", "right-secret", nonce, "PLAY", w.rtsp)+"\r\n\r\n")
	h := f.player()
	w.log.await(t, "viewer joins")
	w.counts(t, "slipstream_gateway_half_open 0", `slipstream_gateway_viewers{kind="rtsp",stream="main"} 1`,
		`slipstream_gateway_refusals_total{reason="rtsp-404"} 1`, `slipstream_gateway_refusals_total{reason="rtsp-401"} 2`,
		"slipstream_gateway_wrong_credentials_total 1")
	f.say(handover.Message{Ended: &handover.Ended{ID: h.Player.ID, Reason: handover.EndedClosed}})
	w.log.await(t, "viewer left")
	w.counts(t, `slipstream_gateway_viewers{kind="rtsp",stream="main"} 0`)
}

// counts checks lines of the metrics.
func (w *world) counts(t *testing.T, lines ...string) {
	t.Helper()
	res, err := http.Get("http://" + w.gateway.MetricsAddr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("the metrics lack %q", line)
		}
	}
}
