package gateway

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/pion/stun"
)

// check is a viewer's connectivity or consent check (RFC 8445 §7.3, RFC 7675).
type check struct {
	msg   stun.Message
	ufrag string // ours, the part before the colon
}

// isAnswer tells STUN's success responses by their first bytes.
func isAnswer(pkt []byte) bool {
	return stun.MessageType{Method: stun.MethodBinding, Class: stun.ClassSuccessResponse}.Value() == uint16(pkt[0])<<8|uint16(pkt[1])
}

// parseCheck reports false for whatever is no check. It keeps no part of pkt.
func parseCheck(pkt []byte) (*check, bool) {
	if !stun.IsMessage(pkt) {
		return nil, false
	}
	c := &check{msg: stun.Message{Raw: slices.Clone(pkt)}}
	if c.msg.Decode() != nil || c.msg.Type != stun.BindingRequest {
		return nil, false
	}
	var name stun.Username
	if name.GetFrom(&c.msg) != nil {
		return nil, false
	}
	ours, _, ok := strings.Cut(string(name), ":")
	c.ufrag = ours
	return c, ok
}

// by tells whether the sender knows the password.
func (c *check) by(pwd string) bool {
	return stun.NewShortTermIntegrity(pwd).Check(&c.msg) == nil
}

// nominates tells whether the viewer wants its pictures at this address.
func (c *check) nominates() bool { return c.msg.Contains(stun.AttrUseCandidate) }

// reply makes the answer to a check that came from an address.
func (c *check) reply(pwd string, from netip.AddrPort) ([]byte, error) {
	m, err := stun.Build(stun.NewTransactionIDSetter(c.msg.TransactionID), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: net.IP(from.Addr().AsSlice()), Port: int(from.Port())},
		stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
	if err != nil {
		return nil, err
	}
	return m.Raw, nil
}
