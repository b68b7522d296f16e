package supervise

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tokenVar is the environment variable that marks a process and all its
// descendants as ours.
const tokenVar = "SLIPSTREAM_PROCESS"

// start makes the process. Its record stands before it does: an agent that dies
// in between leaves a token by which the next one finds the process.
func (s *Supervisor) start(spec Spec) (*Process, error) {
	if spec.FDStore && (len(spec.Files) > 0 || spec.NotifySocket == "") {
		return nil, errors.New("a process with a store needs a notify socket and takes no other files")
	}
	if len(spec.Listen) > 0 && len(spec.Files) > 0 {
		return nil, errors.New("a process is given either files or named sockets")
	}
	if err := s.clearOld(spec.Name); err != nil {
		return nil, err
	}
	out, err := openOutput(s.logPath(spec))
	if err != nil {
		return nil, err
	}
	boot, err := bootID()
	if err != nil {
		out.close()
		return nil, err
	}
	r := record{
		Format: recordFormat, Name: spec.Name, BootID: boot,
		Token: spec.Name + "/" + rand.Text(), Log: out.path, LogFrom: out.from, Notify: spec.NotifySocket, FDStore: spec.FDStore, Started: time.Now(),
	}
	p := s.newProcess(r, out)
	if err := s.launch(p, r, spec); err != nil {
		p.dispose()
		return nil, err
	}
	close(p.known)
	return p, nil
}

func (s *Supervisor) launch(p *Process, r record, spec Spec) error {
	if spec.NotifySocket != "" {
		n, err := listenNotify(spec.NotifySocket, p)
		if err != nil {
			return err
		}
		p.notify = n
	}
	if err := r.write(p.record); err != nil {
		return err
	}
	if !spec.launches() {
		if err := spec.check(); err != nil {
			return err
		}
	}
	launcher, err := p.fork(spec)
	if err != nil {
		return err
	}
	st, err := ReadStat(p.pid)
	if err == nil {
		r.PID, r.Start = p.pid, st.Start
		err = r.write(p.record)
	}
	if err == nil && launcher != nil {
		err = s.order(launcher, p.orderOf(spec), spec.check)
	}
	if err != nil {
		p.killUnrecorded()
		return err
	}
	return nil
}

// launches says whether a launcher comes first, which waits for its order.
func (spec Spec) launches() bool { return spec.Confine != nil && canLaunch }

func (spec Spec) check() error {
	if spec.Check == nil {
		return nil
	}
	return spec.Check()
}

// fork starts the program, or the launcher that becomes it, with a pidfd that the
// clone itself made.
func (p *Process) fork(spec Spec) (launcher *os.File, err error) {
	path, argv, stdin := spec.Path, append([]string{spec.Path}, spec.Args...), (*os.File)(nil)
	if spec.launches() {
		if launcher, stdin, err = connection(); err != nil {
			return nil, err
		}
		path, argv = ourselves, []string{launchName}
	} else if stdin, err = os.Open(os.DevNull); err != nil {
		return nil, err
	}
	defer stdin.Close()
	files := []uintptr{stdin.Fd(), p.output.file.Fd(), p.output.file.Fd()}
	for _, f := range spec.Files {
		files = append(files, f.Fd())
	}
	given := p.given(spec)
	for _, f := range given {
		files = append(files, uintptr(f.fd))
	}
	env := environment(spec, p.token)
	if launcher == nil {
		env = append(env, listenEnv(given)...)
	}
	err = p.clone(spec, path, argv, &syscall.ProcAttr{Dir: spec.Dir, Env: env, Files: files})
	runtime.KeepAlive(spec)
	if err != nil && launcher != nil {
		launcher.Close()
	}
	return launcher, err
}

// given are the descriptors that a process gets with names: sockets first, then what
// it has stored, which stays as it is while no process of this name lives.
func (p *Process) given(spec Spec) (list []stored) {
	for _, l := range spec.Listen {
		list = append(list, stored{l.Name, int(l.File.Fd())})
	}
	if p.stores != nil {
		list = append(list, p.stores.get(p.name)...)
	}
	return list
}

