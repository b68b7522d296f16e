// Package etcdtest starts a real etcd of three members for tests, kills them and cuts them off.
package etcdtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/adminpanel/store/etcd"
)

// Cluster is three members of a real etcd, each in a network namespace of its own on one
// wire. Clients reach every member by its own loopback, also when its wire is cut:
// the worst that a partition can be.
type Cluster struct {
	tb      testing.TB
	members []*member
}

type member struct {
	name, netns, url string // url is for clients, on the test's own loopback
	dir              string
	process          *exec.Cmd
	ended            chan struct{}
}

const memberCount = 3

// clusters of this process so far: each has namespaces of its own.
var clusters atomic.Int64

// New starts the cluster, which ends with the test. It needs root, for the namespaces.
func New(t testing.TB) *Cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	c := &Cluster{tb: t}
	prefix := fmt.Sprintf("slip%d-%d-", os.Getpid(), clusters.Add(1))
	wire := prefix + "wire"
	c.run("ip", "netns", "add", wire)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", wire).Run() }) //nolint:errcheck // it may be gone
	c.run("ip", "-n", wire, "link", "add", "br0", "type", "bridge")
	c.run("ip", "-n", wire, "link", "set", "br0", "up")
	for i := range memberCount {
		m := &member{name: fmt.Sprint("m", i), netns: fmt.Sprint(prefix, "m", i), dir: filepath.Join(t.TempDir(), "data")}
		c.members = append(c.members, m)
		c.run("ip", "netns", "add", m.netns)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", m.netns).Run() }) //nolint:errcheck // likewise
		c.run("ip", "link", "add", "eth0", "netns", m.netns, "type", "veth", "peer", "name", m.name, "netns", wire)
		c.run("ip", "-n", wire, "link", "set", m.name, "master", "br0", "up")
		c.run("ip", "-n", m.netns, "addr", "add", fmt.Sprintf("10.99.0.%d/24", i+1), "dev", "eth0")
		c.run("ip", "-n", m.netns, "link", "set", "lo", "up")
		c.run("ip", "-n", m.netns, "link", "set", "eth0", "up")
		m.url = c.forward(m)
	}
	for i := range c.members {
		c.Start(i)
	}
	return c
}

func (c *Cluster) run(command string, args ...string) {
	c.tb.Helper()
	if out, err := exec.Command(command, args...).CombinedOutput(); err != nil {
		c.tb.Fatalf("%s %s: %v: %s", command, strings.Join(args, " "), err, out)
	}
}

// Start starts a member that was killed.
func (c *Cluster) Start(i int) {
	m := c.members[i]
	var peers []string
	for i, m := range c.members {
		peers = append(peers, fmt.Sprintf("%s=http://10.99.0.%d:2380", m.name, i+1))
	}
	own := fmt.Sprintf("http://10.99.0.%d:2380", i+1)
	m.process = exec.Command("ip", "netns", "exec", m.netns, "etcd", "--name", m.name, "--data-dir", m.dir, //nolint:gosec // our own arguments
		"--listen-peer-urls", own, "--initial-advertise-peer-urls", own, "--initial-cluster", strings.Join(peers, ","),
		"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
		"--heartbeat-interval", "100", "--election-timeout", "1000", "--log-level", "error")
	m.process.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	m.ended = make(chan struct{})
	started := make(chan error)
	go func() {
		// The member ends with the thread that it was started by: one of dialIn's is
		// thrown away soon.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(m.ended)
		err := m.process.Start()
		started <- err
		if err == nil {
			m.process.Wait() //nolint:errcheck // it is killed
		}
	}()
	if err := <-started; err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(func() { c.Kill(i) })
}

// Kill ends a member as a power cut would.
func (c *Cluster) Kill(i int) {
	m := c.members[i]
	m.process.Process.Kill() //nolint:errcheck // it may have ended
	<-m.ended
}

// Cut takes a member from the wire.
func (c *Cluster) Cut(i int) { c.run("ip", "-n", c.members[i].netns, "link", "set", "eth0", "down") }

// Mend puts it back.
func (c *Cluster) Mend(i int) { c.run("ip", "-n", c.members[i].netns, "link", "set", "eth0", "up") }

// forward makes an address on the test's loopback that leads to the member's.
func (c *Cluster) forward(m *member) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(func() { l.Close() }) //nolint:errcheck // that ends it
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go pipe(in, m.netns)
		}
	}()
	return l.Addr().String()
}

func pipe(in net.Conn, netns string) {
	defer in.Close()
	out, err := dialIn(netns, "127.0.0.1:2379")
	if err != nil {
		return
	}
	defer out.Close()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			io.Copy(way[0], way[1]) //nolint:errcheck // the end of either is the end
			way[0].Close()
			way[1].Close()
		})
	}
	both.Wait()
}

// dialIn dials from within a network namespace, on a thread that is thrown away.
func dialIn(netns, address string) (net.Conn, error) {
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		fd, err := unix.Open("/run/netns/"+netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd) //nolint:errcheck // only read
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		c, err := (&net.Dialer{Timeout: time.Second}).Dial("tcp", address)
		done <- result{c, err}
	}()
	r := <-done
	return r.c, r.err
}

// Endpoints are the members' addresses.
func (c *Cluster) Endpoints() (list []string) {
	for _, m := range c.members {
		list = append(list, "http://"+m.url)
	}
	return list
}

// Open opens a store by way of some of the members.
func (c *Cluster) Open(t testing.TB, prefix string, members ...int) *etcd.Store {
	t.Helper()
	cfg := etcd.Config{Prefix: prefix}
	for _, i := range members {
		cfg.Endpoints = append(cfg.Endpoints, c.members[i].url)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		s, err := etcd.Open(ctx, cfg)
		if err == nil {
			t.Cleanup(func() { s.Close() }) //nolint:errcheck // some tests close it themselves
			return s
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
