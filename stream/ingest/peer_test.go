package ingest

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// connect makes a TCP connection and returns its server's side.
func connect(t *testing.T, network, address string) net.Conn {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

func TestOwnerOfAConnection(t *testing.T) {
	t.Parallel()
	for _, to := range [][2]string{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		conn := connect(t, to[0], to[1])
		who, err := ownerOf(conn.RemoteAddr(), conn.LocalAddr())
		if err != nil || who.uid != os.Geteuid() {
			t.Errorf("%s: %+v, %v", to[0], who, err)
		}
		if err := (Config{}).mayPublish(conn); err != nil {
			t.Error(err)
		}
	}
	gone := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	if who, err := ownerOf(gone, gone); !errors.Is(err, errUntold) {
		t.Errorf("a connection that is not there: %+v, %v", who, err)
	}
}

// dialVar tells a child of the test where to connect to; it then waits.
const dialVar = "INGEST_TEST_DIAL"

func TestMain(m *testing.M) {
	if address := os.Getenv(dialVar); address != "" {
		if _, err := net.Dial("tcp", address); err != nil {
			panic(err)
		}
		select {}
	}
	// The tests wait most of the time, so more of them than processors may run at once.
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// connectFrom is connect with a client in another process.
func connectFrom(t *testing.T, attr *syscall.SysProcAttr) net.Conn {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	self, err := os.Open("/proc/self/exe") // another user may not read where it lies
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", 3))
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir = "/"
	cmd.Env = []string{dialVar + "=" + ln.Addr().String()}
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestAnotherUserMayNotPublish(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	conn := connectFrom(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	err := (Config{}).mayPublish(conn)
	if err == nil || !strings.Contains(err.Error(), "runs as user 65534") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyTheAppsCgroupMayPublish(t *testing.T) {
	t.Parallel()
	slot := newCgroup(t)
	inner := filepath.Join(slot, "encoder")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(inner) })
	c := Config{Cgroup: slot}
	for dir, want := range map[string]string{slot: "", inner: "", filepath.Dir(slot): "outside of the app's cgroup"} {
		fd, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		conn := connectFrom(t, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd())})
		fd.Close()
		if who, err := ownerOf(conn.RemoteAddr(), conn.LocalAddr()); err != nil || who.cgroup == 0 {
			t.Skipf("this kernel tells no cgroup: %+v, %v", who, err)
		}
		err = c.mayPublish(conn)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("from %s: %v", dir, err)
		}
	}
}

// newCgroup makes a cgroup of version 2 for the test.
func newCgroup(t *testing.T) string {
	t.Helper()
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if unix.Statfs(mount, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		dir, err := os.MkdirTemp(mount, "ingest-test")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(dir) })
		return dir
	}
	t.Skip("no cgroups of version 2 that may be written to")
	return ""
}

func FuzzOwner(f *testing.F) {
	f.Add([]byte{20, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff})
	f.Add(append([]byte{108, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 92)...))
	f.Fuzz(func(t *testing.T, msg []byte) { _, _ = readOwner(msg) })
}
