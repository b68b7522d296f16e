package bench

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// straight sends the film to every reader's socket itself, as plain RTP: what is left
// when there is no server in between. Readers ask for it with a datagram.
type straight struct {
	door *net.UDPConn
	done chan struct{}

	mu      sync.Mutex // guards what follows
	readers []*net.UDPConn
}

func newStraight() (*straight, error) {
	door, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	s := &straight{door: door, done: make(chan struct{})}
	go s.greet()
	return s, nil
}

// greet gives each reader who asks a socket that is connected to it, as servers do
// for which sending has to be cheap.
func (s *straight) greet() {
	defer close(s.done)
	for {
		_, from, err := s.door.ReadFromUDP(make([]byte, 1))
		if err != nil {
			return // closed
		}
		reader, err := net.DialUDP("udp4", nil, from)
		if err != nil {
			continue // it gets no picture, and says so
		}
		s.mu.Lock()
		s.readers = append(s.readers, reader)
		s.mu.Unlock()
	}
}

// WriteFrame implements [sink], as cheaply as can be: with the priority that the
// forwarder has, so that readers do not take the processor from who writes to them, and
// with packets of one size in one message. A reader that has left is as good as one
// that is there.
func (s *straight) WriteFrame(packets [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer raise()()
	messages := messagesOf(packets)
	for _, reader := range s.readers {
		for _, m := range messages {
			_, _, _ = reader.WriteMsgUDP(m.bytes, m.cut, nil)
		}
	}
	return nil
}

// message is packets that go to the kernel at once, and how it cuts them apart again.
type message struct{ bytes, cut []byte }

// messagesOf puts packets of one size together; the last of them may be shorter.
func messagesOf(packets [][]byte) (messages []message) {
	const most = 32 // within the 64 KiB of one message
	for len(packets) > 0 {
		size, n := len(packets[0]), 1
		for n < min(len(packets), most) && len(packets[n-1]) == size && len(packets[n]) <= size {
			n++
		}
		messages = append(messages, message{bytes.Join(packets[:n], nil), cutAt(size)})
		packets = packets[n:]
	}
	return messages
}

// cutAt is a control message of UDP_SEGMENT.
func cutAt(size int) []byte {
	cut := make([]byte, unix.CmsgSpace(2))
	head := (*unix.Cmsghdr)(unsafe.Pointer(&cut[0]))
	head.Level, head.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	head.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(cut[unix.CmsgLen(0):], uint16(size))
	return cut
}

func (s *straight) Close() error {
	err := s.door.Close()
	<-s.done
	for _, reader := range s.readers {
		reader.Close()
	}
	return err
}
