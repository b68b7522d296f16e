package supervise_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/agent/supervise"
)

// The clients that apps are likely to use, each a real one.

// cClient is what sd-daemon.c does, without its library.
const cClient = `
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(void) {
	const char *e = getenv("NOTIFY_SOCKET"), *pid = getenv("LISTEN_PID");
	const char text[] = "READY=1\nSTATUS=from C\nMAINPID=1\nERRNO=12\nX_UNKNOWN=1\nEXTEND_TIMEOUT_USEC=5000000";
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (!e || !pid || atoi(pid) != getpid() || strlen(e) >= sizeof a.sun_path) return 1;
	memcpy(a.sun_path, e, strlen(e));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sendto(fd, text, sizeof text - 1, MSG_NOSIGNAL, (struct sockaddr *)&a, sizeof a) < 0) { perror("sendto"); return 2; }
	for (;;) pause();
}
`

// pythonClient is the usual one, with an abstract address in mind and a barrier.
const pythonClient = `
import array, os, socket, signal
path = os.environ["NOTIFY_SOCKET"]
if path[0] == "@": path = "\0" + path[1:]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(path)
assert int(os.environ["WATCHDOG_PID"]) == os.getpid()
s.sendall(b"READY=1\nSTATUS=from Python\nWATCHDOG_USEC=" + os.environ["WATCHDOG_USEC"].encode())
s.sendall(b"WATCHDOG=trigger")
s.sendall(b"")
s.sendall(b"\xff\xfe=\n=\n\n===")
r, w = os.pipe()
s.sendmsg([b"BARRIER=1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [w]))])
os.close(w); os.read(r, 1)
print("heard", flush=True)
signal.pause()
`

func TestRealClientsAreHeard(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "client")
	cmd := exec.Command("gcc", "-x", "c", "-Wall", "-Werror", "-o", program, "-")
	cmd.Stdin = strings.NewReader(cClient)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	for name, test := range map[string]struct {
		path string
		args []string
		want supervise.Notification
	}{
		"systemd-notify": {
			"/bin/sh", []string{"-c", "systemd-notify --ready --status='from systemd' && systemd-notify WATCHDOG=1 && systemd-notify STOPPING=1; exec sleep 1000"},
			supervise.Notification{Ready: true, Status: "from systemd", Watchdog: true, Stopping: true},
		},
		"c": {program, nil, supervise.Notification{Ready: true, Status: "from C", MainPID: true, Errno: 12, Extend: 5 * time.Second}},
		"python": {
			"python3", []string{"-c", pythonClient},
			supervise.Notification{Ready: true, Status: "from Python", Period: time.Second, Hung: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(test.path)
			if err != nil {
				t.Fatal(err)
			}
			s := newSupervisor(t, t.TempDir())
			spec := withSocket(t, supervise.Spec{Name: "app", Path: path, Args: test.args, Env: []string{"PATH=" + os.Getenv("PATH"), "WATCHDOG_USEC=1000000"}})
			spec.Listen = []supervise.Named{{Name: "null", File: open(t, os.DevNull)}}
			spec.Confine = &supervise.Confinement{WhyNoUser: "it is a test", Write: []string{dir}}
			p := start(t, s, spec)
			var got supervise.Notification
			deadline := time.After(patience)
			for !covers(got, test.want) {
				select {
				case n := <-p.Notifications():
					got = supervise.Merge(got, n)
				case <-deadline:
					t.Fatalf("heard %+v, want %+v; it said %q", got, test.want, p.LogTail(9))
				}
			}
			if name == "python" {
				printed(t, p, "heard")
			}
		})
	}
}

// covers leaves aside MAINPID, which some of them say unasked.
func covers(got, want supervise.Notification) bool {
	got.MainPID = want.MainPID
	return got == want
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// A process that is told to end may ask for more time, up to a limit.
func TestStoppingTakesAsLongAsAllowed(t *testing.T) {
	s := newSupervisor(t, t.TempDir())
	const script = `trap 'systemd-notify EXTEND_TIMEOUT_USEC=60000000; echo asked; sleep 0.5; echo done; exit 7' TERM
echo armed; while :; do sleep 0.05; done`
	for _, test := range []struct {
		limit time.Duration
		want  supervise.Exit
	}{{time.Minute, supervise.Exit{Known: true, Code: 7}}, {300 * time.Millisecond, supervise.Exit{Known: true, Signal: 9}}} {
		spec := withSocket(t, shell("app", script))
		spec.Env = []string{"PATH=" + os.Getenv("PATH")}
		p := start(t, s, spec)
		printed(t, p, "armed")
		p.StopWithin(300*time.Millisecond, test.limit)
		if got := waitDone(t, p); got != test.want {
			t.Errorf("limit %v: %v, said %q", test.limit, got, p.LogTail(5))
		}
	}
}
