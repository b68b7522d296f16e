package core

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// keeper gives a second copy of every descriptor that matters to whoever starts the
// forwarder again when it has died: by the descriptor store of sd_notify(3), which
// the agent keeps, and systemd. They come back by LISTEN_FDS and LISTEN_FDNAMES. The
// agent may die, too, so all are said again to each one that connects.
//
// A copy keeps a connection open, so whatever is let go for good must be shut down,
// not only closed.
type keeper struct {
	fds    map[string]int
	socket string // of sd_notify; "": nobody keeps
	fd     int
	late   []string        // names to be said once the socket has room, in this order; readyName is no name
	waits  map[string]bool // the same, each once: what is said is how it stands then
}

// readyName stands in the queue for the word that the forwarder serves.
const readyName = "READY=1"

// keepPause is how long a full socket is left alone.
const keepPause = 5 * time.Millisecond

func newKeeper(socket string) *keeper {
	k := &keeper{fds: map[string]int{}, fd: -1, waits: map[string]bool{}}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err == nil && socket != "" {
		k.socket, k.fd = socket, fd
	}
	return k
}

// keep has a descriptor kept under a name, in place of the one before.
func (k *keeper) keep(name string, fd int) {
	k.fds[name] = fd
	k.say(name)
}

// drop has it forgotten. The descriptor itself stays the caller's.
func (k *keeper) drop(name string) {
	if _, ok := k.fds[name]; ok {
		delete(k.fds, name)
		k.say(name)
	}
}

// all says everything again, to a keeper that may know nothing.
func (k *keeper) all() {
	for name := range k.fds {
		k.say(name)
	}
}

// say tells how it stands with a name, now or later.
func (k *keeper) say(name string) {
	if k.socket == "" {
		return
	}
	if !k.waits[name] {
		k.waits[name] = true
		k.late = append(k.late, name)
	}
	k.flush()
}

// flush says what is late. A socket that nobody reads keeps nothing: what was not
// said is said to the next agent.
func (k *keeper) flush() {
	for i, name := range k.late {
		if errors.Is(k.send(name), eagain) {
			k.late = append(k.late[:0], k.late[i:]...)
			return
		}
		delete(k.waits, name)
	}
	k.late = k.late[:0]
}

func (k *keeper) send(name string) error {
	if name == readyName {
		return k.notify(readyName, nil)
	}
	text, rights := "FDSTOREREMOVE=1\nFDNAME="+name, []byte(nil)
	if fd, ok := k.fds[name]; ok {
		text, rights = "FDSTORE=1\nFDNAME="+name, unix.UnixRights(fd)
	}
	return k.notify(text, rights)
}

func (k *keeper) notify(text string, rights []byte) error {
	return unix.Sendmsg(k.fd, []byte(text), rights, &unix.SockaddrUnix{Name: k.socket}, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

func (k *keeper) close() {
	if k.fd >= 0 {
		unix.Close(k.fd)
	}
}

// firstInherited is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstInherited = 3

// Inherited takes the descriptors that whoever started this process has kept of an
// earlier one, by name. It is to be called once, before the process opens anything.
// LISTEN_PID may be missing, but must not be another process's.
func Inherited() (map[string]int, error) {
	count, names, pid := os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"), os.Getenv("LISTEN_PID")
	if count == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	list := strings.Split(names, ":")
	if err != nil || n != len(list) {
		return nil, fmt.Errorf("LISTEN_FDS=%s does not fit the %d names of LISTEN_FDNAMES", count, len(list))
	}
	fds := make(map[string]int, n)
	for i, name := range list {
		fd := firstInherited + i
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, fmt.Errorf("inherited descriptor %q: %w", name, err)
		}
		if old, twice := fds[name]; twice {
			unix.Close(old)
		}
		fds[name] = fd
	}
	return fds, nil
}
