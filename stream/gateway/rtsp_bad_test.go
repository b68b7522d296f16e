package gateway_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/stream/gateway"
	"slipstream/stream/handover"
)

const interleaved = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"

// Each line is one connection: what it asks, one request after the other, with
// what it is answered.
func TestRTSPStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFakeWithSound(t, w)
	f.change(func() { f.refusal = "never" })
	root := strings.TrimSuffix(w.rtsp, "/main")
	setup := func(path string) []string { return []string{"SETUP " + path, interleaved} }
	transport := func(path, text string) []string { return []string{"SETUP " + path, "Transport: " + text} }
	for _, c := range []struct {
		name  string
		steps [][]string // method and path, headers, and in the end the status
	}{
		{"no stream", [][]string{{"DESCRIBE /none", "404"}, append(setup("/none/trackID=0"), "404"), {"DESCRIBE /main", "200"}}},
		{"no source", [][]string{{"DESCRIBE /bare", "503"}, append(setup("/bare/trackID=0"), "503")}},
		{"no name", [][]string{{"DESCRIBE /", "404"}, {"DESCRIBE /a/b", "404"}, {"DESCRIBE /main%0axxxxxx", "404"}, {"DESCRIBE *", "400"}}},
		{"recording", [][]string{{"ANNOUNCE /main", "501"}, {"RECORD /main", "501"}, {"REDIRECT /main", "501"}, {"BREW /main", "501"}}},
		{"before SETUP", [][]string{{"PLAY /main", "455"}, {"PAUSE /main", "455"}, {"TEARDOWN /main", "454"}, {"GET_PARAMETER /main", "200"}, {"OPTIONS *", "200"}}},
		{"a session of nobody", [][]string{{"PLAY /main", "Session: x", "454"}, {"TEARDOWN /main", "Session: x", "454"}, {"OPTIONS /main", "Session: x", "454"}}},
		{"another's session", [][]string{append(setup("/main/trackID=0"), "200"), {"PLAY /main", "Session: x", "454"}, {"GET_PARAMETER /main", "Session: x", "454"}, {"TEARDOWN /main", "200"}}},
		{"a track too many", [][]string{append(setup("/main/trackID=2"), "404"), append(setup("/main/trackID=-1"), "404"), append(setup("/main/trackID=999"), "404"), append(setup("/main/audio"), "404")}},
		{"a track of another stream", [][]string{append(setup("/main/trackID=0"), "200"), append(setup("/sub/trackID=0"), "459"), {"PLAY /sub", "404"}}},
		{"all tracks at once", [][]string{append(setup("/main"), "459"), append(setup("/sub"), "200")}},
		{"a track that was not set up", [][]string{append(setup("/main/trackID=1"), "200"), {"PLAY /main/trackID=0", "404"}, {"PLAY /main/trackID=1", "503"}}},
		{"channels that clash", [][]string{append(setup("/main/trackID=0"), "200"), append(setup("/main/trackID=1"), "461"), append(transport("/main/trackID=1", "RTP/AVP/TCP;interleaved=1-2"), "461"), append(transport("/main/trackID=1", "RTP/AVP/TCP;interleaved=2-3"), "200")}},
		{"a track again", [][]string{append(setup("/main/trackID=0"), "200"), append(transport("/main/trackID=0", "RTP/AVP/TCP;interleaved=4-5"), "200"), append(setup("/main/trackID=1"), "200")}},
		{"both transports", [][]string{append(setup("/main/trackID=0"), "200"), append(transport("/main/trackID=1", "RTP/AVP;unicast;client_port=5000-5001"), "461")}},
		{"the second of two", [][]string{append(transport("/sub/trackID=0", "RTP/SAVP;unicast;client_port=5000-5001,RAW/RAW/UDP,RTP/AVP/TCP;interleaved=6-7"), "200")}},
		{"no transport that there is", [][]string{
			{"SETUP /sub/trackID=0", "461"},
			append(transport("/sub/trackID=0", ""), "461"), append(transport("/sub/trackID=0", "RTP/AVP"), "461"),
			append(transport("/sub/trackID=0", "RTP/AVP;multicast"), "461"), append(transport("/sub/trackID=0", "RTP/AVP;multicast;port=5000-5001"), "461"),
			append(transport("/sub/trackID=0", "RTP/AVP;unicast;client_port=0-1"), "461"), append(transport("/sub/trackID=0", "RTP/AVP;unicast;client_port=65535"), "461"),
			append(transport("/sub/trackID=0", "RTP/AVP;unicast;client_port=5000-5000"), "461"), append(transport("/sub/trackID=0", "RTP/AVP;unicast;client_port=5000-70000"), "461"),
			append(transport("/sub/trackID=0", "RTP/AVP/TCP;interleaved=255-256"), "461"), append(transport("/sub/trackID=0", "RTP/AVP/TCP;interleaved=3-5"), "461"),
			append(transport("/sub/trackID=0", "RTP/AVP/TCP;interleaved=0-1;mode=record"), "461"), append(transport("/sub/trackID=0", "RTP/SAVP/TCP;interleaved=0-1"), "461"),
			{"SETUP /sub/trackID=0", interleaved, interleaved, "461"},
		}},
		{"what it does not know", [][]string{{"OPTIONS *", "Require: implicit-play", "551"}, {"DESCRIBE /main", "Require: www.onvif.org/ver20/backchannel", "551"}}},
		{"a parameter", [][]string{{"GET_PARAMETER /main", "Content-Length: 0", "200"}, {"GET_PARAMETER /main", "Content-Length: 8\r\nContent-Type: text/parameters\r\n\r\njitter\r", "451"}, {"OPTIONS *", "200"}}},
		{"teardown of a session that did not play", [][]string{append(setup("/main/trackID=0"), "200"), {"TEARDOWN /main", "200"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := talk(t, w)
			for _, step := range c.steps {
				method, path, _ := strings.Cut(step[0], " ")
				want := step[len(step)-1]
				if path != "*" {
					path = root + path
				}
				if strings.HasPrefix(step[1], "Session:") {
					conn.session = ""
				}
				status, _ := conn.ask(t, method, path, step[1:len(step)-1]...)
				if !strings.HasPrefix(status, "RTSP/1.0 "+want+" ") {
					t.Errorf("%q: %s; want %s", step, status, want)
				}
				if want == "503" && conn.header.Get("Retry-After") == "" {
					t.Errorf("%q: 503 says nothing of when to come again", step)
				}
			}
		})
	}
}

