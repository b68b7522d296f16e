package hand_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"slipstream/testrig/machine/hand"
)

const patience = time.Minute // at most, on a busy machine

// Two senders reach one socket, each by one of its own, and both have answers.
func TestTunnel(t *testing.T) {
	t.Parallel()
	echo, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer echo.Close()
	go func() {
		block := make([]byte, 1<<16)
		for {
			n, from, err := echo.ReadFrom(block)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(append([]byte(from.String()+" "), block[:n]...), from) // the reader sees what is missing
		}
	}()
	guest, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer guest.Close()
	go func() {
		for {
			conn, err := guest.Accept()
			if err != nil {
				return
			}
			go func() { _ = hand.Join(conn, echo.LocalAddr().String()) }()
		}
	}()
	tunnel, err := hand.NewTunnel(func() string { return guest.Addr().String() })
	must(t, err)
	defer tunnel.Close()
	froms := map[string]bool{}
	for range 2 {
		c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tunnel.Port()})
		must(t, err)
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(patience)))
		block := make([]byte, 1<<16)
		for _, word := range []string{"one", "", "three"} {
			_, err = c.Write([]byte(word))
			must(t, err)
			n, err := c.Read(block)
			must(t, err)
			from, got, _ := strings.Cut(string(block[:n]), " ")
			froms[from] = true
			if got != word {
				t.Errorf("%q came back as %q", word, got)
			}
		}
	}
	if len(froms) != 2 {
		t.Errorf("two senders came from %v", froms)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
