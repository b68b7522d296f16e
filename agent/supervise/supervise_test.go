package supervise_test

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/supervise"
)

// patience bounds every wait of these tests; none needs nearly as much.
const patience = time.Minute

// init runs on the first thread of the process; one helper ends that alone.
func init() {
	if os.Getenv("SUPERVISE_TEST_ROLE") == "headless" {
		unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	}
}

// TestMain lets the test binary be the programs that the tests start.
func TestMain(m *testing.M) {
	supervise.Launch()
	if role, ok := helpers[os.Getenv("SUPERVISE_TEST_ROLE")]; ok {
		role(os.Args[1:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var helpers = map[string]func(args []string){
	"agent": agentHelper,
	"place": placeHelper,
	"stubborn": func([]string) {
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("deaf")
		hang()
	},
	"notify": func(args []string) {
		for _, text := range args {
			if err := notify(text); err != nil {
				fmt.Println(err)
			}
		}
		hang()
	},
	"flood": func([]string) {
		for range 20_000 {
			notify("WATCHDOG=1")
		}
		notify("STATUS=dry")
		hang()
	},
	"barrier": func([]string) {
		r, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		conn, err := dialNotify().File()
		if err != nil {
			panic(err)
		}
		if err := unix.Sendmsg(int(conn.Fd()), []byte("BARRIER=1"), unix.UnixRights(int(w.Fd())), nil, 0); err != nil {
			panic(err)
		}
		w.Close()
		r.Read(make([]byte, 1)) // ends when the other side has closed its copy
		fmt.Println("through")
		hang()
	},
	"progress": func(args []string) {
		for _, text := range args {
			os.Stdout.WriteString(text)
		}
		fmt.Println("\ncomplete")
	},
	"nameless": func([]string) {
		unix.Setpgid(0, 0)
		fmt.Println("nameless", os.Getpid())
		syscall.Exec("/bin/sleep", []string{"sleep", "1000"}, nil)
	},
	"chatter": func([]string) {
		line := strings.Repeat("x", 99) + "\n"
		for range 3 * supervise.MaxLog / len(line) {
			os.Stdout.WriteString(line)
		}
		fmt.Println("last words")
		hang()
	},
}

// hang waits for a signal.
func hang() {
	for {
		unix.Pause()
	}
}

func dialNotify() *net.UnixConn {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"})
	if err != nil {
		panic(err)
	}
	return conn
}

func notify(text string) error {
	conn := dialNotify()
	defer conn.Close()
	_, err := conn.Write([]byte(text))
	return err
}

// agentHelper is an agent that starts a process and dies at once.
func agentHelper(args []string) {
	s := supervise.New(args[0], slog.New(slog.DiscardHandler))
	spec := supervise.Spec{Name: "app", Path: "/bin/sh", Args: []string{"-c", args[1]}, Env: []string{"PATH=" + os.Getenv("PATH")}}
	if len(args) > 2 {
		spec.NotifySocket = args[2]
		spec.Path, spec.Args, spec.Env = os.Args[0], []string{"READY=1"}, []string{"SUPERVISE_TEST_ROLE=notify"}
	}
	p, err := s.Start(spec)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if p.Notifications() != nil {
		<-p.Notifications()
	}
	fmt.Println(p.PID())
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newSupervisor(t *testing.T, run string) *supervise.Supervisor {
	t.Helper()
	s := supervise.New(run, slog.New(slog.NewTextHandler(t.Output(), nil)))
	t.Cleanup(s.Close)
	return s
}

func start(t *testing.T, s *supervise.Supervisor, spec supervise.Spec) *supervise.Process {
	t.Helper()
	p, err := s.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func shell(name, script string) supervise.Spec {
	return supervise.Spec{Name: name, Path: "/bin/sh", Args: []string{"-c", script}}
}

func helper(name, role string, args ...string) supervise.Spec {
	return supervise.Spec{Name: name, Path: os.Args[0], Args: args, Env: append(os.Environ(), "SUPERVISE_TEST_ROLE="+role)}
}

func waitDone(t *testing.T, p *supervise.Process) supervise.Exit {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatal("the process did not end")
	}
	return p.Exit()
}

// eventually polls, because the kernel tells of some things by /proc only.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// alive is false for zombies, which nobody reaps when they are not ours.
func alive(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	state := raw[strings.LastIndexByte(string(raw), ')')+2]
	return state != 'Z' && state != 'X'
}

// printed waits for a line of the log and returns what follows the prefix.
func printed(t *testing.T, p *supervise.Process, prefix string) string {
	t.Helper()
	var found string
	eventually(t, "line "+prefix, func() bool {
		for _, line := range p.LogTail(100) {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				found = rest
				return true
			}
		}
		return false
	})
	return found
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestExitStatus(t *testing.T) {
	tests := []struct {
		name string
		spec supervise.Spec
		want supervise.Exit
	}{
		{"success", shell("p", "true"), supervise.Exit{Known: true}},
		{"a code", shell("p", "exit 7"), supervise.Exit{Known: true, Code: 7}},
		{"a signal", shell("p", "kill -KILL $$"), supervise.Exit{Known: true, Signal: syscall.SIGKILL}},
		{"a crash", shell("p", "kill -SEGV $$"), supervise.Exit{Known: true, Signal: syscall.SIGSEGV}},
	}
	s := newSupervisor(t, t.TempDir())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, s, tt.spec)
			if got := waitDone(t, p); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			p.Kill() // waits until the name is free
		})
	}
}

func TestWhatAProcessIsGiven(t *testing.T) {
	run := t.TempDir()
	s := newSupervisor(t, run)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spec := shell("app", `echo "args $0 $1"; echo "here $(pwd)"; echo "var $VAR"; echo "socket $NOTIFY_SOCKET"; echo "home $HOME."
		echo "stat $(cat /proc/self/stat)"; grep -i core /proc/self/limits; echo to-fd >&3; echo err >&2; cat; echo eof`)
	spec.Args = append(spec.Args, "zero", "one")
	spec.Env = []string{"VAR=first", "VAR=value", "PATH=" + os.Getenv("PATH")}
	spec.Dir = run
	spec.Files = []*os.File{w}
	spec.NotifySocket = filepath.Join(run, "notify", "app.sock")
	p := start(t, s, spec)
	w.Close()
	waitDone(t, p)
	out := strings.Join(p.LogTail(100), "\n")
	for _, want := range []string{"args zero one", "here " + run, "var value", "socket " + spec.NotifySocket, "home .", "err", "eof"} {
		if !strings.Contains(out+"\n", want+"\n") {
			t.Errorf("no line %q in:\n%s", want, out)
		}
	}
	for line := range strings.SplitSeq(out, "\n") {
		if f := strings.Fields(line); len(f) > 6 && f[0] == "stat" && f[6] != strconv.Itoa(p.PID()) {
			t.Errorf("the session is %s, want %d", f[6], p.PID())
		}
		if strings.HasPrefix(line, "Max core") && strings.Fields(line)[4] != "1" {
			t.Errorf("core dumps are on: %s", line)
		}
	}
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || line != "to-fd\n" {
		t.Errorf("descriptor 3: %q, %v", line, err)
	}
}

func TestCoreLimitIsHardAndNotOurs(t *testing.T) {
	var before, after, child unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_CORE, &before)
	p := start(t, newSupervisor(t, t.TempDir()), shell("app", "exec sleep 1000"))
	unix.Getrlimit(unix.RLIMIT_CORE, &after)
	if err := unix.Prlimit(p.PID(), unix.RLIMIT_CORE, nil, &child); err != nil || child.Cur != 1 || child.Max != 1 {
		t.Errorf("limit of the child %v, %v", child, err)
	}
	if before != after {
		t.Errorf("limit %v, before %v", after, before)
	}
}