// What is no RTSP, or too much of it, ends its connection after one answer at most.
func TestRTSPNonsense(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	newFakeWithSound(t, w)
	long := strings.Repeat("x", 5000)
	options := "OPTIONS rtsp://h/main RTSP/1.0\r\n"
	for _, c := range []struct{ name, text, want string }{
		{"HTTP", "GET /main HTTP/1.1\r\nHost: h\r\n\r\n", "505"},
		{"a newer RTSP", "OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n", "505"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00", "400"},
		{"lower case", "options * RTSP/1.0\r\nCSeq: 1\r\n\r\n", "400"},
		{"no URL", "OPTIONS RTSP/1.0\r\nCSeq: 1\r\n\r\n", "505"},
		{"a URL of another kind", "OPTIONS http://h/main RTSP/1.0\r\nCSeq: 1\r\n\r\n", "400"},
		{"a long URL", "OPTIONS rtsp://h/" + long[:600] + " RTSP/1.0\r\nCSeq: 1\r\n\r\n", "414"},
		{"a long method", strings.Repeat("O", 40) + " * RTSP/1.0\r\nCSeq: 1\r\n\r\n", "400"},
		{"no CSeq", options + "\r\n", "400"},
		{"an empty CSeq", options + "CSeq:\r\n\r\n", "400"},
		{"a CSeq of letters", options + "CSeq: one\r\n\r\n", "400"},
		{"a long CSeq", options + "CSeq: 1234567890\r\n\r\n", "400"},
		{"two CSeqs", options + "CSeq: 1\r\nCSeq: 2\r\n\r\n", "400"},
		{"two sessions", options + "CSeq: 1\r\nSession: a\r\nSession: b\r\n\r\n", "400"},
		{"an empty session", options + "CSeq: 1\r\nSession: ;timeout=60\r\n\r\n", "400"},
		{"a header without a colon", options + "CSeq: 1\r\nnonsense\r\n\r\n", "400"},
		{"many headers", options + "CSeq: 1\r\n" + strings.Repeat("X-A: b\r\n", 70) + "\r\n", "400"},
		{"a long header", options + "CSeq: 1\r\nX: " + long + "\r\n\r\n", "413"},
		{"a long body", options + "CSeq: 1\r\nContent-Length: 4097\r\n\r\n", "413"},
		{"a body of −1", options + "CSeq: 1\r\nContent-Length: -1\r\n\r\n", "400"},
		{"two lengths", options + "CSeq: 1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"},
		{"an answer", "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", "400"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := talk(t, w)
			conn.send(t, c.text)
			if status, _ := conn.answer(t); !strings.HasPrefix(status, "RTSP/1.0 "+c.want+" ") {
				t.Errorf("%s; want %s", status, c.want)
			}
			if rest, err := io.ReadAll(conn.r); len(rest) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("then %q, %v", rest, err)
			}
		})
	}
	if status, _ := talk(t, w).ask(t, "DESCRIBE", w.rtsp); status != "RTSP/1.0 200 OK" {
		t.Errorf("another viewer: %s", status)
	}
}

