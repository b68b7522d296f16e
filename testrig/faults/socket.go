package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/testrig/stand"
)

// fault is something that happens beside the version on trial.
type fault struct {
	name string
	do   func(*sequence, context.Context) error
}

var faults = []fault{
	{"garbage for the agent's socket", func(s *sequence, ctx context.Context) error {
		s.misled = true
		knock(s, s.socket("orders.sock"), s.noise(2*orders.MaxMessage))
		return nil
	}},
	{"nonsense from the agent", nonsense},
	{"the agent's descriptors are missing", missingDescriptors},
	{"too many descriptors from the agent", func(s *sequence, ctx context.Context) error {
		return s.withDescriptors(s.IntN(60), func(fds []int) { s.speak(orders.Request{Req: 1, Status: true}, fds) })
	}},
	{"descriptors of all kinds that the agent wants kept", deposits},
	{"the agent dies", func(s *sequence, ctx context.Context) error {
		s.misled = true
		knock(s, s.socket("orders.sock")) // takes its place and leaves
		return nil
	}},
	{"garbage for the gateway's socket", func(s *sequence, ctx context.Context) error {
		knock(s, s.socket(handover.Socket), s.noise(2*handover.MaxMessage))
		return nil
	}},
	{"viewers without or with wrong descriptors", wrongViewers},
	{"a key that is given twice", keyTwice},
	{"garbage for the subscribers' socket", func(s *sequence, ctx context.Context) error {
		knock(s, s.socket("viewers.sock"), s.noise(4096), s.noise(4096))
		return nil
	}},
	{"a stranger on the permanent version's socket", func(s *sequence, ctx context.Context) error {
		knock(s, s.Publish(s.old.Source.ID), append([]byte{publish.MsgStream}, stand.Stream+"\n"+string(stand.SDP)...), s.noise(1200))
		return nil
	}},
	{"garbage as if from a viewer", func(s *sequence, ctx context.Context) error {
		for range 1 + s.IntN(20) {
			s.whep.Inject(s.datagram())
			s.rtsp.Inject(s.datagram())
		}
		return nil
	}},
	{"datagrams from strangers", func(s *sequence, ctx context.Context) error {
		c, err := net.Dial("udp4", s.UDPAddress())
		if err != nil {
			return err
		}
		defer c.Close()
		for range 1 + s.IntN(50) {
			_, _ = c.Write(s.datagram())
		}
		return nil
	}},
	{"garbage for the RTSP port", func(s *sequence, ctx context.Context) error { return s.shout(s.RTSPAddress(), s.noise(8192)) }},
	{"garbage for the HTTP port", func(s *sequence, ctx context.Context) error { return s.shout(s.HTTPAddress(), s.noise(8192)) }},
	{"a bad offer", badOffer},
	{"an RTSP viewer that reads nothing", func(s *sequence, ctx context.Context) error { return s.player(false) }},
	{"an RTSP viewer that sends garbage", func(s *sequence, ctx context.Context) error { return s.player(true) }},
	{"the forwarder is stopped for a moment", func(s *sequence, ctx context.Context) error {
		return s.hold(ctx, s.Forwarder())
	}},
	{"the gateway is stopped for a moment", func(s *sequence, ctx context.Context) error {
		return s.hold(ctx, s.Gateway())
	}},
}

// lives are faults that end a process. They are rare: each costs some time.
var lives = []fault{
	{"the gateway is killed", func(s *sequence, ctx context.Context) error {
		s.Gateway().Kill()
		return s.StartGateway(ctx)
	}},
	{"the forwarder is replaced", func(s *sequence, ctx context.Context) error {
		if s.trial != "" {
			return nil // it refuses
		}
		if err := s.Succeed(ctx); err != nil {
			return err
		}
		return s.Order(ctx, nil, s.old)
	}},
	{"the forwarder crashes", func(s *sequence, ctx context.Context) error {
		s.misled = true // the new one knows no trial
		s.crashes++
		s.borne++
		return s.CrashForwarder(ctx)
	}},
}

// oneIn is how rare they are.
const oneIn = 8

func (s *sequence) socket(name string) string { return filepath.Join(s.Run, name) }

// fork is dice for another goroutine.
func (s *sequence) fork() *rand.Rand { return rand.New(rand.NewPCG(s.Uint64(), s.Uint64())) }

