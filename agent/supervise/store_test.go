package supervise_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/agent/supervise"
)

func init() { helpers["keeper"] = keeperHelper }

// keeperHelper prints what it was given, does what its arguments say, and does
// that again at each SIGUSR1, which is how it learns of a new agent.
func keeperHelper(args []string) {
	again := make(chan os.Signal, 1)
	signal.Notify(again, unix.SIGUSR1)
	count, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	for i, name := range strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")[:count] {
		content, err := io.ReadAll(io.NewSectionReader(os.NewFile(uintptr(3+i), name), 0, 100))
		fmt.Printf("fd %s=%s %v\n", name, content, err)
	}
	fmt.Printf("given %d\n", count)
	for {
		for _, arg := range args {
			keeperDoes(arg)
		}
		notifyWith("BARRIER=1", pipeEnd())
		fmt.Println("told")
		<-again
	}
}

// pipeEnd is any descriptor for a barrier; that it is closed is not waited for
// because the next line of the log is.
func pipeEnd() int {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	go io.Copy(io.Discard, r)
	fd, err := unix.Dup(int(w.Fd()))
	if err != nil {
		panic(err)
	}
	w.Close()
	return fd
}

// keeperDoes performs "NAME=CONTENT" (store it in a memfd), "-NAME" (remove it) or
// "*N" (store N descriptors).
func keeperDoes(arg string) {
	if n, ok := strings.CutPrefix(arg, "*"); ok {
		many, _ := strconv.Atoi(n)
		for i := range many {
			notifyWith("FDSTORE=1\nFDNAME=viewer."+strconv.Itoa(1000+i)+".4", memfd("")) // as long as the longest
		}
		return
	}
	if name, ok := strings.CutPrefix(arg, "-"); ok {
		notify("FDSTOREREMOVE=1\nFDNAME=" + name)
		return
	}
	name, content, _ := strings.Cut(arg, "=")
	notifyWith("FDSTORE=1\nFDNAME="+name, memfd(content))
}

func memfd(content string) int {
	fd, err := unix.MemfdCreate("kept", unix.MFD_CLOEXEC)
	if err != nil {
		panic(err)
	}
	if _, err := unix.Write(fd, []byte(content)); err != nil {
		panic(err)
	}
	return fd
}

// notifyWith sends a word with a descriptor, and closes its own.
func notifyWith(text string, fd int) {
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	defer unix.Close(socket)
	defer unix.Close(fd)
	to := &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}
	if err := unix.Sendmsg(socket, []byte(text), unix.UnixRights(fd), to, 0); err != nil {
		fmt.Println("not sent:", err)
	}
}

func keeper(t *testing.T, args ...string) supervise.Spec {
	spec := withSocket(t, helper("keeper", "keeper", args...))
	spec.FDStore = true
	return spec
}

// successorOf kills a keeper and returns the next one, and how many descriptors that
// was given.
func successorOf(t *testing.T, s *supervise.Supervisor, spec supervise.Spec, p *supervise.Process) (*supervise.Process, int) {
	t.Helper()
	if err := unix.PidfdSendSignal(p.Pidfd(), unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	waitDone(t, p)
	p.Kill()
	successor := start(t, s, spec)
	return successor, number(t, printed(t, successor, "given "))
}

// given kills a keeper and returns what its successor is given.
func given(t *testing.T, s *supervise.Supervisor, spec supervise.Spec, p *supervise.Process) []string {
	t.Helper()
	successor, _ := successorOf(t, s, spec, p)
	var fds []string
	for _, line := range successor.LogTail(3000) {
		if fd, ok := strings.CutPrefix(line, "fd "); ok {
			fds = append(fds, strings.TrimSuffix(fd, " <nil>"))
		}
	}
	return fds
}

func TestStoredDescriptorsOutliveACrash(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"two", []string{"ledger=of the first", "viewer.12.0=a socket"}, []string{"ledger=of the first", "viewer.12.0=a socket"}},
		{"one that was replaced", []string{"ledger=old", "viewer.1=x", "ledger=new"}, []string{"viewer.1=x", "ledger=new"}},
		{"one that was removed", []string{"viewer.1=x", "viewer.2=y", "-viewer.1"}, []string{"viewer.2=y"}},
		{"the removed one is unknown", []string{"viewer.1=x", "-viewer.7"}, []string{"viewer.1=x"}},
		{"names that are none", []string{"a:b=x", "=x", "a\tb=x", "é=x", strings.Repeat("n", 256) + "=x", "good=x"}, []string{"good=x"}},
		{"the longest name", []string{strings.Repeat("n", 255) + "=x"}, []string{strings.Repeat("n", 255) + "=x"}},
		{"nothing", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSupervisor(t, t.TempDir())
			spec := keeper(t, tt.args...)
			p := start(t, s, spec)
			printed(t, p, "told")
			if got := given(t, s, spec, p); !slices.Equal(got, tt.want) {
				t.Errorf("the successor is given %q, want %q", got, tt.want)
			}
		})
	}
}

