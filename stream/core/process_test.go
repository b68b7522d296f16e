package core_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/core"
)

// roleVar makes the test's own program a forwarder: "forward", "succeed", or one
// that takes everything over and then hangs or exits.
const roleVar = "SLIPSTREAM_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		if err := act(role, os.Getenv("SLIPSTREAM_TEST_RUN")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The tests wait most of the time, so more of them than processors may run at once.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func act(role, run string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config := core.Config{Run: run, Notify: os.Getenv("NOTIFY_SOCKET")}
	var err error
	if role == "forward" {
		config.Inherited, err = core.Inherited()
	} else {
		config.Predecessor, config.Inherited, err = core.Succeed(run)
	}
	if err != nil {
		return err
	}
	if role == "exit" {
		return errors.New("this forwarder is of no use")
	}
	c, err := core.New(config, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	if role == "hang" {
		<-ctx.Done()
		return nil
	}
	if err := c.Run(ctx); !errors.Is(err, core.ErrSucceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// process is a forwarder of its own process, as the agent starts it.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed
}

// start runs a forwarder in a role, with what is kept of an earlier one.
func start(t *testing.T, run, role string, kept *store) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0]), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), roleVar+"="+role, "SLIPSTREAM_TEST_RUN="+run)
	p.cmd.Stderr = os.Stderr
	if !testing.Verbose() {
		p.cmd.Stderr = nil
	}
	if kept != nil {
		kept.give(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// ends waits for the end by itself.
func (p *process) ends(what string) error {
	p.t.Helper()
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", what)
	}
	panic("not reached")
}

// store keeps descriptors as the agent does, by the protocol of sd_notify.
type store struct {
	t    *testing.T
	path string
	conn *net.UnixConn
	wg   sync.WaitGroup

	mu    sync.Mutex
	files map[string]*os.File
	ready int
}

func newStore(t *testing.T, run string) *store {
	t.Helper()
	s := &store{t: t, path: filepath.Join(run, "notify.sock"), files: map[string]*os.File{}}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	s.conn = conn
	s.wg.Go(s.read)
	t.Cleanup(func() {
		conn.Close()
		s.wg.Wait()
		for _, f := range s.files {
			f.Close()
		}
	})
	return s
}

func (s *store) read() {
	buf, oob := make([]byte, 4096), make([]byte, 4096)
	for {
		n, oobn, _, _, err := s.conn.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		s.take(string(buf[:n]), oob[:oobn])
	}
}

func (s *store) take(text string, oob []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == "READY=1" {
		s.ready++
		return
	}
	_, name, _ := strings.Cut(text, "FDNAME=")
	if old := s.files[name]; old != nil {
		old.Close()
		delete(s.files, name)
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) == 0 {
		return
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		s.t.Errorf("%q came with %d descriptors, %v", text, len(fds), err)
		return
	}
	s.files[name] = os.NewFile(uintptr(fds[0]), name)
}

// give hands everything to a process that is to be started.
func (s *store) give(cmd *exec.Cmd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := slices.Sorted(maps.Keys(s.files))
	for _, name := range names { // copies, because the forwarder may say any of them again now
		fd, err := unix.FcntlInt(s.files[name].Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), name)
		s.t.Cleanup(func() { f.Close() })
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+s.path)
	if len(names) > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
}

func (s *store) readied() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// count counts what is kept by the beginning and the end of its name.
func (s *store) count(prefix, suffix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.files {
		if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) {
			n++
		}
	}
	return n
}
