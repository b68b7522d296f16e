package supervise_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"slipstream/agent/supervise"
)

func next(t *testing.T, p *supervise.Process) supervise.Notification {
	t.Helper()
	select {
	case n, ok := <-p.Notifications():
		if !ok {
			t.Fatal("notifications ended")
		}
		return n
	case <-time.After(patience):
		t.Fatal("no notification came")
	}
	return supervise.Notification{}
}

// collect merges what comes until the status is as wanted.
func collect(t *testing.T, p *supervise.Process, status string) (all supervise.Notification) {
	t.Helper()
	for all.Status != status {
		n := next(t, p)
		all.Ready = all.Ready || n.Ready
		all.Stopping = all.Stopping || n.Stopping
		all.Watchdog = all.Watchdog || n.Watchdog
		if n.Status != "" {
			all.Status = n.Status
		}
	}
	return all
}

func withSocket(t *testing.T, spec supervise.Spec) supervise.Spec {
	spec.NotifySocket = filepath.Join(t.TempDir(), "notify", "n.sock")
	return spec
}

func TestNotificationsArrive(t *testing.T) {
	p := start(t, newSupervisor(t, t.TempDir()), withSocket(t, helper("app", "notify",
		"STATUS=warming up\nX_MORE=1", "READY=1", "WATCHDOG=1\nSTATUS=ok", "junk", strings.Repeat("x", 5000)+"\nSTATUS=too long", "STOPPING=1\nSTATUS=end")))
	got := collect(t, p, "end")
	want := supervise.Notification{Ready: true, Stopping: true, Watchdog: true, Status: "end"}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWordsOfDescendantsCount(t *testing.T) {
	tests := []struct{ name, script string }{
		{"a child", `"$0" STATUS=heard & wait`},
		{"a child in a session of its own", `setsid "$0" STATUS=heard & wait`},
		{"a grandchild that has lost its parent", `( "$0" STATUS=heard & ); exec sleep 1000`},
	}
	s := newSupervisor(t, t.TempDir())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := withSocket(t, shell("app", tt.script))
			spec.Args = append(spec.Args, os.Args[0])
			spec.Env = append(os.Environ(), "SUPERVISE_TEST_ROLE=notify")
			p := start(t, s, spec)
			collect(t, p, "heard")
			p.Kill()
		})
	}
}

func TestWordsOfStrangersDoNotCount(t *testing.T) {
	spec := withSocket(t, shell("app", "exec sleep 1000"))
	p := start(t, newSupervisor(t, t.TempDir()), spec)
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: spec.NotifySocket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("READY=1")); err != nil {
		t.Fatal(err)
	}
	other := exec.Command(os.Args[0], "READY=1")
	other.Env = append(os.Environ(), "SUPERVISE_TEST_ROLE=notify", "NOTIFY_SOCKET="+spec.NotifySocket)
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { other.Process.Kill(); other.Wait() }()
	p.Kill()
	for n := range p.Notifications() {
		t.Errorf("a stranger was heard: %+v", n)
	}
}

// The last words arrive though the process ends right after them.
func TestLastWords(t *testing.T) {
	spec := withSocket(t, helper("app", "notify", "STATUS=no sensor"))
	s := newSupervisor(t, t.TempDir())
	for range 5 {
		p := start(t, s, spec)
		got := next(t, p)
		p.Kill()
		if got.Status != "no sensor" {
			t.Fatalf("got %+v", got)
		}
		if _, open := <-p.Notifications(); open {
			t.Fatal("notifications go on after the end")
		}
		if _, err := os.Stat(spec.NotifySocket); err == nil {
			t.Fatal("the socket is still there")
		}
	}
}

// A flood is taken in while nobody reads, and ends as few notifications.
func TestAFloodIsMerged(t *testing.T) {
	p := start(t, newSupervisor(t, t.TempDir()), withSocket(t, helper("app", "flood")))
	eventually(t, "the flood has been taken in", func() bool {
		select {
		case n := <-p.Notifications():
			return n.Status == "dry"
		default:
			return false
		}
	})
}

func TestBarrier(t *testing.T) {
	p := start(t, newSupervisor(t, t.TempDir()), withSocket(t, helper("app", "barrier")))
	printed(t, p, "through")
}

func TestStatusIsMadePrintable(t *testing.T) {
	tests := []struct{ name, raw, want string }{
		{"control characters", "STATUS=a\x1b[31mb\tc", "a[31mbc"},
		{"broken UTF-8", "STATUS=a\xffb", "ab"},
		{"too long", "STATUS=" + strings.Repeat("x", 1000), strings.Repeat("x", 256)},
		{"cut within a letter", "STATUS=" + strings.Repeat("x", 255) + "é", strings.Repeat("x", 255)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := supervise.ParseNotification([]byte(tt.raw)).Status; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzParseNotification(f *testing.F) {
	f.Add([]byte("READY=1\nSTATUS=fine\nWATCHDOG=1"))
	f.Add([]byte("STATUS=\xff\n=\n\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n := supervise.ParseNotification(raw)
		if len(n.Status) > 256 || !utf8.ValidString(n.Status) || strings.ContainsAny(n.Status, "\x00\n\x1b") {
			t.Errorf("status %q", n.Status)
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("1 (a b) c) S 0 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 5 1 1"))
	f.Add([]byte("1 ("))
	f.Fuzz(func(_ *testing.T, raw []byte) { supervise.ParseStat(raw) })
}
