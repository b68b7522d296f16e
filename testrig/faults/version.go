package faults

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/publish"
	"slipstream/testrig/stand"
)

// version is a way in which a version on trial is bad, or good.
type version struct {
	name string
	play func(*sequence, context.Context)
}

var versions = []version{
	{"is good", good},
	{"is killed", func(s *sequence, ctx context.Context) { process(s, syscall.SIGKILL, 0) }},
	{"is stopped", func(s *sequence, ctx context.Context) { process(s, syscall.SIGSTOP, 0) }},
	{"is stopped and continued", func(s *sequence, ctx context.Context) { process(s, syscall.SIGSTOP, syscall.SIGCONT) }},
	{"never connects", func(*sequence, context.Context) {}},
	{"stops in the middle of a frame", mangled(func(s *sequence, n int, p [][]byte) ([][]byte, bool) {
		return p[:len(p)/2], n < 5
	})},
	{"dribbles", mangled(func(s *sequence, n int, p [][]byte) ([][]byte, bool) {
		if n%3 == 0 {
			return p, true
		}
		return nil, true
	})},
	{"reorders packets", mangled(func(s *sequence, n int, p [][]byte) ([][]byte, bool) {
		s.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
		return p, true
	})},
	{"repeats packets", mangled(func(s *sequence, n int, p [][]byte) ([][]byte, bool) {
		return append(p, p...), true
	})},
	{"jumps in number and time", mangled(func(s *sequence, n int, p [][]byte) ([][]byte, bool) {
		seq, ts := uint16(s.Uint32()), s.Uint32()
		for i, b := range p {
			binary.BigEndian.PutUint16(b[2:], seq+uint16(i))
			binary.BigEndian.PutUint32(b[4:], ts)
		}
		return p, true
	})},
	{"sends messages that are too large", mangled(func(s *sequence, n int, p [][]byte) ([][]byte, bool) {
		if n > 3 {
			p = append(p, make([]byte, publish.MaxPacket+1+s.IntN(60_000)))
			p[len(p)-1][0] = 0x80
		}
		return p, true
	})},
	{"sends garbage", mangled(func(s *sequence, n int, p [][]byte) ([][]byte, bool) {
		if n > 3 {
			p = append(p, s.noise(publish.MaxPacket))
		}
		return p, true
	})},
	{"flips bits", mangled(func(s *sequence, n int, p [][]byte) ([][]byte, bool) {
		for range s.IntN(4) {
			b := p[s.IntN(len(p))]
			b[s.IntN(len(b))] ^= 1 << s.IntN(8)
		}
		return p, true
	})},
	{"begins with garbage", func(s *sequence, ctx context.Context) {
		knock(s, s.Publish(s.part.Source.ID), s.noise(2*publish.MaxHello))
	}},
	{"brings foreign descriptors", foreignDescriptors},
}

// good publishes from this process until the sequence ends.
func good(s *sequence, ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = scene("2.0", 5).Play(ctx, s.Publish(s.part.Source.ID)) // disconnected at the end
	}()
	s.later(func() { cancel(); <-ended })
}

// process publishes from a process of its own, which gets a signal at some moment
// and, if there is a second one, that a little later.
func process(s *sequence, signal, after syscall.Signal) {
	cmd := exec.Command(filepath.Join(s.Bin(), "slipstream-rig"), "scene", "--version", "2.0")
	cmd.Env = append(os.Environ(), "SLIPSTREAM_PUBLISH="+s.Publish(s.part.Source.ID))
	p, err := s.Begin("scene", cmd)
	if err != nil {
		s.note("no process: %v", err)
		return
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err == nil && s.dice(2) {
		s.part.Pidfd = fd
		s.note("pidfd known")
	}
	at, pause := time.Duration(s.Int64N(int64(150*time.Millisecond))), time.Duration(s.Int64N(int64(2*stallLimit)))
	quit, done := make(chan struct{}), make(chan struct{})
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-quit:
		}
	}
	go func() {
		defer close(done)
		wait(at)
		p.Signal(signal)
		if after != 0 {
			wait(pause)
			p.Signal(after)
		}
	}()
	s.later(func() {
		close(quit)
		<-done
		p.Kill()
		if err == nil {
			unix.Close(fd)
		}
	})
}

// mangled publishes a scene whose frames go through a function; when that says
// false, nothing more comes and the connection stays.
func mangled(change func(s *sequence, n int, packets [][]byte) ([][]byte, bool)) func(*sequence, context.Context) {
	return func(s *sequence, ctx context.Context) {
		conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: s.Publish(s.part.Source.ID), Net: "unixpacket"})
		if err != nil {
			s.note("no connection: %v", err)
			return
		}
		own := *s // its own dice, for a goroutine of its own
		own.Rand = s.fork()
		hello := append([]byte{publish.MsgStream}, stand.Stream+"\n"...)
		var wait sync.WaitGroup
		quit := make(chan struct{})
		wait.Go(func() {
			if _, err := conn.Write(append(hello, stand.SDP...)); err != nil {
				return
			}
			sc := scene("2.0", 5)
			n := 0
			_ = sc.Frames(quit, func(packets [][]byte) error {
				n++
				kept, more := change(&own, n, packets)
				for _, p := range kept {
					if _, err := conn.Write(p); err != nil {
						return err
					}
				}
				if !more {
					<-quit
				}
				return nil
			})
		})
		s.later(func() { close(quit); conn.Close(); wait.Wait() })
	}
}

// foreignDescriptors says hello with descriptors that nobody wants.
func foreignDescriptors(s *sequence, _ context.Context) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: s.Publish(s.part.Source.ID), Net: "unixpacket"})
	if err != nil {
		s.note("no connection: %v", err)
		return
	}
	defer conn.Close()
	var fds []int
	for range 1 + s.IntN(3) {
		if fd, err := s.descriptor(); err == nil {
			fds = append(fds, fd)
			defer unix.Close(fd)
		}
	}
	hello := append([]byte{publish.MsgStream}, stand.Stream+"\n"...)
	_, _, _ = conn.WriteMsgUnix(append(hello, stand.SDP...), unix.UnixRights(fds...), nil)
	if s.dice(2) {
		_, _, _ = conn.WriteMsgUnix([]byte{publish.MsgClock}, unix.UnixRights(fds...), nil)
	}
	time.Sleep(time.Duration(s.IntN(5)) * time.Millisecond)
}

// descriptor is one of some kind.
func (s *sequence) descriptor() (int, error) {
	switch s.IntN(5) {
	case 0:
		return unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	case 1:
		return unix.MemfdCreate("fault", unix.MFD_CLOEXEC)
	case 2:
		return unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	case 3:
		return unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	return unix.Eventfd(0, unix.EFD_CLOEXEC)
}