func (p *Process) clone(spec Spec, path string, argv []string, attr *syscall.ProcAttr) error {
	pidfd := -1
	attr.Sys = &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd}
	if g := spec.Group; g != nil && g.clones {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, g.dir
	}
	err := withoutCores(func() (int, error) {
		pid, _, err := syscall.StartProcess(path, argv, attr)
		p.pid = pid
		return pid, err
	})
	if g := spec.Group; err == nil && g != nil && !g.clones {
		err = g.take(p.pid)
	}
	switch {
	case p.pid == 0:
		return &fs.PathError{Op: "exec", Path: path, Err: err}
	case err == nil && pidfd < 0:
		err = errors.New("the kernel gives no pidfds: Linux 5.10 or later is needed")
	}
	if err != nil {
		p.killUnrecorded()
		if pidfd >= 0 {
			unix.Close(pidfd)
		}
		return err
	}
	p.setPidfd(pidfd)
	return nil
}

func environment(spec Spec, token string) []string {
	env := spec.Env
	if env == nil {
		env = Environ()
	}
	env = append(slices.Clone(env), tokenVar+"="+token)
	if spec.NotifySocket != "" {
		env = append(env, "NOTIFY_SOCKET="+spec.NotifySocket)
	}
	return dedupe(env)
}

// Environ is our own environment as far as it may be given to other processes.
func Environ() []string { return slices.DeleteFunc(os.Environ(), forUsAlone) }

// forUsAlone says whether a variable of our own environment speaks of this very
// process and would mislead another one.
func forUsAlone(kv string) bool {
	return slices.Contains([]string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "SLIPSTREAM_START"}, varName(kv))
}

// dedupe keeps the last of each variable, where a program that looks from the
// front would find ours, not the agent's.
func dedupe(env []string) []string {
	last := make(map[string]int, len(env))
	for i, kv := range env {
		last[varName(kv)] = i
	}
	var out []string
	for i, kv := range env {
		if last[varName(kv)] == i {
			out = append(out, kv)
		}
	}
	return out
}

func varName(kv string) string {
	for i := range len(kv) {
		if kv[i] == '=' {
			return kv[:i]
		}
	}
	return kv
}

// coreLimit is 1 and not 0: the kernel asks no limit before it pipes a dump to a
// program, except that 1 turns the dump off (fs/coredump.c); for a dump to a file
// one byte is too little and turns it off as well.
const coreLimit = 1

// cores guards the moment in which the agent's own limit is lowered, so that the
// child has it from its first instruction on.
var cores sync.Mutex

func withoutCores(start func() (int, error)) error {
	cores.Lock()
	defer cores.Unlock()
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &own); err != nil {
		return err
	}
	low := unix.Rlimit{Cur: min(coreLimit, own.Max), Max: own.Max}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &low); err != nil {
		return err
	}
	pid, err := start()
	if back := unix.Setrlimit(unix.RLIMIT_CORE, &own); err == nil {
		err = back
	}
	if err != nil {
		return err
	}
	// The hard limit keeps the child from raising its own. It is our unreaped
	// child, so the number is its own; one that has ended already needs no limit.
	hard := unix.Rlimit{Cur: low.Cur, Max: low.Cur}
	if err := unix.Prlimit(pid, unix.RLIMIT_CORE, &hard, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// killUnrecorded ends a child that cannot be supervised. It is unreaped, so the
// numbers are its own.
func (p *Process) killUnrecorded() {
	unix.Kill(-p.pid, unix.SIGKILL)
	unix.Kill(p.pid, unix.SIGKILL)
	_, _ = unix.Wait4(p.pid, nil, 0, nil)
}

// dispose undoes newProcess for a process that never came to run.
func (p *Process) dispose() {
	if p.notify != nil {
		p.notify.close(true)
	}
	p.output.close()
	os.Remove(p.record)
}

// openOutput opens a log for appending. The child inherits this very file, so
// it can go on writing when the agent is gone.
func openOutput(path string) (*output, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, logMode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &output{path: path, file: f, from: info.Size()}, nil
}