func TestStartRefuses(t *testing.T) {
	s := newSupervisor(t, t.TempDir())
	start(t, s, shell("taken", "exec sleep 1000"))
	tests := []struct {
		name string
		spec supervise.Spec
		want string
	}{
		{"no name", shell("", "true"), "name"},
		{"a name that is a path", shell("../x", "true"), "name"},
		{"a hidden name", shell(".x", "true"), "name"},
		{"a name too long", shell(strings.Repeat("x", 65), "true"), "name"},
		{"a name in use", shell("taken", "true"), "already"},
		{"no such program", supervise.Spec{Name: "x", Path: "/nowhere"}, "/nowhere"},
		{"no such directory", supervise.Spec{Name: "x", Path: "/bin/sh", Dir: "/nowhere"}, "exec"},
		{"a socket path too long", supervise.Spec{Name: "x", Path: "/bin/sh", NotifySocket: "/" + strings.Repeat("x", 107)}, "longer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := s.Start(tt.spec); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want something about %q", err, tt.want)
			}
		})
	}
	if got := s.Recorded(); len(got) != 1 || got[0] != "taken" {
		t.Errorf("records left: %v", got)
	}
}

func TestStop(t *testing.T) {
	t.Run("asks first", func(t *testing.T) {
		p := start(t, newSupervisor(t, t.TempDir()), shell("app", `trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done`))
		printed(t, p, "ready")
		p.Stop(patience)
		if got := p.Exit(); got.Code != 3 || !got.Known {
			t.Errorf("exit %v", got)
		}
		printed(t, p, "bye")
	})
	t.Run("kills then", func(t *testing.T) {
		p := start(t, newSupervisor(t, t.TempDir()), helper("app", "stubborn"))
		printed(t, p, "deaf")
		p.Stop(10 * time.Millisecond)
		if got := p.Exit(); got.Signal != syscall.SIGKILL {
			t.Errorf("exit %v", got)
		}
	})
	t.Run("wakes a stopped one", func(t *testing.T) {
		p := start(t, newSupervisor(t, t.TempDir()), shell("app", `trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done`))
		printed(t, p, "ready")
		unix.Kill(p.PID(), unix.SIGSTOP)
		p.Stop(patience)
		if got := p.Exit(); got.Code != 3 {
			t.Errorf("exit %v", got)
		}
	})
}