// knock connects to a socket, says something and leaves. A socket that is not there
// or hangs up is as good.
func knock(s *sequence, path string, messages ...[]byte) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(time.Second))
	for _, m := range messages {
		_, _ = c.Write(m)
	}
	if s.dice(2) { // until it was read
		c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		_, _ = c.Read(make([]byte, 1))
	}
}

// speak sends a request as if from the agent, over a connection of its own.
func (s *sequence) speak(r orders.Request, fds []int) {
	s.misled = true
	c, err := orders.Dial(s.socket("orders.sock"))
	if err != nil {
		return
	}
	defer c.Close()
	if c.Send(r, fds...) == nil {
		stop := time.AfterFunc(time.Second, func() { c.Close() })
		defer stop.Stop()
		_, _ = c.Receive()
	}
}

// withDescriptors gives so many descriptors of all kinds to a function.
func (s *sequence) withDescriptors(n int, f func([]int)) error {
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for range n {
		fd, err := s.descriptor()
		if err != nil {
			return err
		}
		fds = append(fds, fd)
	}
	f(fds)
	return nil
}

// nonsense is well-formed, and means nothing good. What it may not do is end the
// permanent version, which real orders of an agent's may.
func nonsense(s *sequence, _ context.Context) error {
	number := func() int64 { return s.Int64() - s.Int64() }
	for _, r := range []orders.Request{
		{Req: 1, Hold: &orders.Hold{Trial: "no", LeaseMS: number()}},
		{Req: 2, Settle: &orders.Settle{Trial: "no", Source: "b-none"}},
		{Req: 3, Revert: &orders.Revert{Trial: "no", Reason: strings.Repeat("x", s.IntN(5000))}},
		{Req: 4, EndLeg: "none"},
		{Req: 5, Leg: &orders.Leg{Framed: s.dice(2)}},
		{Req: 6, Orders: &orders.Orders{Permanent: "b-none"}},
		{Req: 7, Orders: &orders.Orders{Sources: []orders.Source{s.old.Source, s.old.Source}, Permanent: "a-1"}},
		{Req: 8, Orders: &orders.Orders{Sources: []orders.Source{s.old.Source}, Permanent: "a-1",
			Trial: &orders.Trial{ID: "x", Source: "a-1", Deadline: number()}}},
		{},
	}[s.IntN(9):] {
		s.speak(r, nil)
		if s.dice(2) {
			break
		}
	}
	return nil
}

// missingDescriptors orders a pidfd and a leg that do not come.
func missingDescriptors(s *sequence, _ context.Context) error {
	old := s.old.Source
	old.Pidfd = 1 + s.IntN(3)
	s.speak(orders.Request{Req: 1, Orders: &orders.Orders{Permanent: old.ID, Sources: []orders.Source{old}}}, nil)
	s.speak(orders.Request{Req: 2, Leg: &orders.Leg{Viewer: s.spec("leg")}}, nil)
	return nil
}

// spec is an established viewer that nobody has established.
func (s *sequence) spec(id string) handover.Viewer {
	bytes := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(s.Uint32())
		}
		return b
	}
	return handover.Viewer{
		ID: id + "-" + s.id, Tracks: []handover.Track{{Stream: stand.Stream, SSRC: s.Uint32(), PayloadType: 102}},
		SRTP: handover.SRTP{Profile: handover.AES128, LocalKey: bytes(16), LocalSalt: bytes(12), RemoteKey: bytes(16), RemoteSalt: bytes(12)},
		ICE:  handover.ICE{LocalUfrag: "ufrag", LocalPwd: "a-password-long-enough", RemoteUfrag: "other"},
	}
}

// offer sends a request in the gateway's place and returns what is answered, or
// nothing if the gateway finds its way back before that.
func (s *sequence) offer(fds []int, r handover.Request) (m handover.Message, err error) {
	c, err := handover.Dial(s.socket(handover.Socket))
	if err != nil {
		return m, nil // the forwarder is stopped or busy
	}
	defer c.Close()
	stop := time.AfterFunc(time.Second, func() { c.Close() })
	defer stop.Stop()
	if c.Send(r, fds...) != nil {
		return m, nil
	}
	for m.Taken == "" && m.Error == "" && m.Ended == nil { // others are told between
		if m, err = c.Receive(); err != nil {
			return handover.Message{}, nil
		}
	}
	return m, nil
}

