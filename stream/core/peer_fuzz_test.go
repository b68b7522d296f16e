package core

import (
	"encoding/json"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/stun"

	"slipstream/stream/handover"
)

// FuzzSTUN gives a viewer's socket any check, and the checks that are authentic to
// the library as well.
func FuzzSTUN(f *testing.F) {
	const pwd = "a password of some length"
	ice := newICELite(handover.ICE{LocalUfrag: "local", RemoteUfrag: "remote", LocalPwd: pwd})
	for _, name := range []string{"local:remote", "local:", "somebody:else"} {
		m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(name), stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
		if err != nil {
			f.Fatal(err)
		}
		if ice.authentic(m.Raw) != (name == "local:remote") {
			f.Fatalf("a check of %q", name)
		}
		f.Add(m.Raw)
		f.Add(m.Raw[:len(m.Raw)-8])
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		if !ice.authentic(msg) {
			return
		}
		m := &stun.Message{Raw: msg}
		if err := m.Decode(); err != nil {
			t.Fatalf("an authentic check is no STUN: %v", err)
		}
		if err := stun.NewShortTermIntegrity(pwd).Check(m); err != nil {
			t.Fatal(err)
		}
		if err := stun.Fingerprint.Check(m); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzRTCP gives a viewer whatever may be sealed with its key: at most the bound
// is sent again, and only what was sent before.
func FuzzRTCP(f *testing.F) {
	for _, p := range []rtcp.Packet{
		&rtcp.TransportLayerNack{MediaSSRC: 7, Nacks: []rtcp.NackPair{{PacketID: 3, LostPackets: 0xffff}}},
		&rtcp.PictureLossIndication{MediaSSRC: 7},
		&rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: 7}}},
		&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 7, TotalLost: 5}}},
		&rtcp.Goodbye{Sources: []uint32{1}},
	} {
		b, err := p.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	key, salt := masterKey(handover.AES128)
	local, err := newSRTP(handover.AES128, key, salt)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, compound []byte) {
		l := bareLine(1)
		c := &Core{poll: &poller{}, lines: map[uint64]*line{1: l}, keeper: newKeeper("")}
		p := &peer{peerState: &peerState{}, local: local, viewer: viewer{fd: -1}}
		v := &track{trackState: &trackState{ssrc: 7}, viewer: &p.viewer, stream: &stream{followed: l}}
		p.tracks = []*track{v}
		l.arena.begin(1, 1)
		for ; v.index < 20; v.index++ {
			copy(l.arena.space(), []byte{0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
			l.arena.append(rtpHeader + 1)
			v.sent.note(sentRun{line: 1, index: v.index, packet: v.index, ts: 9, count: 1, marked: v.index == 19})
		}
		p.obey(c, compound, 1e12)
		if p.resends > resendLimit {
			t.Fatalf("%d packets were sent again", p.resends)
		}
	})
}

// FuzzHandover gives the core any request of a gateway.
func FuzzHandover(f *testing.F) {
	f.Add([]byte(`{"viewer":{"id":"one","tracks":[{"stream":"main","payloadType":102}],"srtp":{"profile":"SRTP_AEAD_AES_128_GCM","localKey":"AAAAAAAAAAAAAAAAAAAAAA==","localSalt":"AAAAAAAAAAAAAAAA","remoteKey":"AAAAAAAAAAAAAAAAAAAAAA==","remoteSalt":"AAAAAAAAAAAAAAAA"},"ice":{"localUfrag":"abcd","localPwd":"0123456789012345678901","remoteUfrag":"abcd"}}}`), 1)
	f.Add([]byte(`{"moved":{"id":"one"}}`), 1)
	f.Add([]byte(`{"end":{"id":"one"}}`), 0)
	f.Add([]byte(`{"describe":{"id":"one","stream":"main"}}`), 0)
	f.Add([]byte(`{"reply":{"id":"one","reply":"AA=="}}`), 0)
	f.Add([]byte(`{"player":{"id":"one","session":"s","udp":true,"timeoutMs":60000,"reply":"AA==","tracks":[{"stream":"main","ssrc":1},{"stream":"sound","ssrc":2}]}}`), 5)
	f.Fuzz(func(t *testing.T, msg []byte, descriptors int) {
		var r handover.Request
		if json.Unmarshal(msg, &r) != nil || checkRequest(&r, descriptors) != nil {
			return
		}
		if id := requestID(&r); id == "" || len(id) > 64 {
			t.Fatalf("viewer %q was taken", id)
		}
		if r.Player != nil {
			if p := newPlayer(r.Player, place{record: &record{}}); len(p.tracks) == 0 || r.Player.UDP && descriptors != 1+2*len(p.paths) {
				t.Fatalf("taken: %+v", r.Player)
			}
		}
		if r.Viewer == nil {
			return
		}
		if p, err := newPeer(r.Viewer, peerRecord, place{record: &record{}}); err == nil && (p.local == nil || p.remote == nil || len(p.tracks) == 0) {
			t.Fatalf("taken: %+v", r.Viewer)
		}
	})
}