// Requests may come in one piece or byte by byte, with packets of no use between.
func TestRTSPInPieces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	newFakeWithSound(t, w)
	const requests = "\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x00\x00\x03abc\r\nGET_PARAMETER * RTSP/1.0\r\ncseq: 2\r\nContent-length: 0\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq:3\r\n\r\n"
	for _, size := range []int{1, 7, len(requests)} {
		c := talk(t, w)
		for text := requests; text != ""; {
			n := min(size, len(text))
			c.send(t, text[:n])
			text = text[n:]
		}
		for cseq := range 3 {
			if status, _ := c.answer(t); status != "RTSP/1.0 200 OK" || c.header.Get("CSeq") != fmt.Sprint(cseq+1) {
				t.Errorf("in pieces of %d: %s %v", size, status, c.header)
			}
		}
	}
}

// talkFrom is talk from another address of this machine.
func talkFrom(t *testing.T, w *world, ip string) *conversation {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	conn, err := d.DialContext(t.Context(), "tcp", w.gateway.RTSPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return converse(t, conn)
}

// One address that holds connections open shuts out nobody but itself.
func TestRTSPConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFakeWithSound(t, w)
	var open []*conversation
	for {
		c := talkFrom(t, w, "127.0.0.2")
		c.send(t, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
		if _, err := c.r.Peek(1); err != nil {
			break // it is shut out
		}
		if open = append(open, c); len(open) > 200 {
			t.Fatal("one address may have any number of connections")
		}
	}
	if len(open) < 10 {
		t.Errorf("one address may have only %d connections", len(open))
	}
	c := talkFrom(t, w, "127.0.0.3")
	if status, _ := c.ask(t, "DESCRIBE", w.rtsp); status != "RTSP/1.0 200 OK" {
		t.Errorf("another address: %s", status)
	}
	// Who has been handed over, or has left, makes room.
	open[0].answer(t)
	open[0].setUp(t, w.rtsp)
	open[0].send(t, "PLAY "+w.rtsp+" RTSP/1.0\r\nCSeq: 7\r\n\r\n")
	f.player()
	open[1].conn.Close()
	var again []*conversation
	for until := time.Now().Add(patience); len(again) < 2; {
		c := talkFrom(t, w, "127.0.0.2")
		c.send(t, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
		if _, err := c.r.Peek(1); err == nil {
			again = append(again, c)
		} else if time.Now().After(until) {
			t.Fatalf("there is room for %d more only", len(again))
		}
	}
}

// Who never plays is sent away, whatever else it does; who plays may be silent.
func TestRTSPJoinTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.JoinTime = 2 * time.Second })
	f := newFakeWithSound(t, w)
	mute, busy, slow := talk(t, w), talk(t, w), talk(t, w)
	plays := talk(t, w)
	plays.setUp(t, w.rtsp)
	plays.send(t, "PLAY "+w.rtsp+" RTSP/1.0\r\nCSeq: 7\r\n\r\n")
	h := f.player()
	busy.setUp(t, w.rtsp)
	slow.send(t, "OPTIONS ")
	tick := time.NewTicker(300 * time.Millisecond) // not too many requests
	defer tick.Stop()
	for stop := time.After(patience); ; {
		busy.conn.SetReadDeadline(time.Now().Add(patience))
		io.WriteString(busy.conn, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n") // an error will be read
		_, err := busy.r.Peek(1)
		busy.r.Discard(busy.r.Buffered())
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a viewer may be busy without end")
			}
			break
		}
		select {
		case <-tick.C:
		case <-stop:
			t.Fatal("a viewer may be busy without end")
		}
	}
	for name, c := range map[string]*conversation{"mute": mute, "slow": slow} {
		if _, err := io.ReadAll(c.r); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a %s viewer: %v", name, err)
		}
	}
	theirs := h.file(t, 0)
	io.WriteString(theirs, "a line\n")
	if line, err := bufio.NewReader(plays.r).ReadString('\n'); err != nil || line != "a line\n" {
		t.Errorf("who watches: %q, %v", line, err)
	}
}

