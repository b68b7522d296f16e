package gateway

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// What a stranger sends to a track's socket never gets to the forwarder, whenever
// it comes.
func TestUDPSocketsAreTheViewersOnly(t *testing.T) {
	t.Parallel()
	loopback := netip.MustParseAddr("127.0.0.1")
	stranger := listenUDP(t)
	viewer := [2]*net.UDPConn{listenUDP(t), listenUDP(t)}
	w := transport{udp: true}
	for i, conn := range viewer {
		w.ports[i] = conn.LocalAddr().(*net.UDPAddr).Port
	}
	for i := 0; w.bindPair(loopback) != nil; i++ {
		if i == pairTries {
			t.Fatal("no two ports are free")
		}
	}
	defer w.close()
	say := func(conn *net.UDPConn, what string) {
		for _, port := range w.local {
			if _, err := conn.WriteTo([]byte(what), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err != nil {
				t.Fatal(err)
			}
		}
	}
	say(stranger, "before")
	if err := w.connect(loopback); err != nil {
		t.Fatal(err)
	}
	say(stranger, "after")
	for i, s := range w.own {
		buf := make([]byte, 100)
		if n, _, err := unix.Recvfrom(s.fd, buf, unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("socket %d got %q, %v", i, buf[:max(n, 0)], err)
		}
		if _, err := viewer[i].WriteTo([]byte("hello"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: w.local[i]}); err != nil {
			t.Fatal(err)
		}
		if n, _, err := unix.Recvfrom(s.fd, buf, unix.MSG_DONTWAIT); err != nil || string(buf[:n]) != "hello" {
			t.Errorf("socket %d got %q from its viewer, %v", i, buf[:max(n, 0)], err)
		}
	}
}

func listenUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
