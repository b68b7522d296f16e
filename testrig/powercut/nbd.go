package powercut

import (
	"errors"
	"io"
	"net"
	"sync"
)

// The network block device protocol as far as QEMU's client speaks it: fixed newstyle
// negotiation, one export, simple replies. See doc/proto.md of NetworkBlockDevice/nbd.
const (
	nbdMagic   = 0x4e42444d41474943 // "NBDMAGIC"
	nbdOption  = 0x49484156454F5054 // "IHAVEOPT"
	nbdReply   = 0x3e889045565a9
	nbdRequest = 0x25609513
	nbdSimple  = 0x67446698

	nbdFixed    = 1
	nbdNoZeroes = 2

	optExport = 1
	optAbort  = 2
	optInfo   = 6
	optGo     = 7

	repAck    = 1
	repInfo   = 3
	repUnsup  = 1<<31 + 1
	repBad    = 1<<31 + 3
	infoMain  = 0
	infoBlock = 3

	flagHas      = 1
	flagCanFlush = 4
	flagCanFUA   = 8
	flagCanTrim  = 32
	flagCanZero  = 64

	cmdRead  = 0
	cmdWrite = 1
	cmdDisc  = 2
	cmdFlush = 3
	cmdTrim  = 4
	cmdZero  = 6
	cmdFUA   = 1

	nbdEIO    = 5
	nbdEINVAL = 22
)

// Bounds of what a client may ask.
const (
	maxOptions  = 64
	maxOption   = 4 << 10
	maxTransfer = 32 << 20 // as the protocol lets clients expect
)

// blocks are what is served.
type blocks interface {
	Size() int64
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64, fua bool) error
	Flush() error
}

// errOff is a device's that answers no more: its client is to be told nothing.
var errOff = errors.New("the power is off")

// server serves one device to one client after the other, on a socket.
type server struct {
	listener net.Listener
	blocks   blocks
	wg       sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conn  net.Conn
	ended bool
	err   error // of the newest connection
}

// serve listens on a unix socket; QEMU knows the way to it by drive.
func serve(path string, b blocks) (*server, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	s := &server{listener: l, blocks: b}
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil || !s.hold(conn) {
				return // closed
			}
			err = s.talk(conn)
			conn.Close()
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
		}
	})
	return s, nil
}

func (s *server) hold(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		conn.Close()
		return false
	}
	s.conn = conn
	return true
}

// close ends all connections, and says what became of the last one.
func (s *server) close() error {
	s.mu.Lock()
	s.ended = true
	if s.conn != nil {
		s.conn.Close()
	}
	s.mu.Unlock()
	err := s.listener.Close()
	s.wg.Wait()
	return errors.Join(err, s.err)
}

// talk serves one client until it goes.
func (s *server) talk(conn net.Conn) error {
	if ready, err := s.negotiate(conn); err != nil || !ready {
		return err
	}
	for {
		more, err := s.request(conn)
		if errors.Is(err, errOff) {
			_, _ = io.Copy(io.Discard, conn) // not even an error is answered, up to its end
			return nil
		}
		if err != nil || !more {
			return err
		}
	}
}
