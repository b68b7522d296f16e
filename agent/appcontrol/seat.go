package appcontrol

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/control"
)

const (
	sendTime = 2 * time.Millisecond // for an app that does not read
	// maxTalk is how many words an app may say on one connection.
	maxTalk = 10_000
)

// seat is one run of an app: its socket, and the connection if it listens.
type seat struct {
	desk     *Desk
	name     string
	listener *net.UnixListener
	wg       sync.WaitGroup

	// Guarded by the desk's mutex.
	conn    *net.UnixConn
	owes    map[string]int       // answers to holds, by baton
	wished  map[string]time.Time // when a key frame was asked for last, by stream
	adopted bool                 // an agent before this one has talked to it
}

// Seat opens the socket of an app that is about to run, or that runs already. Its
// connections wait until mine can say whose they are; see [Seat.Serve].
func (d *Desk) Seat(name, path string) (*Seat, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil { // who it is says the kernel
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &Seat{seat: &seat{desk: d, name: name, listener: l, wished: map[string]time.Time{}}}, nil
}

// Seat is an app's place at the desk.
type Seat struct{ seat *seat }

// Serve begins to listen to the app's process, whose numbers mine knows. One that was
// adopted may have been told to go by another agent.
func (s *Seat) Serve(mine func(pid int) bool, adopted bool) {
	d := s.seat.desk
	d.mu.Lock()
	s.seat.adopted = adopted
	d.seats[s.seat.name] = s.seat
	d.judge()
	d.mu.Unlock()
	s.seat.wg.Go(func() { s.seat.accept(mine) })
}

// Gone says that the process has ended: what it had is given on at once.
func (s *Seat) Gone() { s.leave(true) }

// Close ends the conversation and leaves everything as it is, for the next agent.
func (s *Seat) Close() { s.leave(false) }

func (s *Seat) leave(dead bool) {
	d := s.seat.desk
	s.seat.listener.SetUnlinkOnClose(dead)
	s.seat.listener.Close()
	d.mu.Lock()
	if s.seat.conn != nil {
		s.seat.conn.Close()
		s.seat.conn = nil
	}
	if dead && d.seats[s.seat.name] == s.seat {
		delete(d.seats, s.seat.name)
		d.gone(s.seat.name)
	}
	d.mu.Unlock()
	s.seat.wg.Wait()
}

func (s *seat) accept(mine func(pid int) bool) {
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors left
			time.Sleep(sendTime)
			continue
		}
		if pid := peer(conn); pid == 0 || !mine(pid) {
			s.desk.log.Warn("a stranger at an app's control socket is turned away", "source", s.name, "pid", pid)
			conn.Close()
			continue
		}
		s.take(conn)
	}
}

// take lets a new connection replace the one before.
func (s *seat) take(conn *net.UnixConn) {
	d := s.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seats[s.name] != s {
		conn.Close()
		return
	}
	if s.conn != nil {
		s.conn.Close()
	}
	s.conn, s.owes = conn, map[string]int{}
	s.wg.Go(func() { s.hear(conn) })
	d.joined(s.name)
}

func (s *seat) hear(conn *net.UnixConn) {
	d := s.desk
	buf := make([]byte, control.MaxWord+1)
	for range maxTalk {
		n, err := conn.Read(buf)
		if err != nil || n == 0 {
			break
		}
		word, arg, err := control.Parse(buf[:n])
		if err != nil {
			continue
		}
		d.mu.Lock()
		if s.conn == conn {
			d.heard(s.name, word, arg)
		}
		d.mu.Unlock()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	conn.Close()
	if s.conn == conn {
		s.conn = nil
		d.judge()
	}
}

// say sends a word to an app that listens. One that does not read has lost its
// connection, and how things stand it hears when it connects again.
func (d *Desk) say(name, word, arg string) {
	s := d.seats[name]
	if s == nil || s.conn == nil {
		return
	}
	if arg == control.Hold {
		s.owes[word]++
	}
	s.conn.SetWriteDeadline(time.Now().Add(sendTime))
	if _, err := s.conn.Write([]byte(word + " " + arg)); err != nil {
		d.log.Warn("app does not read its control socket", "source", name, "word", word, "reason", err)
		s.conn.Close() // hear notices
	}
}

// peer is the number of the process that has connected; 0 if it cannot be told.
func peer(conn *net.UnixConn) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) { // an error says that it is closed
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}
