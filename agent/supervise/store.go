package supervise

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// MaxStored bounds the descriptors that one process may have stored. The
	// forwarder has at most 1024 viewers, the most costly of whom (RTSP over UDP, with
	// sound) needs five; the rest is for sources.
	MaxStored    = 1024*5 + 256
	maxStoredAll = 1024 + MaxStored // of all processes: one alone cannot take every place
	maxFDName    = 255              // sd_pid_notify_with_fds(3)
	unnamed      = "stored"         // the name of descriptors that came without one
	// maxFDNames bounds all names of a process together: LISTEN_FDNAMES is one
	// variable, and the kernel takes none of 128 KiB (MAX_ARG_STRLEN).
	maxFDNames = 96 << 10
)

// stores keeps the descriptors that processes have stored by FDSTORE=1, by the
// name of the process, over its end and until a successor of that name starts.
type stores struct {
	judge  Judge  // nil, or asked before anything is stored or removed
	mirror Mirror // nil, or told of what is stored then

	mu  sync.Mutex // guards what follows
	of  map[string][]stored
	all int
}

// Judge looks at what a process stores or removes under a name. What it has dealt with
// itself is not stored, and closed; an error refuses it. The files are borrowed.
type Judge func(process, name string, remove bool, files []int) (dealt bool, err error)

// JudgeStored sets who is asked. It comes before the first process is started or
// adopted.
func (s *Supervisor) JudgeStored(judge Judge) { s.stores.judge = judge }

// Mirror is told what a process has stored under a name now, nothing if the files are
// none, while they are the store's. It is not told of the end of the supervisor.
type Mirror func(process, name string, files []int)

// MirrorStored sets who is told. It comes before the first process is started or
// adopted.
func (s *Supervisor) MirrorStored(mirror Mirror) { s.stores.mirror = mirror }

// TellStored tells all that is stored.
func (s *Supervisor) TellStored() {
	s.stores.mu.Lock()
	defer s.stores.mu.Unlock()
	for process := range s.stores.of {
		s.stores.tell(process, s.stores.of[process])
	}
}

// stored is one descriptor, in the order in which they came.
type stored struct {
	name string
	fd   int
}

// put takes descriptors over, in place of earlier ones of the same name. After an
// error it has taken none, and those earlier ones stay.
func (s *stores) put(process, name string, fds []int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, old := split(s.of[process], name)
	bytes := 0
	for _, f := range list {
		bytes += len(f.name) + 1
	}
	switch {
	case len(fds) == 0:
		return errors.New("none came along")
	case len(list)+len(fds) > MaxStored:
		return fmt.Errorf("a process may store %d", MaxStored)
	case s.all-len(old)+len(fds) > maxStoredAll:
		return fmt.Errorf("all processes together may store %d", maxStoredAll)
	case bytes+len(fds)*(len(name)+1) > maxFDNames:
		return fmt.Errorf("the names of all would be longer than %d bytes", maxFDNames)
	}
	for _, fd := range fds {
		list = append(list, stored{name, fd})
	}
	s.set(process, list)
	s.tell(process, list[len(list)-1:])
	closeAll(old)
	return nil
}

func (s *stores) remove(process, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, old := split(s.of[process], name)
	s.set(process, list)
	s.tell(process, old)
	closeAll(old)
}

// tell tells how it stands now with each name of a list, for those who hold mu.
func (s *stores) tell(process string, list []stored) {
	for i, f := range list {
		if s.mirror == nil || slices.ContainsFunc(list[:i], func(o stored) bool { return o.name == f.name }) {
			continue
		}
		_, now := split(s.of[process], f.name)
		fds := make([]int, len(now))
		for i, f := range now {
			fds[i] = f.fd
		}
		s.mirror(process, f.name, fds)
	}
}

// set replaces a process's list, for those who hold mu.
func (s *stores) set(process string, list []stored) {
	s.all += len(list) - len(s.of[process])
	if s.of[process] = list; len(list) == 0 {
		delete(s.of, process)
	}
}

// get lends a process's descriptors until the next change.
func (s *stores) get(process string) []stored {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.of[process])
}

func (s *stores) drop(process string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.empty(process)
}

// empty is drop for those who hold mu.
func (s *stores) empty(process string) {
	old := s.of[process]
	s.set(process, nil)
	s.tell(process, old)
	closeAll(old)
}

func (s *stores) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for process, list := range s.of {
		closeAll(list)
		s.set(process, nil)
	}
}

// split parts a list into all but a name, and that name.
func split(list []stored, name string) (others, named []stored) {
	for _, f := range list {
		if f.name == name {
			named = append(named, f)
		} else {
			others = append(others, f)
		}
	}
	return others, named
}

