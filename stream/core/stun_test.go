package core

import (
	"net/netip"
	"testing"

	"github.com/pion/stun"

	"slipstream/stream/handover"
)

// An answer names the address of either family as the library reads it.
func TestAnswerNamesTheAddress(t *testing.T) {
	const pwd = "a password of some length"
	ice := newICELite(handover.ICE{LocalUfrag: "local", RemoteUfrag: "remote", LocalPwd: pwd})
	check, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"192.0.2.7:65535", "[2001:db8::1:2]:1"} {
		m := &stun.Message{Raw: ice.answer(check.Raw, netip.MustParseAddrPort(text))}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		var mapped stun.XORMappedAddress
		if err := mapped.GetFrom(m); err != nil || mapped.String() != text || m.TransactionID != check.TransactionID {
			t.Errorf("%s is read as %v: %v", text, mapped, err)
		}
		if err := stun.NewShortTermIntegrity(pwd).Check(m); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