// family is a script that leaves a child in its group, one in a session of its
// own, and one that hides from its parent as well.
const family = `sleep 1000 & echo "child $!"
setsid sleep 1000 & echo "session $!"
( setsid sh -c 'sleep 1000 & echo "hidden $!"' )
echo complete; `

// nameless leaves one more that is in a group of its own and has no token. What
// is left to know it by is the session.
var nameless = "SUPERVISE_TEST_ROLE=nameless " + os.Args[0] + " & \n"

func familyOf(t *testing.T, p *supervise.Process) map[string]int {
	t.Helper()
	printed(t, p, "complete")
	pids := map[string]int{}
	for _, who := range []string{"child", "session", "hidden"} {
		pids[who] = number(t, printed(t, p, who+" "))
	}
	return pids
}

func expectGone(t *testing.T, pids map[string]int) {
	t.Helper()
	for who, pid := range pids {
		eventually(t, who+" is gone", func() bool { return !alive(pid) })
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	t.Run("when it is stopped", func(t *testing.T) {
		p := start(t, newSupervisor(t, t.TempDir()), shell("app", nameless+family+"wait"))
		pids := familyOf(t, p)
		pids["nameless"] = number(t, printed(t, p, "nameless "))
		eventually(t, "it has become nameless", func() bool {
			env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pids["nameless"]))
			return err == nil && len(env) == 0
		})
		p.Stop(time.Millisecond)
		for who, pid := range pids {
			if alive(pid) {
				t.Errorf("%s lives after Stop", who)
			}
		}
	})
	t.Run("when it ends", func(t *testing.T) {
		p := start(t, newSupervisor(t, t.TempDir()), shell("app", family+"exit 1"))
		expectGone(t, familyOf(t, p))
	})
}