func closeAll(list []stored) {
	for _, f := range list {
		unix.Close(f.fd)
	}
}

// DropStored closes what a process has stored under this name, so that its successor
// begins with nothing.
func (s *Supervisor) DropStored(name string) { s.stores.drop(name) }

// Stored lists the names of the descriptors that a process has stored.
func (s *Supervisor) Stored(name string) (names []string) {
	for _, f := range s.stores.get(name) {
		names = append(names, f.name)
	}
	return names
}

// Give stores a copy of a descriptor for a process that is still to be started.
func (s *Supervisor) Give(process, name string, fd int) error {
	return s.Restore(process, name, []int{fd})
}

// Restore stores copies of descriptors under a name, as a process has stored them with
// an agent before this one.
func (s *Supervisor) Restore(process, name string, fds []int) error {
	if !isFDName(name) {
		return fmt.Errorf("%q is no name for a descriptor", name)
	}
	var own []int
	var err error
	for _, fd := range fds {
		var copied int
		if copied, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			err = fmt.Errorf("copy a descriptor: %w", err)
			break
		}
		own = append(own, copied)
	}
	if err == nil {
		err = s.stores.put(process, name, own)
	}
	if err != nil {
		for _, fd := range own {
			unix.Close(fd)
		}
	}
	return err
}

// Withdraw removes what is stored of a process under a name.
func (s *Supervisor) Withdraw(process, name string) { s.stores.remove(process, name) }

// Inherit gives a process that is still to be started copies of what another one has
// stored, in place of what its name had before.
func (s *Supervisor) Inherit(from, to string) error {
	s.stores.mu.Lock()
	defer s.stores.mu.Unlock()
	s.stores.empty(to)
	var list []stored
	for _, f := range s.stores.of[from] {
		fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil && s.stores.all+len(list) >= maxStoredAll {
			unix.Close(fd)
			err = fmt.Errorf("all processes together may store %d", maxStoredAll)
		}
		if err != nil {
			closeAll(list)
			return fmt.Errorf("copy the descriptors of %s: %w", from, err)
		}
		list = append(list, stored{f.name, fd})
	}
	s.stores.set(to, list)
	s.stores.tell(to, list)
	return nil
}

// storeWord is what one datagram says of the store.
type storeWord struct {
	put, remove bool
	name        string
}

// parseStore reads the lines of a datagram that are for the store. A name that is
// not one is refused: the other side could never find what lies under it.
func parseStore(raw []byte) (w storeWord, err error) {
	w.name = unnamed
	for line := range strings.SplitSeq(string(raw), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "FDSTORE":
			w.put = value == "1"
		case "FDSTOREREMOVE":
			w.remove = value == "1"
		case "FDNAME":
			w.name = value
		}
	}
	if (w.put || w.remove) && !isFDName(w.name) {
		return storeWord{}, fmt.Errorf("%q is not a name of 1 to %d printable characters without ':'", printable(w.name, maxLine), maxFDName)
	}
	return w, nil
}

func isFDName(name string) bool {
	return name != "" && len(name) <= maxFDName && !strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' || r > '~' || r == ':'
	})
}

// keep does with the descriptors of a datagram what it says, and returns those
// that were not taken.
func (n *notifier) keep(raw []byte, files []int) []int {
	if n.p.stores == nil {
		return files // it has no store, like most
	}
	dealt := false
	w, err := parseStore(raw)
	if judge := n.p.stores.judge; err == nil && judge != nil && (w.put || w.remove) {
		dealt, err = judge(n.p.name, w.name, w.remove, files)
	}
	switch {
	case err != nil || dealt:
	case w.remove:
		n.p.stores.remove(n.p.name, w.name)
	case w.put:
		if err = n.p.stores.put(n.p.name, w.name, files); err == nil {
			return nil
		}
	}
	if err != nil && !n.full {
		n.full = true // said once: a process that stores without end would fill the log
		n.p.log.Warn("descriptor not stored", "name", n.p.name, "fdname", printable(w.name, maxFDName), "reason", err)
	}
	return files
}

// listenEnv tells a process of the descriptors behind the first three
// (sd_listen_fds(3)). LISTEN_PID is missing, because the number is not known before
// the process is, but to a launcher.
func listenEnv(list []stored) []string {
	if len(list) == 0 {
		return nil
	}
	names := make([]string, len(list))
	for i, f := range list {
		names[i] = f.name
	}
	return []string{fmt.Sprintf("LISTEN_FDS=%d", len(list)), "LISTEN_FDNAMES=" + strings.Join(names, ":")}
}
