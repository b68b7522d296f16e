package adminpanel

import (
	"fmt"
	"net"
	"net/netip"
	"os"
)

// Listen listens for people at addr, which must be a loopback address with a port.
func Listen(addr string) (net.Listener, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen at %q: an address and a port are needed, such as 127.0.0.1:8080", addr)
	}
	if !at.Addr().IsLoopback() {
		return nil, fmt.Errorf("listen at %s: the panel has no logins yet, so whoever reaches it could update every camera; "+
			"it listens on this machine only (127.0.0.1:%d), and ssh -L brings it to another", addr, at.Port())
	}
	return net.Listen("tcp", addr)
}

// DefaultNames are by what devices reach a panel that listens for them at addr, if
// nobody says: this machine's own names, and the address.
func DefaultNames(addr net.Addr) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil && host != "localhost" {
		names = append(names, host)
	}
	if at, err := netip.ParseAddrPort(addr.String()); err == nil && !at.Addr().IsUnspecified() && !at.Addr().IsLoopback() {
		names = append(names, at.Addr().String())
	}
	return names
}
