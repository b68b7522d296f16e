package core

import (
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Lingering is a TCP socket whose last close blocks for an hour: it has unsent
// bytes that nobody reads.
func Lingering(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		port := l.Addr().(*net.TCPAddr).Port
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	peer.(*net.TCPConn).SetLinger(0)
	t.Cleanup(func() { peer.Close() }) // frees whoever closes the other end
	unix.SetNonblock(fd, true)
	for err == nil {
		_, err = unix.Write(fd, make([]byte, 1<<16))
	}
	unix.SetNonblock(fd, false)
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 3600}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// queued is a publisher's socket with an unread message that holds as many
// descriptors as one can, the last of which blocks whoever closes it.
func queued(t *testing.T) (fd int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	blocks := Lingering(t)
	rights := append(slices.Repeat([]int{int(os.Stderr.Fd())}, 252), blocks)
	if err := unix.Sendmsg(fds[1], []byte{'C'}, unix.UnixRights(rights...), nil, 0); err != nil {
		t.Fatal(err)
	}
	unix.Close(blocks) // not the last one: the message holds it
	return fds[0]
}

// soon fails the test if f blocks.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { f(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s waits for what the sender has put into the socket", what)
	}
}

// All that came is taken: the kernel would close the rest on the reading thread.
func TestAllDescriptorsAreTaken(t *testing.T) {
	fd := queued(t)
	defer unix.Close(fd)
	_, fds, errno := receiveRights(fd, make([]byte, 100))
	if len(fds) != 253 || errno != 0 {
		t.Errorf("%d of 253 descriptors, %v", len(fds), errno)
	}
	go closeForeign(fds)
}

func TestReadingAPublisherBlocksNobody(t *testing.T) {
	fd := queued(t)
	defer unix.Close(fd)
	soon(t, "reading", func() {
		if n, errno := receive(fd, make([]byte, 100)); n != 0 || errno != errRights {
			t.Errorf("%d bytes, %v", n, errno)
		}
	})
}

// What is still unread in a publisher's socket is closed with it, aside.
func TestClosingAPublisherBlocksNobody(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.closeAll()
	fd := queued(t)
	if err := p.add(fd, unix.EPOLLIN, drain(fd)); err != nil {
		t.Fatal(err)
	}
	soon(t, "closing", func() { p.closeAside(fd) })
}
