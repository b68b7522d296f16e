package gateway_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
)

// fake stands in the forwarder's place and says what it is told to say. It takes
// every viewer, and sends none of them a picture.
type fake struct {
	t    *testing.T
	path string
	ln   *net.UnixListener

	mu      sync.Mutex
	conn    *net.UnixConn                // of now
	streams map[string][]handover.Stream // by name; one without any is declared and has no source
	known   []handover.Known
	refusal string // of viewers and moves; "": they are taken
	mute    bool   // to viewers and moves

	got chan heard
}

// heard is a request of the gateway's, with the sockets that came with it.
type heard struct {
	handover.Request
	socket int   // the first one; −1: none
	fds    []int // all; −1: closed
}

// newFake takes the forwarder's place in a world that has none.
func newFake(t *testing.T, w *world) *fake {
	t.Helper()
	f := &fake{t: t, path: filepath.Join(w.run, handover.Socket), got: make(chan heard, 1000), streams: map[string][]handover.Stream{
		"main": {{Name: "main", Codec: "h264", Profile: "42e01f", SDP: sdpOf("video", "H264/90000", "packetization-mode=1")}},
		"dark": nil,
	}}
	f.listen()
	t.Cleanup(f.close)
	return f
}

// sdpOf is that of a line.
func sdpOf(kind, codec, fmtp string) string {
	return "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=" + kind + " 0 RTP/AVP 96\r\na=rtpmap:96 " + codec + "\r\na=fmtp:96 " + fmtp + "\r\n"
}

func (f *fake) listen() {
	f.t.Helper()
	os.Remove(f.path)
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: f.path, Net: "unixpacket"})
	if err != nil {
		f.t.Fatal(err)
	}
	f.ln = ln
	go func() {
		for {
			conn, err := ln.AcceptUnix()
			if err != nil {
				return
			}
			f.greet(conn)
			go f.serve(conn)
		}
	}()
}

// greet lists the viewers, to a gateway that has just connected.
func (f *fake) greet(conn *net.UnixConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn != nil {
		f.conn.Close()
	}
	f.conn = conn
	for _, k := range f.known {
		f.write(handover.Message{Known: &k})
	}
	f.write(handover.Message{Listed: true})
}

// close is the forwarder's end.
func (f *fake) close() {
	f.ln.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn != nil {
		f.conn.Close()
		f.conn = nil
	}
}

// change sets what the fake is to say.
func (f *fake) change(set func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	set()
}

// say tells the gateway something.
func (f *fake) say(m handover.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.write(m)
}

func (f *fake) write(m handover.Message) {
	body, err := json.Marshal(m)
	if err == nil && f.conn != nil {
		_, _ = f.conn.Write(body) // to a gateway that is gone
	}
}

func (f *fake) serve(conn *net.UnixConn) {
	buf, oob := make([]byte, handover.MaxMessage), make([]byte, 256)
	for {
		n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			return
		}
		h := heard{socket: -1}
		if json.Unmarshal(buf[:n], &h.Request) != nil {
			return
		}
		if messages, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil {
			for _, m := range messages {
				fds, _ := unix.ParseUnixRights(&m)
				h.fds = append(h.fds, fds...)
			}
		}
		if len(h.fds) > 0 {
			h.socket = h.fds[0]
			f.t.Cleanup(h.close)
		}
		if f.answer(h.Request); h.Describe == nil {
			f.got <- h
		}
	}
}

func (f *fake) answer(r handover.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := func(id string) {
		switch {
		case f.mute:
		case f.refusal != "":
			f.write(handover.Message{ID: id, Error: f.refusal})
		default:
			f.write(handover.Message{Taken: id})
		}
	}
	switch {
	case r.Describe != nil:
		streams, declared := f.streams[r.Describe.Stream]
		if len(streams) == 0 {
			f.write(handover.Message{ID: r.Describe.ID, Error: "it cannot be shown", NotFound: !declared})
			return
		}
		f.write(handover.Message{ID: r.Describe.ID, Described: &handover.Described{Streams: streams}})
	case r.Viewer != nil:
		taken(r.Viewer.ID)
	case r.Player != nil:
		taken(r.Player.ID)
	case r.Moved != nil:
		taken(r.Moved.ID)
	case r.End != nil:
		f.write(handover.Message{Ended: &handover.Ended{ID: r.End.ID, Reason: handover.EndedAsked}})
	}
}

// hear waits for a request that matches.
func (f *fake) hear(what string, match func(handover.Request) bool) heard {
	f.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case h := <-f.got:
			if match(h.Request) {
				return h
			}
		case <-timeout:
			f.t.Fatalf("the gateway did not say %s", what)
		}
	}
}

// viewer waits for a viewer that is handed over.
func (f *fake) viewer() heard {
	f.t.Helper()
	return f.hear("a viewer", func(r handover.Request) bool { return r.Viewer != nil })
}

// player waits for an RTSP viewer that is handed over.
func (f *fake) player() heard {
	f.t.Helper()
	return f.hear("an RTSP viewer", func(r handover.Request) bool { return r.Player != nil })
}

// moved waits for a viewer's move.
func (f *fake) moved() heard {
	f.t.Helper()
	return f.hear("a move", func(r handover.Request) bool { return r.Moved != nil })
}

func (h *heard) close() {
	for i, fd := range h.fds {
		if fd >= 0 {
			unix.Close(fd)
			h.fds[i] = -1
		}
	}
}

// file makes a descriptor a connection of the test's own.
func (h *heard) file(t *testing.T, i int) net.Conn {
	t.Helper()
	f := os.NewFile(uintptr(h.fds[i]), "handed over")
	h.fds[i] = -1
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// newFakeWithSound has a stream main with sound beside it, one without, and one that
// has no source.
func newFakeWithSound(t *testing.T, w *world) *fake {
	t.Helper()
	picture := "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 100\r\na=rtpmap:100 H264/90000\r\n" +
		"a=fmtp:100 packetization-mode=1;sprop-parameter-sets=Z0LADdkBQZ+fARAAAAMAEAAAAwPA8UKkgA==,aMuDyyA=\r\n"
	f := newFake(t, w)
	f.change(func() {
		f.streams = map[string][]handover.Stream{
			"main": {{Name: "main", Codec: "h264", SDP: picture}, {Name: "mic", Codec: "opus", SDP: sdpOf("audio", "opus/48000/2", "")}},
			"sub":  {{Name: "sub", Codec: "h264", SDP: picture}},
			"bare": nil,
		}
	})
	return f
}