// TestOldKernelsGroups uses the way of kernels before 6.9.
func TestOldKernelsGroups(t *testing.T) {
	p := start(t, newSupervisor(t, t.TempDir()), shell("app", "sleep 1000 & echo child $!; wait"))
	child := number(t, printed(t, p, "child "))
	supervise.SignalByNumber(p, unix.SIGKILL)
	if got := waitDone(t, p); got.Signal != unix.SIGKILL {
		t.Errorf("exit %v", got)
	}
	eventually(t, "child is gone", func() bool { return !alive(child) })
	p.Kill()
	supervise.SignalByNumber(p, unix.SIGKILL) // reaped: must not send anything
}

// orphan starts a process by an agent that dies at once and returns its number.
func orphan(t *testing.T, run string, args ...string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{run}, args...)...)
	cmd.Env = append(os.Environ(), "SUPERVISE_TEST_ROLE=agent")
	out, err := cmd.Output()
	if cmd.ProcessState == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the first agent: %v, %s", err, out)
	}
	pid := number(t, string(out))
	t.Cleanup(func() { unix.Kill(pid, unix.SIGKILL) })
	return pid
}

func TestAdoption(t *testing.T) {
	run := t.TempDir()
	pid := orphan(t, run, `echo first; while [ ! -e `+run+`/go ]; do sleep 0.01; done; echo second; exec sleep 1000`)
	if !alive(pid) {
		t.Fatal("the process died with its agent")
	}
	s := newSupervisor(t, run)
	if got := s.Recorded(); len(got) != 1 || got[0] != "app" {
		t.Fatalf("records %v", got)
	}
	if _, err := s.Start(shell("app", "true")); err == nil {
		t.Fatal("started beside one that lives")
	}
	p, ok := s.Adopt("app")
	if !ok {
		t.Fatal("not adopted")
	}
	if p.PID() != pid || time.Since(p.Started()) > patience || p.Started().IsZero() {
		t.Errorf("pid %d, started %v, want %d", p.PID(), p.Started(), pid)
	}
	if _, again := s.Adopt("app"); again {
		t.Error("adopted twice")
	}
	printed(t, p, "first")
	if err := os.WriteFile(run+"/go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	printed(t, p, "second")
	unix.Kill(pid, unix.SIGKILL)
	if got := waitDone(t, p); got.Known {
		t.Errorf("exit %v of a process that is not our child", got)
	}
	p.Kill()
	if got := s.Recorded(); len(got) != 0 {
		t.Errorf("records %v after its end", got)
	}
}

func TestAdoptedProcessIsStoppedWithItsFamily(t *testing.T) {
	run := t.TempDir()
	pid := orphan(t, run, family+"exec sleep 1000")
	p, ok := newSupervisor(t, run).Adopt("app")
	if !ok {
		t.Fatal("not adopted")
	}
	pids := familyOf(t, p)
	pids["main"] = pid
	p.Stop(time.Millisecond)
	expectGone(t, pids)
}

// TestFamilyOfADeadMain: main process ended while no agent watched.
func TestFamilyOfADeadMain(t *testing.T) {
	run := t.TempDir()
	pid := orphan(t, run, family+"while [ ! -e "+run+"/go ]; do sleep 0.01; done")
	log := readLog(t, filepath.Join(run, "log", "app.log"), "complete")
	if err := os.WriteFile(run+"/go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the main process ends", func() bool { return !alive(pid) })
	s := newSupervisor(t, run)
	if _, ok := s.Adopt("app"); ok {
		t.Fatal("adopted a dead process")
	}
	for _, line := range log {
		who, n, _ := strings.Cut(line, " ")
		if pid, err := strconv.Atoi(n); err == nil && alive(pid) {
			t.Errorf("%s still lives", who)
		}
	}
	if got := s.Recorded(); len(got) != 0 {
		t.Errorf("records left: %v", got)
	}
}

func readLog(t *testing.T, name, until string) []string {
	t.Helper()
	var lines []string
	eventually(t, until, func() bool {
		raw, _ := os.ReadFile(name)
		lines = strings.Split(strings.TrimSpace(string(raw)), "\n")
		return strings.Contains(string(raw), until)
	})
	return lines
}

// TestStrangersAreNotAdoptedNorKilled puts records in place that name a process
// which is not the one recorded.
func TestStrangersAreNotAdoptedNorKilled(t *testing.T) {
	stranger := exec.Command("sleep", "1000")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stranger.Process.Kill(); stranger.Wait() }()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	good := fmt.Sprintf(`{"format":1,"name":"app","pid":%d,"start":%d,"bootId":"%s","token":"app/x"}`,
		stranger.Process.Pid, supervise.StartTime(stranger.Process.Pid), strings.TrimSpace(string(boot)))
	tests := []struct{ name, record string }{
		{"another start time", strings.Replace(good, `"start":`, `"start":1`, 1)},
		{"another boot", strings.Replace(good, `"bootId":"`, `"bootId":"x`, 1)},
		{"another name", strings.Replace(good, `"app"`, `"bpp"`, 1)},
		{"another format", strings.Replace(good, `"format":1`, `"format":2`, 1)},
		{"no token", strings.Replace(good, `"app/x"`, `""`, 1)},
		{"no number", strings.Replace(good, `"pid":`, `"pid":0, "was":`, 1)},
		{"a torn record", good[:len(good)/2]},
		{"an empty record", ""},
		{"an endless record", strings.Repeat(" ", 1<<20) + good},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run := t.TempDir()
			if err := os.MkdirAll(run+"/proc", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(run+"/proc/app.json", []byte(tt.record), 0o644); err != nil {
				t.Fatal(err)
			}
			s := newSupervisor(t, run)
			if _, ok := s.Adopt("app"); ok {
				t.Error("adopted")
			}
			if !alive(stranger.Process.Pid) {
				t.Fatal("a stranger was killed")
			}
			p := start(t, s, shell("app", "exit 5"))
			if got := waitDone(t, p); got.Code != 5 {
				t.Errorf("exit %v", got)
			}
		})
	}
}

