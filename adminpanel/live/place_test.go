package live

import (
	"net/netip"
	"strings"
	"testing"
)

func TestWhereTheRelayIs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ media, advertised, target, peer string }{
		{"192.0.2.1:8190", "", "192.0.2.1:8190", "192.0.2.1:8190"},
		{"192.0.2.1:8190", "2001:db8::1 203.0.113.7 203.0.113.8", "192.0.2.1:8190", "203.0.113.7:8190"},
		{"0.0.0.0:8190", "203.0.113.7", "127.0.0.1:8190", "203.0.113.7:8190"},
		{"[::ffff:192.0.2.1]:8190", "", "192.0.2.1:8190", "192.0.2.1:8190"},
		{"[2001:db8::1]:8190", "", "[2001:db8::1]:8190", "127.0.0.1:8190"},
	} {
		var advertised []netip.Addr
		for ip := range strings.FieldsSeq(test.advertised) {
			advertised = append(advertised, netip.MustParseAddr(ip))
		}
		target, peer := place(netip.MustParseAddrPort(test.media), advertised)
		if target.String() != test.target || peer.String() != test.peer {
			t.Errorf("%s, known as %q: %s, %s", test.media, test.advertised, target, peer)
		}
	}
	target, peer := place(netip.AddrPortFrom(netip.Addr{}, 8190), nil)
	if target != netip.AddrPortFrom(loopback, 8190) || !peer.Addr().Is4() || peer.Addr().IsUnspecified() || peer.Port() != 8190 {
		t.Errorf("everywhere: %s, %s", target, peer)
	}
}
