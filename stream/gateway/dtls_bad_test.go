package gateway_test

import (
	"encoding/binary"
	"math/rand/v2"
	"regexp"
	"testing"

	"slipstream/stream/handover"
)

var iceLine = regexp.MustCompile(`a=ice-(ufrag|pwd):(\S+)`)

// iceOf is what a description says of its ICE session.
func iceOf(sdp string) (ufrag, pwd string) {
	said := map[string]string{}
	for _, m := range iceLine.FindAllStringSubmatch(sdp, -1) {
		said[m[1]] = m[2]
	}
	return said["ufrag"], said["pwd"]
}

// records are DTLS of all sorts that nobody could make sense of: records and handshake
// messages that lie about lengths, epochs, fragments and versions.
func records(dice *rand.Rand) []byte {
	b := make([]byte, 13+dice.IntN(1400))
	for i := range b {
		b[i] = byte(dice.Uint32())
	}
	b[0] = byte(20 + dice.IntN(6))
	if dice.IntN(4) > 0 { // a record as long as it says
		b[1], b[2] = 254, 253
		binary.BigEndian.PutUint16(b[11:], uint16(len(b)-13))
		copy(b[3:5], []byte{0, 0})
	}
	if dice.IntN(2) > 0 && len(b) > 40 { // a ClientHello, up to here
		b[0], b[13] = 22, byte(1+dice.IntN(16)*dice.IntN(2))
		b[14], b[22] = 0, 0
		b[17], b[18] = 0, 0
	}
	return b
}

// Viewers who have found their way and then shake hands like nobody does end nothing
// but their own session.
func TestMalformedHandshakesHarmNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	v := join(t, w.whep)
	v.pass(t, 5)
	dice := rand.New(rand.NewPCG(6, 1))
	for range 5 {
		bad := knock(t, w.whep)
		from := newSocket(t)
		var ice handover.ICE
		ice.LocalUfrag, ice.LocalPwd = iceOf(bad.answer)
		ice.RemoteUfrag, _ = iceOf(bad.pc.LocalDescription().SDP)
		check(t, w, from, ice, nominate)
		for range 300 {
			if _, err := from.WriteTo(records(dice), w.gateway.UDPAddr()); err != nil {
				t.Fatal(err)
			}
		}
	}
	v.pass(t, 20)
	join(t, w.whep).pass(t, 10)
	if n := w.viewers(t); n != 2 {
		t.Errorf("the forwarder has %d viewers", n)
	}
}
