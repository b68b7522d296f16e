package agent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"slipstream/agent/supervise"
	"slipstream/verify"
)

// maxSought bounds the descriptors of an adopted app among which its sockets are sought.
const maxSought = 256

// sockets are the listening ones that manifests declare. They stay open from version to
// version, so that who connects meanwhile waits and is not turned away.
type sockets struct {
	hold keepFunc

	mu   sync.Mutex // guards what follows
	open map[place]*os.File
}

// place is where a socket listens.
type place struct{ network, address string }

// keptSocket begins the names under which the forwarder keeps sockets; network and
// address follow.
const keptSocket = "listen/"

func (p place) kept() string { return keptSocket + p.network + "/" + p.address }

func placeOf(l verify.Listen) place { return place{l.Network, l.Address} }

// take opens what is not open yet. The files stay the sockets'.
func (s *sockets) take(list []verify.Listen) (named []supervise.Named, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range list {
		f := s.open[placeOf(l)]
		if f == nil {
			if f, err = bind(l); err != nil {
				return nil, fmt.Errorf("the app's socket %s cannot be opened at %s: %w; free the address, or stage a version that declares another one", l.Name, l.Address, err)
			}
			s.open[placeOf(l)] = f
			s.hold(placeOf(l).kept(), int(f.Fd()))
		}
		named = append(named, supervise.Named{Name: l.Name, File: f})
	}
	return named, nil
}

func bind(l verify.Listen) (*os.File, error) {
	if l.Network == "udp" {
		c, err := net.ListenPacket(l.Network, l.Address)
		if err != nil {
			return nil, cause(err)
		}
		defer c.Close()
		return c.(*net.UDPConn).File()
	}
	c, err := net.Listen(l.Network, l.Address)
	if err != nil {
		return nil, cause(err)
	}
	defer c.Close()
	return c.(*net.TCPListener).File()
}

// cause leaves the address away, which the sentence has already.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	return err
}

// keep closes all but those that are still declared.
func (s *sockets) keep(declared []verify.Listen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, f := range s.open {
		if !slices.ContainsFunc(declared, func(l verify.Listen) bool { return placeOf(l) == at }) {
			f.Close()
			delete(s.open, at)
			s.hold(at.kept())
		}
	}
}

// restore takes a copy of what the forwarder has kept for an agent before.
func (s *sockets) restore(name string, fds []int) error {
	network, address, _ := strings.Cut(name, "/")
	l := verify.Listen{Network: network, Address: address}
	if len(fds) != 1 || !listensAt(fds[0], l) {
		return errors.New("it does not listen there")
	}
	own, err := unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[placeOf(l)] = os.NewFile(uintptr(own), name)
	return nil
}

// tell has all of them kept, by a forwarder that may know nothing.
func (s *sockets) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, f := range s.open {
		s.hold(at.kept(), int(f.Fd()))
	}
}

// close leaves them to the forwarder.
func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.open {
		f.Close()
	}
	clear(s.open)
}

// takeBack gets the sockets out of an app that was adopted, where the forwarder ended
// together with the agent that had opened them: nobody else could open them while the
// app lives.
func (s *sockets) takeBack(p *supervise.Process, declared []verify.Listen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const first = 3 // SD_LISTEN_FDS_START
	for fd := first; fd < maxSought && len(declared) > 0 && p.Pidfd() >= 0; fd++ {
		got, err := unix.PidfdGetfd(p.Pidfd(), fd, 0)
		if errors.Is(err, unix.EPERM) {
			return
		}
		if err != nil {
			continue
		}
		unix.CloseOnExec(got)
		i := slices.IndexFunc(declared, func(l verify.Listen) bool { return s.open[placeOf(l)] == nil && listensAt(got, l) })
		if i < 0 {
			unix.Close(got)
			continue
		}
		s.open[placeOf(declared[i])] = os.NewFile(uintptr(got), declared[i].Name)
	}
}

// listensAt says whether a descriptor is the socket that was declared.
func listensAt(fd int, l verify.Listen) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != map[string]int{"tcp": unix.SOCK_STREAM, "udp": unix.SOCK_DGRAM}[l.Network] {
		return false
	}
	if accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || (accepts == 1) != (l.Network == "tcp") {
		return false
	}
	where, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	var ip net.IP
	var port int
	switch a := where.(type) {
	case *unix.SockaddrInet4:
		ip, port = a.Addr[:], a.Port
	case *unix.SockaddrInet6:
		ip, port = a.Addr[:], a.Port
	}
	host, wanted, err := net.SplitHostPort(l.Address)
	if err != nil || fmt.Sprint(port) != wanted {
		return false
	}
	return host == "" && ip.IsUnspecified() || ip.Equal(net.ParseIP(host))
}

// declaredSockets are those of all runs that the state knows.
func (a *Agent) declaredSockets() (list []verify.Listen) {
	for _, r := range a.runs {
		if r.manifest.App != nil {
			list = append(list, r.manifest.App.Listen...)
		}
	}
	return list
}
