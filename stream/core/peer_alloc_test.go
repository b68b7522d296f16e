package core

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/pion/rtcp"
	pionsrtp "github.com/pion/srtp/v2"
	"github.com/pion/stun"
	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
)

// pipedPeer is a WebRTC viewer of allocWorld's stream whose socket is one end of
// a pair that, other than UDP on loopback, can be full.
type pipedPeer struct {
	*peer
	*track
	far      int
	spec     handover.Viewer
	in, out  *pionsrtp.Context
	datagram [4096]byte
}

func newPipedPeer(t *testing.T, c *Core, profile string) *pipedPeer {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	return newPeerOn(t, c, fds[0], fds[1], profile)
}

func newPeerOn(t testing.TB, c *Core, near, far int, profile string) *pipedPeer {
	t.Helper()
	v := &pipedPeer{far: far, spec: handover.Viewer{
		ID: "one", Tracks: []handover.Track{{Stream: "main", SSRC: 7, PayloadType: 102}},
		ICE: handover.ICE{LocalUfrag: "local", RemoteUfrag: "remote", LocalPwd: "a password of some length"},
	}}
	s := &v.spec.SRTP
	s.Profile = profile
	s.LocalKey, s.LocalSalt = masterKey(profile)
	s.RemoteKey, s.RemoteSalt = masterKey(profile)
	r, err := c.records.take(&v.spec)
	if err != nil {
		t.Fatal(err)
	}
	if v.peer, err = newPeer(&v.spec, peerRecord, r); err != nil {
		t.Fatal(err)
	}
	v.peer.begin(v.spec.Tracks)
	v.track = v.tracks[0]
	if v.in, err = pionsrtp.CreateContext(s.LocalKey, s.LocalSalt, profiles[profile]); err != nil {
		t.Fatal(err)
	}
	if v.out, err = pionsrtp.CreateContext(s.RemoteKey, s.RemoteSalt, profiles[profile]); err != nil {
		t.Fatal(err)
	}
	if err := c.poll.add(near, unix.EPOLLIN, v.peer); err != nil {
		t.Fatal(err)
	}
	v.fd, v.consentAt, v.segments = near, c.now(), c.cuts(near)
	c.streams["main"].sdp = []byte("v=0")
	c.streams["main"].followed = c.sources["a-1"].lines["main"]
	if err := c.admit(v.track, "main", c.now()); err != nil {
		t.Fatal(err)
	}
	c.peers[v.id] = v.peer
	v.place.kind = peerRecord
	return v
}

// newUDPPeer is one over loopback.
func newUDPPeer(t testing.TB, c *Core, profile string) *pipedPeer {
	t.Helper()
	near, far := loopbackUDP(t)
	return newPeerOn(t, c, near, far, profile)
}

// next is the next datagram that came, nil if there is none.
func (v *pipedPeer) next() []byte {
	n, err := unix.Read(v.far, v.datagram[:])
	if err != nil {
		return nil
	}
	return v.datagram[:n]
}

func (v *pipedPeer) drain() (n int) {
	for v.next() != nil {
		n++
	}
	return n
}

