package supervise_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/agent/supervise"
)

// someone is a user that nothing belongs to.
var someone = supervise.User{UID: 54321, GID: 54322, Groups: []int{54323}}

// place is a device's directories.
type place struct{ dir, root, data, other, secret string }

func newPlace(t *testing.T) place {
	dir := t.TempDir()
	p := place{dir, filepath.Join(dir, "slots", "a"), filepath.Join(dir, "data", "a"), filepath.Join(dir, "slots", "b"), filepath.Join(dir, "secret")}
	for _, d := range []string{p.root, p.data, p.other} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, open := range []string{filepath.Dir(dir), dir, p.root, p.data, p.other} {
		if err := os.Chmod(open, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{p.secret, filepath.Join(p.root, "film"), filepath.Join(p.other, "film"), filepath.Join(p.data, "film")} {
		if err := os.WriteFile(f, []byte("content\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p place) confinement() *supervise.Confinement {
	return &supervise.Confinement{
		WhyNoUser: "nobody asked for one", Root: p.root, Private: []string{p.dir}, Hidden: []string{p.dir},
		Write: []string{p.data}, Devices: []string{"/dev/loop-contr*"}, Umask: 0o027,
	}
}

// on says which protections hold after a start.
func on(s *supervise.Supervisor) (names []string) {
	for _, p := range s.Protections() {
		if p.On {
			names = append(names, p.Name)
		}
	}
	return names
}

// needs skips a test of what this machine cannot do.
func needs(t *testing.T, s *supervise.Supervisor, c *supervise.Confinement, name string) {
	t.Helper()
	if err := s.Try(*c); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(on(s), name) {
		t.Skipf("%s is off here: %+v", name, s.Protections())
	}
}

// The program runs under the number of the launcher, with what it was given.
func TestALauncherBecomesTheProgram(t *testing.T) {
	s := newSupervisor(t, t.TempDir())
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	file, err := listener.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const script = `echo "I am $$, told $LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES and $WATCHDOG_PID, $0 $(umask)"
for fd in 0 3 4 5 6 7 8 9; do echo "fd $fd"; readlink /proc/$$/fd/$fd; done; echo complete; exec sleep 1000`
	spec := shell("app", script)
	spec.Env = append(spec.Env, "PATH="+os.Getenv("PATH"), "WATCHDOG_USEC=1000000")
	spec.Listen = []supervise.Named{{Name: "web", File: file}}
	spec.Confine = newPlace(t).confinement()
	p := start(t, s, spec)
	printed(t, p, "complete")
	pid := strconv.Itoa(p.PID())
	said := p.LogTail(99)
	want := []string{
		"I am " + pid + ", told " + pid + " 1 web and " + pid + ", /bin/sh 0027", "fd 0", "/dev/null", "fd 3", "",
		"fd 4", "fd 5", "fd 6", "fd 7", "fd 8", "fd 9", "complete",
	}
	if len(said) == len(want) && strings.HasPrefix(said[4], "socket:") {
		want[4] = said[4]
	}
	if !slices.Equal(said, want) {
		t.Errorf("said %q\nwant %q", said, want)
	}
	if !slices.Contains(on(s), supervise.ProtectPrivileges) {
		t.Errorf("protections: %+v", s.Protections())
	}
}

func TestAProgramThatCannotBeExecuted(t *testing.T) {
	s := newSupervisor(t, t.TempDir())
	place := newPlace(t)
	for path, want := range map[string]string{
		filepath.Join(place.root, "none"): "no such file", filepath.Join(place.root, "film"): "permission denied",
	} {
		_, err := s.Start(supervise.Spec{Name: "app", Path: path, Confine: place.confinement()})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if names := s.Recorded(); len(names) > 0 {
		t.Errorf("records of what never ran: %q", names)
	}
}

// expectAbilities runs a confined script that tries lines of shell.
func expectAbilities(t *testing.T, s *supervise.Supervisor, c *supervise.Confinement, can, cannot []string) {
	t.Helper()
	var script strings.Builder
	lines := append(slices.Clone(can), cannot...)
	for i, line := range lines {
		fmt.Fprintf(&script, "if (%s) >/dev/null 2>&1; then echo can %d; else echo cannot %d; fi\n", line, i, i)
	}
	spec := shell("app", script.String()+"echo complete; exec sleep 1000")
	spec.Env = append(spec.Env, "PATH="+os.Getenv("PATH"))
	spec.Confine = c
	p := start(t, s, spec)
	printed(t, p, "complete")
	said := p.LogTail(99)
	for i, line := range lines {
		if i < len(can) && !slices.Contains(said, fmt.Sprint("can ", i)) {
			t.Errorf("it cannot %s", line)
		} else if i >= len(can) && !slices.Contains(said, fmt.Sprint("cannot ", i)) {
			t.Errorf("it can %s", line)
		}
	}
	p.Kill()
}

func TestLandlock(t *testing.T) {
	s, p := newSupervisor(t, t.TempDir()), newPlace(t)
	needs(t, s, p.confinement(), supervise.ProtectLandlock)
	victim := start(t, s, shell("victim", "exec sleep 1000"))
	c := p.confinement()
	c.Hidden = nil // so that nothing but Landlock is in the way
	can := []string{
		"cat " + p.root + "/film", "cat /etc/passwd", "ls /", "echo x > /dev/null", "head -c1 /dev/zero", ": </dev/loop-control", "echo 500 > /proc/$$/oom_score_adj",
		"mkdir -p " + p.data + "/x/y " + p.data + "/z", "echo 1 > " + p.data + "/x/y/f",
		"mv " + p.data + "/x/y/f " + p.data + "/z/g", "ln -s g " + p.data + "/z/l", "truncate -s0 " + p.data + "/film", "rmdir " + p.data + "/x/y",
		"sleep 10 & kill $!",
	}
	cannot := []string{
		"echo x > " + p.root + "/film", "cat " + p.secret, "cat " + p.other + "/film", "echo x > " + p.dir + "/new", "rm " + p.secret,
		"echo x > " + filepath.Dir(p.dir) + "/new", "mknod " + p.data + "/node c 1 3", ": </dev/kmsg",
		"cp /bin/true " + p.data + "/true && " + p.data + "/true", "truncate -s1 " + p.secret, "mv " + p.data + "/film " + p.dir,
		"kill -0 " + strconv.Itoa(victim.PID()), "cat /proc/" + strconv.Itoa(victim.PID()) + "/environ",
	}
	expectAbilities(t, s, c, can, cannot)
}

func TestMountsOfItsOwn(t *testing.T) {
	s, p := newSupervisor(t, t.TempDir()), newPlace(t)
	inner := filepath.Join(p.other, "mounted")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", inner, "tmpfs", 0, "size=4k"); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(inner, unix.MNT_DETACH) })
	c := p.confinement()
	c.Private = nil // so that Landlock is not in the way
	can := []string{
		`test "$(ls -A ` + p.dir + `)" = "data
slots"`, "test ! -e " + p.other, "cat " + p.root + "/film",
		"echo x > " + p.data + "/new", "! grep -q " + inner + " /proc/self/mountinfo",
	}
	cannot := []string{"echo x > " + p.root + "/film", "echo x > " + p.dir + "/new", "cat " + p.secret}
	needs(t, s, c, supervise.ProtectMounts)
	expectAbilities(t, s, c, can, cannot)
	for _, path := range []string{filepath.Join(p.other, "film"), filepath.Join(p.data, "new")} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("not here: %v", err)
		}
	}
}

func TestAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	s, p := newSupervisor(t, t.TempDir()), newPlace(t)
	if err := os.Chown(p.data, someone.UID, someone.GID); err != nil {
		t.Fatal(err)
	}
	c := p.confinement()
	c.User = &someone
	can := []string{
		`test "$(id -u) $(id -g) $(id -G)" = "54321 54322 54322 54323"`, "echo x > " + p.data + "/new && test $(stat -c %a " + p.data + "/new) = 640",
		"grep -q 'NoNewPrivs:.1' /proc/self/status", "grep -q 'CapBnd:.0000000000000000' /proc/self/status",
		"grep -q 'CapPrm:.0000000000000000' /proc/self/status",
	}
	expectAbilities(t, s, c, can, []string{"cat /etc/shadow", "chgrp 5 " + p.data + "/new"})
	c.User = nil // root without the powers of root
	expectAbilities(t, s, c, can[2:], []string{"chown 1 " + p.root, "mount -t tmpfs none " + p.data})
}

func TestNobodyBecomesRoot(t *testing.T) {
	s, p := newSupervisor(t, t.TempDir()), newPlace(t)
	for _, u := range []supervise.User{{UID: 0, GID: 5}, {UID: 5}, {UID: 5, GID: 5, Groups: []int{0}}} {
		c := p.confinement()
		c.User = &u
		spec := shell("app", "exec sleep 1000")
		spec.Confine = c
		if _, err := s.Start(spec); err == nil || !strings.Contains(err.Error(), "no ordinary user") {
			t.Errorf("%+v: %v", u, err)
		}
	}
}

// What is off is logged once, and told.
func TestWhatIsOffIsTold(t *testing.T) {
	var said bytes.Buffer
	s := supervise.New(t.TempDir(), slog.New(slog.NewTextHandler(&said, nil)))
	t.Cleanup(s.Close)
	for range 2 {
		if err := s.Try(*newPlace(t).confinement()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(said.String(), "nobody asked for one"); n != 1 {
		t.Errorf("said %d times: %s", n, &said)
	}
	list := s.Protections()
	if len(list) != 5 || list[0] != (supervise.Protection{Name: supervise.ProtectUser, Why: "nobody asked for one"}) {
		t.Errorf("protections: %+v", list)
	}
}

// A launcher without an agent becomes nothing.
func TestALauncherWithoutOrdersEnds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	p, err := os.StartProcess(self, []string{"slipstream-launch"}, &os.ProcAttr{Files: []*os.File{null}})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := p.Wait(); err != nil || st.ExitCode() != 126 {
		t.Errorf("%v, %v", st, err)
	}
}

func BenchmarkStart(b *testing.B) {
	s := supervise.New(b.TempDir(), discard())
	defer s.Close()
	for name, confine := range map[string]*supervise.Confinement{
		"plain": nil, "confined": {WhyNoUser: "it is a benchmark", Root: "/usr", Private: []string{"/var/lib"}, Write: []string{"/var/tmp"}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p, err := s.Start(supervise.Spec{Name: "app", Path: "/bin/sleep", Args: []string{"1000"}, Confine: confine})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				p.Kill()
				b.StartTimer()
			}
		})
	}
}

// An image that is mounted elsewhere can be unmounted while a confined process runs.
func TestImagesElsewhereAreNotHeld(t *testing.T) {
	s, p := newSupervisor(t, t.TempDir()), newPlace(t)
	needs(t, s, p.confinement(), supervise.ProtectMounts)
	image, at := filepath.Join(t.TempDir(), "image"), t.TempDir()
	for _, args := range [][]string{{"truncate", "-s", "1M", image}, {"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, at}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no images can be mounted here: %v\n%s", err, out)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	spec := shell("app", "grep -c "+at+" /proc/self/mountinfo; echo complete; exec sleep 1000")
	spec.Env = append(spec.Env, "PATH="+os.Getenv("PATH"))
	spec.Confine = p.confinement()
	app := start(t, s, spec)
	printed(t, app, "complete")
	if said := app.LogTail(9); said[0] != "0" {
		t.Errorf("it holds the image: %q", said)
	}
}
