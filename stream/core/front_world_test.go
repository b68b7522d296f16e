package core_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// front is as much of an RTSP server as it takes to hand clients over at PLAY. It
// knows no timeouts, no authentication, and one URL.
type front struct {
	t     *testing.T
	ln    net.Listener
	conns sync.WaitGroup

	mu      sync.Mutex // guards what follows; one hand-over at a time
	g       *gateway
	answers chan handover.Message
	ended   chan handover.Ended
	viewers int
}

func (w *world) front() *front {
	w.t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	f := &front{t: w.t, ln: ln, ended: make(chan handover.Ended, 1000)}
	f.connect(w)
	f.conns.Go(f.serve)
	w.t.Cleanup(func() {
		ln.Close()
		f.g.conn.Close()
		f.conns.Wait()
	})
	return f
}

func (f *front) url() string { return "rtsp://" + f.ln.Addr().String() + "/main" }

// connect makes a new gateway's connection, in place of one that has died.
func (f *front) connect(w *world) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, answers := w.gateway(), make(chan handover.Message, 10)
	f.g, f.answers = g, answers
	f.conns.Go(func() {
		for m := range g.events {
			switch {
			case m.Asked != nil:
				f.refuse(g, m.Asked)
			case m.Ended != nil:
				f.ended <- *m.Ended
			default:
				answers <- m
			}
		}
	})
}

// refuse answers what the forwarder passed on.
func (f *front) refuse(g *gateway, asked *handover.Asked) {
	var req base.Request
	if err := req.Unmarshal(bufio.NewReader(bytes.NewReader(asked.Request))); err != nil {
		f.t.Errorf("a request was passed on that is none: %v", err)
		return
	}
	body, _ := base.Response{StatusCode: base.StatusNotImplemented, Header: base.Header{"CSeq": req.Header["CSeq"]}}.Marshal()
	g.conn.Send(handover.Request{Reply: &handover.Reply{ID: asked.ID, Reply: body}})
}

func (f *front) serve() {
	for {
		conn, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.conns.Go(func() {
			defer conn.Close()
			s := &session{front: f, conn: conn.(*net.TCPConn), r: bufio.NewReader(conn)}
			defer s.close()
			for conn.SetDeadline(time.Now().Add(patience)); s.next(); {
			}
		})
	}
}

// session is one client on its way to PLAY.
type session struct {
	front *front
	conn  *net.TCPConn
	r     *bufio.Reader
	spec  handover.Player
	ways  []*net.UDPConn
}

func (s *session) close() {
	for _, c := range s.ways {
		c.Close()
	}
}

// next answers one request; it reports false when that was the last one.
func (s *session) next() bool {
	var req base.Request
	if req.Unmarshal(s.r) != nil {
		return false
	}
	res := &base.Response{StatusCode: base.StatusOK, Header: base.Header{"CSeq": req.Header["CSeq"]}}
	var err error
	switch req.Method {
	case base.Options:
		res.Header["Public"] = base.HeaderValue{"DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"}
	case base.Describe:
		err = s.describe(&req, res)
	case base.Setup:
		err = s.setup(&req, res)
	case base.Play:
		err = s.play(res)
		if err == nil {
			return false
		}
	default:
		res.StatusCode = base.StatusNotImplemented
	}
	if err != nil {
		s.front.t.Errorf("%s: %v", req.Method, err)
		return false
	}
	body, err := res.Marshal()
	if err == nil {
		_, err = s.conn.Write(body)
	}
	return err == nil
}

func (f *front) ask(r handover.Request, fds ...filed) handover.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	var raw []int
	for _, d := range fds {
		file, err := d.File()
		if err != nil {
			return handover.Message{Error: err.Error()}
		}
		defer file.Close()
		raw = append(raw, int(file.Fd()))
	}
	if err := f.g.conn.Send(r, raw...); err != nil {
		return handover.Message{Error: err.Error()}
	}
	select {
	case m := <-f.answers:
		return m
	case <-time.After(patience):
		return handover.Message{Error: "no answer"}
	}
}

func (s *session) describe(req *base.Request, res *base.Response) error {
	m := s.front.ask(handover.Request{Describe: &handover.Describe{ID: "d", Stream: strings.Trim(req.URL.Path, "/")}})
	if m.Described == nil {
		return fmt.Errorf("%+v", m)
	}
	sdp := "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
	for i, stream := range m.Described.Streams {
		switch stream.Codec {
		case orders.H264:
			sdp += "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
		case orders.PCMU:
			sdp += "m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
		}
		sdp += fmt.Sprintf("a=control:track%d-%s\r\n", i, stream.Name)
	}
	res.Header["Content-Type"] = base.HeaderValue{"application/sdp"}
	res.Header["Content-Base"] = base.HeaderValue{req.URL.String() + "/"}
	res.Body = []byte(sdp)
	return nil
}

func (s *session) setup(req *base.Request, res *base.Response) error {
	var asked headers.Transport
	if err := asked.Unmarshal(req.Header["Transport"]); err != nil {
		return err
	}
	_, name, _ := strings.Cut(req.URL.Path[strings.LastIndex(req.URL.Path, "/"):], "-")
	n := len(s.spec.Tracks)
	track := handover.Track{Stream: name, SSRC: 0xcafe0000 + uint32(n), PayloadType: 96, Seq: uint16(65_000 + n)}
	if name == "sound" {
		track.PayloadType = 0
	}
	granted := headers.Transport{Protocol: asked.Protocol, Delivery: asked.Delivery}
	if asked.Protocol == headers.TransportProtocolTCP {
		granted.InterleavedIDs = &[2]int{2 * n, 2*n + 1}
		track.Channel = uint8(2 * n)
	} else {
		s.spec.UDP, granted.ClientPorts, granted.ServerPorts = true, asked.ClientPorts, new([2]int)
		for i, port := range *asked.ClientPorts {
			c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
			if err != nil {
				return err
			}
			s.ways = append(s.ways, c)
			granted.ServerPorts[i] = c.LocalAddr().(*net.UDPAddr).Port
		}
	}
	s.spec.Tracks = append(s.spec.Tracks, track)
	res.Header["Transport"] = granted.Marshal()
	res.Header["Session"] = base.HeaderValue{"front;timeout=60"}
	return nil
}

// play hands the client over with the answer that it waits for.
func (s *session) play(res *base.Response) error {
	res.Header["Session"] = base.HeaderValue{"front;timeout=60"}
	s.conn.SetDeadline(time.Time{})
	f := s.front
	f.mu.Lock()
	f.viewers++
	s.spec.ID = fmt.Sprint("rtsp-", f.viewers)
	f.mu.Unlock()
	s.spec.Session, s.spec.TimeoutMS = "front", 60_000
	s.spec.Reply, _ = res.Marshal()
	s.spec.Unread, _ = s.r.Peek(s.r.Buffered())
	fds := []filed{s.conn}
	for _, c := range s.ways {
		fds = append(fds, c)
	}
	if m := f.ask(handover.Request{Player: &s.spec}, fds...); m.Taken != s.spec.ID {
		return fmt.Errorf("%+v", m)
	}
	return nil
}
