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

// forwarderLies stands where the real forwarder would, and says what a test wants:
// which streams there are, and what becomes of a viewer that it is given. It plays
// nothing by itself; the descriptors are the test's.
type forwarderLies struct {
	Streams map[string][]handover.Stream // described
	Bare    map[string]bool              // declared, and without a source
	Refuse  string                       // sentence to whoever hands a viewer over
	Silent  bool                         // says nothing to a hand-over
}

// fakeForwarder is one that lies.
type fakeForwarder struct {
	requests chan handed
	replies  chan handover.Reply

	mu   sync.Mutex // guards what follows
	lies forwarderLies
	conn *net.UnixConn
}

// handed is a viewer that was handed over, or asked to end.
type handed struct {
	handover.Request
	fds []int
}

func (w *world) lie(t *testing.T, lies forwarderLies) *fakeForwarder {
	t.Helper()
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(w.run, handover.Socket), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeForwarder{lies: lies, requests: make(chan handed, 100), replies: make(chan handover.Reply, 100)}
	var serving sync.WaitGroup
	there := make(chan struct{})
	serving.Go(func() {
		came := sync.OnceFunc(func() { close(there) })
		for {
			conn, err := ln.AcceptUnix()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conn = conn
			f.mu.Unlock()
			came()
			f.serve(conn)
		}
	})
	t.Cleanup(func() {
		ln.Close()
		f.mu.Lock()
		if f.conn != nil {
			f.conn.Close()
		}
		f.mu.Unlock()
		serving.Wait()
	})
	select {
	case <-there:
	case <-time.After(patience):
		t.Fatal("the gateway does not come")
	}
	return f
}

func (f *fakeForwarder) serve(conn *net.UnixConn) {
	f.say(handover.Message{Listed: true})
	buf, oob := make([]byte, handover.MaxMessage), make([]byte, 4096)
	for {
		n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			return
		}
		h := handed{fds: rights(oob[:oobn])}
		if json.Unmarshal(buf[:n], &h.Request) != nil {
			return
		}
		f.answer(h)
	}
}

func rights(oob []byte) (fds []int) {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		more, _ := unix.ParseUnixRights(&m)
		fds = append(fds, more...)
	}
	return fds
}

func (f *fakeForwarder) answer(h handed) {
	f.mu.Lock()
	lies := f.lies
	f.mu.Unlock()
	switch {
	case h.Describe != nil:
		m := handover.Message{ID: h.Describe.ID}
		if streams, ok := lies.Streams[h.Describe.Stream]; ok {
			m.Described = &handover.Described{Streams: streams}
		} else {
			m.Error, m.NotFound = "nothing to see", !lies.Bare[h.Describe.Stream]
		}
		f.say(m)
	case h.Reply != nil:
		f.replies <- *h.Reply
	case h.Player != nil:
		f.requests <- h
		if lies.Silent {
			return
		}
		m := handover.Message{Taken: h.Player.ID}
		if lies.Refuse != "" {
			m = handover.Message{ID: h.Player.ID, Error: lies.Refuse}
		}
		f.say(m)
	default:
		f.requests <- h
	}
}

// say sends a message to the gateway.
func (f *fakeForwarder) say(m handover.Message) {
	body, _ := json.Marshal(m)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn.Write(body)
}

func (f *fakeForwarder) change(lies forwarderLies) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lies = lies
}

// next waits for a request.
func (f *fakeForwarder) next(t *testing.T) handed {
	t.Helper()
	select {
	case h := <-f.requests:
		t.Cleanup(func() {
			for _, fd := range h.fds {
				unix.Close(fd)
			}
		})
		return h
	case <-time.After(patience):
		t.Fatal("the gateway hands nobody over")
		return handed{}
	}
}

// file makes a descriptor of a hand-over usable, as the test's own.
func (h *handed) file(t *testing.T, i int) net.Conn {
	t.Helper()
	f := os.NewFile(uintptr(h.fds[i]), "handed")
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

// Streams that lies tell of.
const (
	sdpStart = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
	sdpH264  = sdpStart + "m=video 0 RTP/AVP 100\r\na=rtpmap:100 H264/90000\r\na=fmtp:100 packetization-mode=1;sprop-parameter-sets=Z0LADdkBQZ+fARAAAAMAEAAAAwPA8UKkgA==,aMuDyyA=\r\n"
	sdpOpus  = sdpStart + "m=audio 0 RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\n"
)

// withSound is a stream main with sound beside it.
func withSound() map[string][]handover.Stream {
	return map[string][]handover.Stream{
		"main": {{Name: "main", Codec: "h264", SDP: sdpH264}, {Name: "mic", Codec: "opus", SDP: sdpOpus}},
		"sub":  {{Name: "sub", Codec: "h264", SDP: sdpH264}},
	}
}
