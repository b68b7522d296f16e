package core_test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/stream/core"
	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// note is a memfd with a word in it.
func note(t *testing.T, word string) int {
	t.Helper()
	fd, err := unix.MemfdCreate(word, unix.MFD_CLOEXEC)
	if err == nil {
		_, err = unix.Write(fd, []byte(word))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// keep gives words as descriptors to be kept under a name.
func (w *world) keep(name string, words ...string) {
	w.t.Helper()
	var fds []int
	for _, word := range words {
		fds = append(fds, note(w.t, word))
	}
	w.sends(orders.Request{Keep: name}, fds...)
}

// sends sends a request that has no answer.
func (w *world) sends(r orders.Request, fds ...int) {
	w.t.Helper()
	w.req++
	r.Req = w.req
	if err := w.agent.Send(r, fds...); err != nil {
		w.t.Fatal(err)
	}
}

// takeBack is what the next agent gets back, as words by name. The agent's connection
// is another one then.
func (w *world) takeBack() map[string]string {
	w.t.Helper()
	w.agent.Close()
	kept, err := orders.TakeKept(filepath.Join(w.run, "orders.sock"), patience)
	if err != nil {
		w.t.Fatal(err)
	}
	words := map[string]string{}
	for name, fds := range kept {
		var all []string
		for _, fd := range fds {
			buf := make([]byte, 100)
			n, err := unix.Pread(fd, buf, 0)
			if err != nil {
				w.t.Error(err)
			}
			unix.Close(fd)
			all = append(all, string(buf[:n]))
		}
		words[name] = strings.Join(all, " ")
	}
	w.connect()
	return words
}

func (w *world) wantKept(when string, want map[string]string) {
	w.t.Helper()
	if got := w.takeBack(); !maps.Equal(got, want) {
		w.t.Errorf("%s: %q is kept, want %q", when, got, want)
	}
}

// The agent's descriptors outlive the agent, successions, and successors that fail. A
// forwarder that crashes has none, and is given them again.
func TestForwarderKeepsTheAgentsDescriptors(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	_, viewers := a.watched(handover.AES128)
	a.wantKept("at first", map[string]string{})
	a.keep("state/a/count", "one")
	a.keep("app/a-1/sensor", "left", "right")
	a.keep("state/a/count", "two")
	want := map[string]string{"state/a/count": "two", "app/a-1/sensor": "left right"}
	a.wantKept("under the next agent", want)
	a.succeed()
	a.wantKept("with a successor", want)
	if err := start(t, a.run, "hang", a.kept).ends("a successor that hangs"); err == nil {
		t.Error("a successor that hangs ended well")
	}
	a.wantKept("after a successor that failed", want)
	a.succeed()
	a.connect()
	a.keep("app/a-1/sensor", "third")
	a.sends(orders.Request{Drop: "state/a/count"})
	a.sends(orders.Request{Drop: "nothing"})
	want = map[string]string{"app/a-1/sensor": "third"}
	a.wantKept("after a word to drop", want)
	goOn(t, viewers)
	a.now.kill()
	a.begin()
	a.wantKept("after a crash", map[string]string{})
	goOn(t, viewers)
}

// Names that an agent does not give again over its own connection are of no use to it.
func TestWhatAnAgentDoesNotGiveAgainIsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep("old", "1")
	w.keep("again", "2")
	w.wantKept("by the next agent", map[string]string{"old": "1", "again": "2"})
	w.keep("again", "3")
	w.keep("new", "4")
	w.sends(orders.Request{DropOthers: true})
	w.wantKept("in the end", map[string]string{"again": "3", "new": "4"})
}

// A refusal changes nothing, and the agent goes on.
func TestKeptDescriptorsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep("first", "1")
	refused := func(what, reason, name string, fds ...int) {
		t.Helper()
		if m := w.ask(orders.Request{Keep: name}, fds...); m.Result != orders.ResultError || !strings.Contains(m.Error, reason) {
			t.Errorf("%s: %+v", what, m)
		}
	}
	fd := note(t, "x")
	refused("no descriptor", "0 descriptors", "first")
	refused("too many at once", "allowed are 1 to 40", "first", slices.Repeat([]int{fd}, orders.MaxKeptEach+1)...)
	w.sends(orders.Request{Keep: "first"}, slices.Repeat([]int{fd}, 100)...)
	w.await("a refusal", func(m orders.Message) bool { return strings.Contains(m.Error, "too many descriptors") })
	refused("a name that is too long", "printable", strings.Repeat("n", orders.MaxKeptName+1), fd)
	refused("a name that is not printable", "printable", "a\nb", fd)
	w.wantKept("after refusals", map[string]string{"first": "1"})
	for n := range orders.MaxKept - 1 {
		w.keep(fmt.Sprintf("%0*d", orders.MaxKeptName, n), "y")
	}
	refused("one too many", "no room", "last", fd)
	w.keep("first", "2") // in place of another one
	if got := w.takeBack(); len(got) != orders.MaxKept || got["first"] != "2" {
		t.Errorf("%d are kept, want %d; the first is %q", len(got), orders.MaxKept, got["first"])
	}
}

// What an app has made may block whoever closes it last; viewers never notice.
func TestDroppingWhatBlocksDelaysNobody(t *testing.T) {
	t.Parallel()
	w, _, v := steadyWorld(t)
	blocks := core.Lingering(t)
	w.sends(orders.Request{Keep: "socket"}, blocks)
	w.status()            // it has come
	go unix.Close(blocks) // waits if it is the last to close, until the test frees it
	w.sends(orders.Request{Drop: "socket"})
	v.until("more pictures", v.count()+10, any1)
	blocks = core.Lingering(t)
	w.sends(orders.Request{Keep: "no\nname"}, blocks)
	go unix.Close(blocks) // waits if it is the last to close, until the test frees it
	v.until("more pictures", v.count()+10, any1)
}

// Another user neither gives nor takes.
func TestAnotherUsersAgentIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	w := newWorld(t)
	w.keep("secret", "1")
	path := filepath.Join(w.run, "orders.sock")
	for _, file := range []string{w.run, path} {
		if err := os.Chmod(file, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	refused := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its user
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 12345, 12345, 12345); errno != 0 {
			refused <- errno
			return
		}
		kept, err := orders.TakeKept(path, patience)
		if err == nil {
			err = fmt.Errorf("it was given %v", kept)
		} else if strings.Contains(err.Error(), net.ErrClosed.Error()) || strings.Contains(err.Error(), syscall.ECONNRESET.Error()) || strings.Contains(err.Error(), syscall.EPIPE.Error()) {
			err = nil
		}
		refused <- err
	}()
	if err := <-refused; err != nil {
		t.Error(err)
	}
	if m := w.status(); m.Phase != "steady" {
		t.Errorf("the agent's own connection: %+v", m)
	}
	w.wantKept("afterwards", map[string]string{"secret": "1"})
}
