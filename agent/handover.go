package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	maxState   = 16 << 20 // bytes that an app hands over
	stateSeals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK
)

// states holds what the app of each slot has handed over last: the very memory that the
// app has sealed, so nothing is copied before a version is given it. As with data, a
// trial has the same in its own slot's place: so the active record, which names the
// permanent slot, also says which state is the true one. The forwarder keeps a second
// descriptor of each, from which the next agent takes it; it ends with the boot, or with
// agent and forwarder at once, like any memory.
type states struct {
	keep keepFunc

	mu sync.Mutex // guards what follows
	of map[string]handed
}

// handed is one state. Its memory never changes.
type handed struct {
	schema string
	memory *os.File
	size   int64
}

// keptState begins the names under which the forwarder keeps states; slot and schema
// follow.
const keptState = "state/"

func (h handed) name(slot string) string { return keptState + slot + "/" + h.schema }

// put takes what is in a sealed memfd as a slot's state. After an error the state
// before is still there.
func (s *states) put(slot, schema string, fd int) error {
	size, err := sealedSize(fd)
	if err != nil {
		return err
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("keep it: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(slot, handed{schema, os.NewFile(uintptr(own), stateName), size})
	return nil
}

// set replaces a slot's state, for those who hold mu; the zero one is none.
func (s *states) set(slot string, h handed) {
	old, had := s.of[slot]
	if h.memory == nil {
		delete(s.of, slot)
	} else {
		s.of[slot] = h
		s.keep(h.name(slot), int(h.memory.Fd()))
	}
	if !had {
		return
	}
	old.memory.Close()
	if h.memory == nil || old.schema != h.schema {
		s.keep(old.name(slot))
	}
}

// restore takes what the forwarder has kept for an agent before.
func (s *states) restore(name string, fds []int) error {
	slot, schema, ok := strings.Cut(name, "/")
	if !ok || !slices.Contains(slotNames[:], slot) || len(fds) != 1 {
		return fmt.Errorf("%q with %d descriptors is no state", name, len(fds))
	}
	return s.put(slot, schema, fds[0])
}

// tell has all of it kept, by a forwarder that may know nothing.
func (s *states) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot, h := range s.of {
		s.keep(h.name(slot), int(h.memory.Fd()))
	}
}

func (s *states) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.of {
		h.memory.Close()
	}
	clear(s.of)
}

// sealedSize refuses what could still change.
func sealedSize(fd int) (int64, error) {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return 0, errors.New("it is no memfd that can be sealed (memfd_create with MFD_ALLOW_SEALING)")
	}
	if seals&stateSeals != stateSeals {
		return 0, errors.New("it is not sealed, so it could still change: add F_SEAL_WRITE, F_SEAL_GROW and F_SEAL_SHRINK before it is stored")
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

// schema is that of a slot's state, "" if there is none.
func (s *states) schema(slot string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[slot].schema
}

// snapshot gives a slot the state of another one, "" for none.
func (s *states) snapshot(from, to string) error {
	if err := s.drop(to, from); err != nil || from == "" {
		return err
	}
	s.mu.Lock()
	h, ok := s.of[from]
	defer s.mu.Unlock()
	if !ok {
		return nil
	}
	own, err := unix.FcntlInt(h.memory.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("share the state: %w", err)
	}
	s.set(to, handed{h.schema, os.NewFile(uintptr(own), stateName), h.size})
	return nil
}

// drop removes a slot's state, but never the permanent version's, whoever asks.
func (s *states) drop(slot, permanent string) error {
	if slot == permanent {
		return fmt.Errorf("the state in slot %s is the permanent version's", slot)
	}
	s.remove(slot)
	return nil
}

func (s *states) remove(slot string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(slot, handed{})
}

// memfd is a copy of a slot's state in a sealed memfd of its own, with its schema; nil
// if there is none. The app that sealed the state shares an offset with it, and may
// take its permissions away.
func (s *states) memfd(slot string) (*os.File, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.of[slot]
	if !ok {
		return nil, "", nil
	}
	fd, err := unix.MemfdCreate(stateName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, "", fmt.Errorf("hand the state over: %w", err)
	}
	f := os.NewFile(uintptr(fd), stateName)
	if _, err = io.Copy(f, io.NewSectionReader(h.memory, 0, h.size)); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, stateSeals|unix.F_SEAL_SEAL)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, "", fmt.Errorf("hand the state over: %w", err)
	}
	return f, h.schema, nil
}
