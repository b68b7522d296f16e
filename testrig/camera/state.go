package camera

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// StateSchema is what a release declares whose camera hands over its state.
const StateSchema = "camera-1"

// State is what the camera hands over from version to version: how many pictures of its
// first stream it has shown, under all versions and runs, and which one was the last.
// As every version that takes it up counts on, a count at a scene is shown by no
// version but those that go back to the same hand-over.
type State struct {
	Count   uint64 // pictures
	Counter uint64 // the scene of the last one, see [FrameAt]
}

const stateSize = 8 + 8

func (s State) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.Count), s.Counter)
}

func readState(raw []byte) State {
	return State{binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])}
}

// listenFDs is the first inherited descriptor, sd_listen_fds(3).
const listenFDs = 3

// inheritState is the state that the agent hands over at the start, zero if there is none.
func inheritState() (State, error) {
	if os.Getenv("SLIPSTREAM_STATE_SCHEMA") != StateSchema || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return State{}, nil
	}
	for i, name := range strings.Split(os.Getenv("LISTEN_FDNAMES"), ":") {
		if name != "state" {
			continue
		}
		f := os.NewFile(uintptr(listenFDs+i), name)
		defer f.Close()
		raw := make([]byte, stateSize)
		if n, err := io.ReadFull(io.NewSectionReader(f, 0, stateSize), raw); err != nil {
			return State{}, fmt.Errorf("read the state of %d bytes: %w", n, err)
		}
		return readState(raw), nil
	}
	return State{}, nil
}

// count notes a picture that was sent, and hands the state over once a second.
func (c *Camera) count(n uint64) error {
	c.state.Count++
	c.state.Counter = n
	if !c.config.State || n%FrameRate != 0 {
		return nil
	}
	return c.notify.store("state", c.state.bytes())
}

// store hands content over as a sealed memfd.
func (n notifier) store(name string, content []byte) error {
	if n.conn == nil {
		return nil
	}
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return fmt.Errorf("make a memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK); err != nil {
		return fmt.Errorf("seal the state: %w", err)
	}
	return n.sendWith("FDSTORE=1\nFDNAME="+name, fd)
}

// sendWith is send with a descriptor, which [net.UnixConn] sends by no connected datagram
// socket.
func (n notifier) sendWith(state string, fd int) error {
	raw, err := n.conn.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(socket uintptr) bool {
		sent = unix.Sendmsg(int(socket), []byte(state), unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}