// A connection that ends in the middle of anything leaves nothing behind.
func TestRTSPConnectionsThatBreak(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.MaxViewers = 1 })
	f := newFakeWithSound(t, w)
	for _, text := range []string{
		"", "OPT", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n", "$\x00\xff\xffabc",
		"SETUP " + w.rtsp + "/trackID=0 RTSP/1.0\r\nCSeq: 1\r\n" + interleaved + "\r\n\r\n",
		"SETUP " + w.rtsp + "/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\nPLAY ",
	} {
		c := talk(t, w)
		c.send(t, text)
		if strings.HasPrefix(text, "SETUP") {
			c.answer(t)
		}
		c.conn.Close()
	}
	for until := time.Now().Add(patience); ; {
		c := talk(t, w)
		status, _ := c.ask(t, "SETUP", w.rtsp+"/trackID=0", interleaved)
		if status == "RTSP/1.0 200 OK" {
			c.send(t, "PLAY "+w.rtsp+" RTSP/1.0\r\nCSeq: 7\r\n\r\n")
			break
		}
		c.conn.Close()
		if time.Now().After(until) {
			t.Fatalf("the only place is not free: %s", status)
		}
	}
	f.player()
	for {
		select {
		case h := <-f.got:
			if h.Player != nil {
				t.Errorf("another one was handed over: %+v", h.Player)
			}
		default:
			return
		}
	}
}

// A flood of requests ends with its connection.
func TestRTSPRequestsWithoutEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	newFakeWithSound(t, w)
	c := talk(t, w)
	go func() {
		for {
			if _, err := io.WriteString(c.conn, "DESCRIBE "+w.rtsp+" RTSP/1.0\r\nCSeq: 1\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	answers, err := io.ReadAll(c.r)
	if n := strings.Count(string(answers), "RTSP/1.0 200 OK"); n < 20 || n > 1000 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d answers, %v", n, err)
	}
	talk(t, w).wants(t, "200", "DESCRIBE", w.rtsp)
}

// When all places are taken, who has set up and does not play makes room.
func TestRTSPViewerThatDoesNotPlay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.MaxViewers, c.JoinTime = 1, time.Hour })
	f := newFakeWithSound(t, w)
	idle, next := talk(t, w), talk(t, w)
	idle.setUp(t, w.rtsp)
	for until := time.Now().Add(patience); ; <-time.After(50 * time.Millisecond) {
		if status, _ := next.ask(t, "SETUP", w.rtsp+"/trackID=0", interleaved); status == "RTSP/1.0 200 OK" {
			break
		} else if time.Now().After(until) || !strings.HasPrefix(status, "RTSP/1.0 453 ") {
			t.Fatalf("SETUP: %s", status)
		}
		next.conn.Close()
		next = talk(t, w)
	}
	if rest, err := io.ReadAll(idle.r); len(rest) > 0 || err != nil {
		t.Errorf("the idle one: %q, %v", rest, err)
	}
	next.send(t, "PLAY "+w.rtsp+" RTSP/1.0\r\nCSeq: 7\r\n\r\n")
	f.player()
}

// A new gateway counts the viewers that the forwarder has.
func TestKnownRTSPViewersCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.MaxViewers = 1 })
	f := newFakeWithSound(t, w)
	f.change(func() {
		f.known = []handover.Known{{ID: "old", Stream: "main", Kind: handover.KindRTSP, Address: "192.0.2.1:5000"}}
		if f.conn != nil { // it connects anew
			f.conn.Close()
		}
	})
	setUpIs := func(want string) {
		t.Helper()
		// Places of the test's own connections are free a moment after their ends.
		for n, until := 0, time.Now().Add(patience); n < 20; n++ {
			c := talk(t, w)
			status, _ := c.ask(t, "SETUP", w.rtsp+"/trackID=0", interleaved)
			if want == "200" && status == "RTSP/1.0 200 OK" {
				return
			}
			c.conn.Close()
			if !strings.HasPrefix(status, "RTSP/1.0 "+want+" ") {
				n = 0
			}
			<-time.After(10 * time.Millisecond)
			if time.Now().After(until) {
				t.Fatalf("SETUP: %s; want %s", status, want)
			}
		}
	}
	w.log.await(t, "viewers=1 found=1")
	setUpIs("453")
	f.say(handover.Message{Ended: &handover.Ended{ID: "old", Reason: handover.EndedSilent}})
	w.log.await(t, "viewer left")
	setUpIs("200")
}

// The ports of a track are given back when it is set up again, and when the viewer
// goes.
func TestRTSPPortsAreGivenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	newFakeWithSound(t, w)
	c := talk(t, w)
	setUp := func() (ports [2]int) {
		t.Helper()
		c.wants(t, "200", "SETUP", w.rtsp+"/trackID=0", "Transport: RTP/AVP;unicast;client_port=5000-5001")
		_, text, _ := strings.Cut(c.header.Get("Transport"), "server_port=")
		if _, err := fmt.Sscanf(text, "%d-%d", &ports[0], &ports[1]); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return ports
	}
	free := func(ports [2]int) {
		t.Helper()
		for _, port := range ports {
			for until := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
				conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
				if err == nil {
					conn.Close()
					break
				}
				if time.Now().After(until) {
					t.Fatal(err)
				}
			}
		}
	}
	first, second := setUp(), setUp()
	free(first)
	c.conn.Close()
	free(second)
}