func wrongViewers(s *sequence, _ context.Context) error {
	v := s.spec("w")
	p := handover.Player{ID: "p-" + s.id, Session: "1", Tracks: v.Tracks, UDP: s.dice(2), TimeoutMS: 1000, Reply: []byte("RTSP/1.0 200 OK\r\n\r\n")}
	switch s.IntN(4) {
	case 0:
		v.SRTP.LocalKey = v.SRTP.LocalKey[:s.IntN(16)]
	case 1:
		v.Tracks[0].Stream = "none"
	case 2:
		v.SRTP.Profile = "none"
	}
	r := handover.Request{Viewer: &v}
	if s.dice(2) {
		r = handover.Request{Player: &p}
	}
	return s.withDescriptors(s.IntN(4), func(fds []int) { _, _ = s.offer(fds, r) })
}

// keyTwice hands a viewer over, and another one with its key: one key, one writer.
func keyTwice(s *sequence, _ context.Context) error {
	near, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer near.Close()
	fd, err := connectedTo(near)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	one := s.spec("one")
	two := s.spec("two")
	two.SRTP = one.SRTP
	m, err := s.offer([]int{fd}, handover.Request{Viewer: &one})
	if err != nil || m.Taken != one.ID {
		return err // the real gateway has its place back
	}
	s.note("taken once")
	if m, err = s.offer([]int{fd}, handover.Request{Viewer: &two}); err == nil && m.Taken == two.ID {
		err = fmt.Errorf("a key that has a writer was taken for another viewer: %+v", m)
	}
	if err == nil {
		_, err = s.offer(nil, handover.Request{End: &handover.End{ID: one.ID}})
	}
	return err
}

// connectedTo is a socket that is connected to another one.
func connectedTo(c *net.UDPConn) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	a := c.LocalAddr().(*net.UDPAddr)
	to := &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}
	if err := unix.Connect(fd, to); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// datagram is garbage that looks like one of the kinds that viewers send.
func (s *sequence) datagram() []byte {
	b := s.noise(1500)
	if s.dice(20) {
		b = s.noise(60_000)
	}
	heads := [][]byte{{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, {0x80, 200}, {0x80, 201}, {0x81, 205}, {0x80, 102}, {22, 254, 253}, nil}
	copy(b, heads[s.IntN(len(heads))])
	return b
}

// shout sends bytes to a TCP port and leaves, by a reset at times.
func (s *sequence) shout(address string, b []byte) error {
	c, err := net.DialTimeout("tcp4", address, time.Second)
	if err != nil {
		return nil // the gateway may be stopped, and its queue full
	}
	defer c.Close()
	if s.dice(3) {
		c.(*net.TCPConn).SetLinger(0)
	}
	c.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.Write(b)
	return nil
}

func badOffer(s *sequence, ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	body := string(s.noise(20_000))
	if s.dice(2) {
		body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF " + body
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.WHEP(), strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/sdp")
	if res, err := http.DefaultClient.Do(r); err == nil {
		res.Body.Close()
		if res.StatusCode == http.StatusCreated {
			return fmt.Errorf("garbage was answered %s", res.Status)
		}
	}
	return nil
}

// player is an RTSP viewer over TCP that plays and then reads nothing, or sends
// garbage, until the sequence ends.
func (s *sequence) player(garbage bool) error {
	c, err := net.DialTimeout("tcp4", s.RTSPAddress(), time.Second)
	if err != nil {
		return nil
	}
	s.later(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * time.Second))
	session, buf := "", make([]byte, 16<<10)
	for i, request := range []string{
		"SETUP " + s.RTSP() + "/trackID=0 RTSP/1.0\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
		"PLAY " + s.RTSP() + " RTSP/1.0\r\n",
	} {
		_, _ = fmt.Fprintf(c, "%sCSeq: %d\r\n%s\r\n", request, i+1, session)
		n, err := c.Read(buf)
		if err != nil {
			return nil // as bad a viewer as any
		}
		if _, rest, ok := strings.Cut(string(buf[:n]), "Session: "); ok {
			session = "Session: " + strings.FieldsFunc(rest, func(r rune) bool { return r == ';' || r == '\r' })[0] + "\r\n"
		}
	}
	if garbage {
		for range 1 + s.IntN(4) {
			_, _ = c.Write(s.noise(4096))
		}
	}
	return nil
}

// hold stops a process for a moment that is shorter than a stall.
func (s *sequence) hold(ctx context.Context, p *stand.Process) error {
	p.Signal(syscall.SIGSTOP)
	defer p.Signal(syscall.SIGCONT)
	s.rest(ctx, 60*time.Millisecond)
	return nil
}
