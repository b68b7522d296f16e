package core_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// leg opens a leg on a socket that the device has connected, and returns the far
// side of it. What that side is to send to is learned from the first packet.
func (w *world) leg(spec handover.Viewer, device filed, relay *net.UDPConn) *peer {
	w.t.Helper()
	w.openLeg(orders.Leg{Viewer: spec}, device)
	first := make([]byte, 4096)
	relay.SetReadDeadline(time.Now().Add(patience))
	n, from, err := relay.ReadFromUDP(first)
	if err != nil {
		w.t.Fatalf("nothing came out of the leg: %v", err)
	}
	relay.SetReadDeadline(time.Time{})
	p := newFarSide(w.t, spec)
	p.datagram(first[:n], &p.first)
	p.to(relay, from)
	return p
}

// framedLeg opens a leg on a stream.
func (w *world) framedLeg(spec handover.Viewer, device filed, relay net.Conn) *peer {
	w.t.Helper()
	w.openLeg(orders.Leg{Viewer: spec, Framed: true}, device)
	p := newFarSide(w.t, spec)
	p.stream = relay
	p.readers.Go(func() { p.unframe(relay) })
	w.t.Cleanup(func() { relay.Close(); p.readers.Wait() })
	return p
}

func (w *world) openLeg(leg orders.Leg, device filed) {
	w.t.Helper()
	f, err := device.File()
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if m := w.ask(orders.Request{Leg: &leg}, int(f.Fd())); m.Result != orders.ResultOK {
		w.t.Fatalf("leg: %+v", m)
	}
}

// unframe reads packets behind their lengths.
func (p *peer) unframe(stream io.Reader) {
	r := bufio.NewReader(stream)
	head, cur := make([]byte, 2), picture{}
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint16(head))
		if _, err := io.ReadFull(r, body); err != nil {
			p.fault("the stream ended within a packet")
			return
		}
		if len(body) == 0 {
			p.fault("an empty packet")
			continue
		}
		p.datagram(body, &cur)
	}
}

func (w *world) legEnded(id string) handover.Ended {
	w.t.Helper()
	m := w.await("end of the leg", func(m orders.Message) bool { return m.LegEnded != nil && m.LegEnded.ID == id })
	return *m.LegEnded
}

// Addresses of a device behind NAT, and of a relay that has a public one.
const (
	deviceIP  = "10.20.30.2"
	insideIP  = "10.20.30.1"
	outsideIP = "198.51.100.1"
	relayIP   = "198.51.100.2"

	devicePort = 5000
	mappedFrom = 40000 // the NAT takes ports from here on
)

// place is a network namespace.
type place struct {
	t    *testing.T
	name string
}

// behindNAT makes three places: a device whose packets leave through a NAT, and a
// relay on the NAT's other side that has no way back but what the NAT keeps.
func behindNAT(t *testing.T) (device, relay place) {
	t.Helper()
	device, nat, relay := newPlace(t, "dev"), newPlace(t, "nat"), newPlace(t, "pub")
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSpace(fmt.Sprintf(`
ip link add d0 netns %[1]s type veth peer name in0 netns %[2]s
ip link add p0 netns %[3]s type veth peer name out0 netns %[2]s
ip -n %[1]s addr add %[4]s/24 dev d0
ip -n %[2]s addr add %[5]s/24 dev in0
ip -n %[2]s addr add %[6]s/24 dev out0
ip -n %[3]s addr add %[7]s/24 dev p0
ip -n %[1]s link set d0 up
ip -n %[2]s link set in0 up
ip -n %[2]s link set out0 up
ip -n %[3]s link set p0 up
ip -n %[1]s route add default via %[5]s
ip netns exec %[2]s sh -c echo\ 1\ >/proc/sys/net/ipv4/ip_forward
ip netns exec %[2]s nft add table ip nat
ip netns exec %[2]s nft add chain ip nat out {\ type\ nat\ hook\ postrouting\ priority\ 100\ ;\ }
ip netns exec %[2]s nft add rule ip nat out oifname out0 meta l4proto {\ tcp,\ udp\ } masquerade to :%[8]d-%[9]d
`, device.name, nat.name, relay.name, deviceIP, insideIP, outsideIP, relayIP, mappedFrom, mappedFrom+999)), "\n") {
		run(t, line)
	}
	return device, relay
}

// newPlace skips the test of a user who may make no namespace.
func newPlace(t *testing.T, kind string) place {
	t.Helper()
	p := place{t, fmt.Sprintf("slip-%s-%d", kind, os.Getpid())}
	if out, err := exec.Command("ip", "netns", "add", p.name).CombinedOutput(); err != nil {
		if os.Getuid() != 0 && errors.As(err, new(*exec.ExitError)) {
			t.Skipf("only root makes network namespaces here: %s", out)
		}
		t.Fatalf("make a network namespace: %s %v", out, err)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", p.name).Run() })
	return p
}

// run is a command line; a backslash joins words.
func run(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(strings.ReplaceAll(line, `\ `, "\x00"))
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "\x00", " ")
	}
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %s %v", line, out, err)
	}
}

// in does something in a place: sockets that are made there stay there.
func in[T any](p place, do func() (T, error)) T {
	p.t.Helper()
	var made T
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with its place
		failed <- func() error {
			fd, err := unix.Open("/run/netns/"+p.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return err
			}
			made, err = do()
			return err
		}()
	}()
	if err := <-failed; err != nil {
		p.t.Fatalf("in %s: %v", p.name, err)
	}
	if c, ok := any(made).(io.Closer); ok {
		p.t.Cleanup(func() {
			if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				p.t.Error(err)
			}
		})
	}
	return made
}