// A process that stores nothing anew and crashes again leaves what it was given.
func TestStoredDescriptorsOutliveTwoCrashes(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, t.TempDir())
	first := keeper(t, "ledger=of the first")
	p := start(t, s, first)
	printed(t, p, "told")
	silent := keeper(t)
	if got := given(t, s, silent, p); len(got) != 1 {
		t.Fatalf("the second is given %q", got)
	}
	if again := s.Stored("keeper"); !slices.Equal(again, []string{"ledger"}) {
		t.Fatalf("stored: %q", again)
	}
	s.DropStored("keeper")
	if left := s.Stored("keeper"); len(left) != 0 {
		t.Errorf("left after dropping: %q", left)
	}
}

// The store dies with the agent. The process tells the next one, and crashes then.
func TestStoreOfTheNextAgent(t *testing.T) {
	t.Parallel()
	run := t.TempDir()
	spec := keeper(t, "ledger=kept", "viewer.1=x")
	cmd := exec.Command(os.Args[0], run, spec.NotifySocket)
	cmd.Env = append(os.Environ(), "SUPERVISE_TEST_ROLE=storing-agent")
	out, err := cmd.Output()
	if err == nil || !strings.Contains(string(out), "stored 2") {
		t.Fatalf("the first agent: %v, %s", err, out)
	}
	s := newSupervisor(t, run)
	p, ok := s.Adopt("keeper")
	if !ok {
		t.Fatal("not adopted")
	}
	t.Cleanup(p.Kill)
	if left := s.Stored("keeper"); len(left) != 0 {
		t.Fatalf("stored before it was told: %q", left)
	}
	if err := unix.PidfdSendSignal(p.Pidfd(), unix.SIGUSR1, nil, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are stored again", func() bool { return len(s.Stored("keeper")) == 2 })
	want := []string{"ledger=kept", "viewer.1=x"}
	if got := given(t, s, spec, p); !slices.Equal(got, want) {
		t.Errorf("the successor is given %q, want %q", got, want)
	}
}

func init() {
	// An agent that starts a keeper and is killed once it has stored.
	helpers["storing-agent"] = func(args []string) {
		s := supervise.New(args[0], discard())
		spec := helper("keeper", "keeper", "ledger=kept", "viewer.1=x")
		spec.NotifySocket, spec.FDStore = args[1], true
		if _, err := s.Start(spec); err != nil {
			fmt.Println(err)
			return
		}
		for len(s.Stored("keeper")) < 2 {
			syscall.Select(0, nil, nil, nil, &syscall.Timeval{Usec: 1000})
		}
		fmt.Println("stored", len(s.Stored("keeper")))
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
}

// What is above the bound is closed, and all within it reach the successor.
func TestTheStoreIsBounded(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, t.TempDir())
	spec := keeper(t, "*"+strconv.Itoa(supervise.MaxStored+50))
	p := start(t, s, spec)
	printed(t, p, "told")
	eventually(t, "the store is full", func() bool { return len(s.Stored("keeper")) == supervise.MaxStored })
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, f := range files {
		if to, _ := os.Readlink(f); strings.HasPrefix(to, "/memfd:kept") {
			kept++
		}
	}
	if kept < supervise.MaxStored || kept > supervise.MaxStored+20 { // other tests run beside this one
		t.Errorf("%d descriptors are open, stored are %d", kept, supervise.MaxStored)
	}
	if _, n := successorOf(t, s, keeper(t), p); n != supervise.MaxStored {
		t.Errorf("the successor is given %d", n)
	}
}

// A process without a store is heard all the same, and nothing of it is kept.
func TestWithoutAStoreNothingIsKept(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, t.TempDir())
	spec := keeper(t, "ledger=x")
	spec.FDStore = false
	p := start(t, s, spec)
	printed(t, p, "told")
	if got := given(t, s, spec, p); len(got) != 0 || len(s.Stored("keeper")) != 0 {
		t.Errorf("kept: %q", got)
	}
}

func TestAStoreNeedsItsSocket(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, t.TempDir())
	spec := shell("app", "true")
	spec.FDStore = true
	if p, err := s.Start(spec); err == nil {
		p.Kill()
		t.Error("started without a socket")
	}
}
