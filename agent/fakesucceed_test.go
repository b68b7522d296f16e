package agent_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// What the fake forwarder does for its successors. Its lies: there are no viewers,
// so a file in the run directory says what became of them; the successor is given no
// state, only the word that it may serve; and the file "successor" in the run
// directory says what it is to do wrong. With a file "poison" there it bears no
// descriptors.
const (
	successorFails = "fails" // it ends at once
	successorHangs = "hangs" // it never says that it has sent a frame
	successorDies  = "dies"  // after it was given everything
)

// fakeReady notes what was inherited, waits for successors, and says READY=1.
func fakeReady(run string, succeeded bool) error {
	if _, err := os.Stat(filepath.Join(run, "poison")); err == nil && os.Getenv("LISTEN_FDS") != "" {
		return errors.New("the ledger is of an unknown kind")
	}
	note, err := os.OpenFile(filepath.Join(run, "forwarders"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	fmt.Fprintf(note, "succeeded=%v inherited=%s\n", succeeded, os.Getenv("LISTEN_FDNAMES"))
	note.Close()
	path := filepath.Join(run, "succession.sock")
	os.Remove(path)
	l, err := net.Listen("unixpacket", path)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fakeGiveAway(conn)
		}
	}()
	return tell("READY=1")
}

// fakeGiveAway ends this forwarder if the other one serves in time.
func fakeGiveAway(conn net.Conn) {
	defer conn.Close()
	conn.Write([]byte("yours"))
	conn.SetReadDeadline(time.Now().Add(patience))
	word := make([]byte, 100)
	if n, err := conn.Read(word); err == nil && string(word[:n]) == "first frame sent" {
		os.Exit(0)
	}
}

func fakeTakeOver(run string) error {
	wrong, _ := os.ReadFile(filepath.Join(run, "successor"))
	if string(wrong) == successorFails {
		return errors.New("the records are of an unknown kind")
	}
	conn, err := net.Dial("unixpacket", filepath.Join(run, "succession.sock"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 100)); err != nil {
		return err
	}
	switch string(wrong) {
	case successorHangs:
		time.Sleep(time.Hour)
	case successorDies:
		unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	if _, err := conn.Write([]byte("first frame sent")); err != nil {
		return err
	}
	conn.Read(make([]byte, 1)) // until the old one is gone, and its sockets with it
	return nil
}

// fakeStore stores a descriptor with the agent.
func fakeStore(name string) error {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	to := &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}
	return unix.Sendmsg(socket, []byte("FDSTORE=1\nFDNAME="+name), unix.UnixRights(fd), to, 0)
}