func (v *pipedPeer) lost(t *testing.T, seq uint16) []byte {
	t.Helper()
	plain, err := (&rtcp.TransportLayerNack{MediaSSRC: v.ssrc, Nacks: []rtcp.NackPair{{PacketID: seq, LostPackets: 3}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := v.out.EncryptRTCP(nil, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func (v *pipedPeer) checkRequest(t *testing.T) []byte {
	t.Helper()
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername("local:remote"),
		stun.NewShortTermIntegrity(v.spec.ICE.LocalPwd), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// TestWebRTCPathAllocs runs a publisher's frames through to a WebRTC viewer, with
// a lost packet and a check for each, and a sender report.
func TestWebRTCPathAllocs(t *testing.T) {
	for profile := range profiles {
		t.Run(profile, func(t *testing.T) {
			c, l, fill := allocWorld(t)
			testWebRTCPathAllocs(t, c, l, fill, newPipedPeer(t, c, profile))
		})
		t.Run(profile+" over UDP", func(t *testing.T) {
			c, l, fill := allocWorld(t)
			testWebRTCPathAllocs(t, c, l, fill, newUDPPeer(t, c, profile))
		})
	}
}

func testWebRTCPathAllocs(t *testing.T, c *Core, l *line, fill func(), v *pipedPeer) {
	check := v.checkRequest(t)
	// AllocsPerRun counts what the test makes, too: all requests come first.
	var requests [][]byte
	for range 720 {
		requests = append(requests, v.lost(t, 0))
	}
	turn := 0
	frame := func() {
		fill()
		l.ready(c, c.now())
		unix.Write(v.far, check)
		unix.Write(v.far, requests[turn])
		turn++
		v.ready(c, c.now())
		v.tellTime(c, c.now())
		c.advance(c.now())
		v.drain()
	}
	for range 200 {
		frame()
	}
	packets, refused := v.packets, v.refused
	if n := testing.AllocsPerRun(500, frame); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
	if v.packets < packets+2000 || v.refused != refused {
		t.Errorf("%+v", v.peer.report())
	}
}

// TestResendAllocs asks for packets that are still there.
func TestResendAllocs(t *testing.T) {
	c, l, fill := allocWorld(t)
	v := newPipedPeer(t, c, handover.AES128)
	for range 50 {
		fill()
		l.ready(c, c.now())
		v.drain()
	}
	seq, now := uint16(v.index-40), c.now()
	if n := testing.AllocsPerRun(100, func() {
		now += int64(resendWindow) + 1
		v.resendPair(c, v.track, seq, 0xffff, now)
		if got := v.drain(); got != 17 {
			t.Fatalf("%d packets were sent again, not 17", got)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	found := v.resent
	if v.resend(c, v.track, uint16(v.index)); v.resent != found || v.drain() != 0 {
		t.Error("a packet that was never sent was found")
	}
}

// The sequence number wraps, and the library follows; what was sent before the
// wrap can be had after it.
func TestSequenceWrapsForWebRTC(t *testing.T) {
	for profile := range profiles {
		c, l, fill := allocWorld(t)
		v := newPipedPeer(t, c, profile)
		v.index = 1<<16 - 10
		var before []byte
		next := uint16(v.index)
		for range 10 {
			fill()
			l.ready(c, c.now())
			for b := v.next(); b != nil; b = v.next() {
				if before == nil {
					before = bytes.Clone(b)
				}
				if seq := binary.BigEndian.Uint16(b[2:]); seq != next {
					t.Fatalf("%s: sequence %d instead of %d", profile, seq, next)
				}
				next++
				if _, err := v.in.DecryptRTP(nil, b, nil); err != nil {
					t.Fatalf("%s: %v", profile, err)
				}
			}
		}
		if v.index < 1<<16+20 {
			t.Fatalf("%s: no wrap, index %d", profile, v.index)
		}
		v.resend(c, v.track, binary.BigEndian.Uint16(before[2:]))
		if again := v.next(); !bytes.Equal(again, before) {
			t.Errorf("%s: the packet from before the wrap is %d other bytes", profile, len(again))
		}
	}
}

// A viewer whose socket is full is waited for; it goes on with a key frame when
// it was lapped, reuses no index, and is ended if it takes nothing for too long.
func TestFullSocketOfAWebRTCViewer(t *testing.T) {
	c, l, fill := allocWorld(t)
	v := newPipedPeer(t, c, handover.AES128)
	play := func(frames int) {
		for range frames {
			fill()
			l.ready(c, c.now())
		}
	}
	start := v.index
	play(40)
	if v.blockedAt == 0 {
		t.Fatal("the socket never became full")
	}
	play(arenaUnits + 100) // the arena goes once around
	sent, since := v.index, v.blockedAt
	v.ready(c, c.now())
	if v.index != sent || v.blockedAt != since {
		t.Fatal("a full socket took something, or waits anew")
	}
	var last uint16
	var lastTS uint32
	seen := 0
	for range 100 {
		for b := v.next(); b != nil; b = v.next() {
			plain, err := v.in.DecryptRTP(nil, b, nil)
			if err != nil {
				t.Fatal(err)
			}
			seq, ts := binary.BigEndian.Uint16(plain[2:]), binary.BigEndian.Uint32(plain[4:])
			if seen > 0 && (seq != last+1 || int32(ts-lastTS) < 0) {
				t.Fatalf("packet %d at %d follows %d at %d", seq, ts, last, lastTS)
			}
			if seen == int(sent-start) && plain[12]&0x1f != nalIDR {
				t.Error("a viewer that was lapped does not go on with a key frame")
			}
			last, lastTS = seq, ts
			seen++
		}
		if v.blockedAt == 0 {
			break
		}
		if !wakes(c, v.fd, 1000) {
			t.Fatal("a blocked viewer is not woken when its socket has room")
		}
		v.ready(c, c.now())
	}
	if wakes(c, v.fd, 0) {
		t.Error("a viewer that waits for nothing is woken all the time")
	}
	if v.blockedAt != 0 || v.index == sent {
		t.Error("a viewer that reads again gets nothing")
	}
	play(60)
	c.kickStuck(v.blockedAt + int64(kickAfter) + 1)
	if v.fd >= 0 || c.peers["one"] != nil || len(c.streams["main"].tracks) != 1 {
		t.Error("a viewer that takes nothing is not ended")
	}
}

// wakes says whether epoll has an event of a descriptor within so many milliseconds.
func wakes(c *Core, fd, patience int) bool {
	n, _ := unix.EpollWait(c.poll.epoll, c.poll.events[:], patience)
	for i := range max(n, 0) {
		if int(c.poll.events[i].Fd) == fd {
			return true
		}
	}
	return false
}
