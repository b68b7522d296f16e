package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	maxState     = 16 << 20 // bytes that an app hands over
	maxStateHead = 1 << 10
	stateFormat  = 1
	stateSeals   = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK
)

// states keeps what the app of each slot has handed over last, one file a slot in the
// run directory. As with data, a trial gets a copy in its own slot's place: so the
// active record, which names the permanent slot, also says which state is the true
// one. A file outlives the agent, which no descriptor of the agent's does, and ends
// with the boot like any memory.
type states struct {
	dir  string
	boot string // id of the running kernel
}

// stateHead is the first line of a file; the state follows.
type stateHead struct {
	Format int    `json:"format"`
	Boot   string `json:"boot"`
	Schema string `json:"schema"`
	Size   int64  `json:"size"`
}

func (s states) of(slot string) string { return filepath.Join(s.dir, slot) }

// put keeps what is in a sealed memfd as a slot's state. After an error the state
// before is still there.
func (s states) put(slot, schema string, fd int) error {
	size, err := sealedSize(fd)
	if err != nil {
		return err
	}
	return s.write(slot, stateHead{stateFormat, s.boot, schema, size}, io.NewSectionReader(descriptor(fd), 0, size))
}

// sealedSize refuses what could still change while it is copied.
func sealedSize(fd int) (int64, error) {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return 0, errors.New("it is no memfd that can be sealed (memfd_create with MFD_ALLOW_SEALING)")
	}
	if seals&stateSeals != stateSeals {
		return 0, errors.New("it is not sealed, so a copy could be torn: add F_SEAL_WRITE, F_SEAL_GROW and F_SEAL_SHRINK before it is stored")
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("look at it: %w", err)
	}
	if st.Size > maxState {
		return 0, fmt.Errorf("it has %d bytes, allowed are %d", st.Size, maxState)
	}
	return st.Size, nil
}

// descriptor reads a borrowed descriptor, whose offset it leaves alone.
type descriptor int

func (d descriptor) ReadAt(p []byte, off int64) (int, error) {
	for {
		n, err := unix.Pread(int(d), p, off)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n < len(p):
			return n, io.EOF
		default:
			return n, nil
		}
	}
}

func (s states) write(slot string, head stateHead, from io.Reader) error {
	line, err := json.Marshal(head)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	draft := s.of("." + slot)
	f, err := os.OpenFile(draft, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	if err == nil {
		_, err = io.CopyN(f, from, head.Size)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(draft, s.of(slot))
	}
	if err != nil {
		os.Remove(draft)
		return fmt.Errorf("keep it in the run directory: %w", err)
	}
	return nil
}

// open returns a slot's state; an error that is fs.ErrNotExist if there is none of
// this boot.
func (s states) open(slot string) (head stateHead, state io.ReadCloser, err error) {
	f, err := os.Open(s.of(slot))
	if err != nil {
		return head, nil, err
	}
	from := bufio.NewReaderSize(f, maxStateHead)
	line, err := from.ReadSlice('\n')
	if err == nil {
		err = json.Unmarshal(line, &head)
	}
	if err != nil || head.Format != stateFormat || head.Boot != s.boot || head.Size < 0 || head.Size > maxState {
		f.Close()
		return stateHead{}, nil, fmt.Errorf("%w: the file in slot %s's place is no state of this boot", fs.ErrNotExist, slot)
	}
	return head, struct {
		io.Reader
		io.Closer
	}{from, f}, nil
}

// schema is that of a slot's state, "" if there is none.
func (s states) schema(slot string) string {
	head, state, err := s.open(slot)
	if err != nil {
		return ""
	}
	state.Close()
	return head.Schema
}

// snapshot replaces a slot's state by a copy of another's, "" for none.
func (s states) snapshot(from, to string) error {
	if err := s.drop(to, from); err != nil || from == "" {
		return err
	}
	head, state, err := s.open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("copy the state: %w", err)
	}
	defer state.Close()
	return s.write(to, head, state)
}

// drop removes a slot's state, but never the permanent version's, whoever asks.
func (s states) drop(slot, permanent string) error {
	if slot == permanent {
		return fmt.Errorf("the state in slot %s is the permanent version's", slot)
	}
	return s.remove(slot)
}

func (s states) remove(slot string) error {
	if err := os.Remove(s.of(slot)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("drop the state: %w", err)
	}
	return nil
}

// memfd is a slot's state in a sealed memfd of its own, with its schema; nil if there
// is none.
func (s states) memfd(slot string) (*os.File, string, error) {
	head, state, err := s.open(slot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("hand the state over: %w", err)
	}
	defer state.Close()
	fd, err := unix.MemfdCreate(stateName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, "", fmt.Errorf("hand the state over: %w", err)
	}
	f := os.NewFile(uintptr(fd), stateName)
	if _, err = io.CopyN(f, state, head.Size); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, stateSeals|unix.F_SEAL_SEAL)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, "", fmt.Errorf("hand the state over: %w", err)
	}
	return f, head.Schema, nil
}