func TestCloseLeavesProcessesAlone(t *testing.T) {
	run := t.TempDir()
	s := newSupervisor(t, run)
	spec := helper("app", "notify", "READY=1")
	spec.NotifySocket = filepath.Join(run, "n.sock")
	first := start(t, s, spec)
	if n := next(t, first); !n.Ready {
		t.Fatalf("got %+v", n)
	}
	s.Close()
	if _, open := <-first.Notifications(); open {
		t.Error("notifications go on after Close")
	}
	if !alive(first.PID()) {
		t.Fatal("Close ended the process")
	}
	if _, err := s.Start(shell("b", "true")); err == nil {
		t.Error("a closed supervisor starts")
	}
	p, ok := newSupervisor(t, run).Adopt("app")
	if !ok {
		t.Fatal("not adopted")
	}
	if n := next(t, p); !n.Ready {
		t.Errorf("ready is forgotten: %+v", n)
	}
	p.Kill()
	if got := p.Exit(); got.Signal != syscall.SIGKILL {
		t.Errorf("exit %v: it is still our child", got)
	}
}

func TestTheLogIsBounded(t *testing.T) {
	run := t.TempDir()
	p := start(t, newSupervisor(t, run), helper("app", "chatter"))
	printed(t, p, "last words")
	name := filepath.Join(run, "log", "app.log")
	eventually(t, "the log is cut", func() bool {
		info, err := os.Stat(name)
		old, errOld := os.Stat(name + ".1")
		return err == nil && errOld == nil && info.Size() <= supervise.MaxLog && old.Size() <= supervise.MaxLog
	})
	tail := p.LogTail(2)
	if len(tail) != 2 || tail[1] != "last words" {
		t.Errorf("tail %q", tail)
	}
}
