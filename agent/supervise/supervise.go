package supervise

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

const (
	// MaxLog is the size in bytes at which a log file is cut: its newer half
	// moves to NAME.log.1 and the file starts anew.
	MaxLog = 1 << 20
	// maxName keeps names, and so the paths made of them, short.
	maxName = 64
)

// Spec says what to start.
type Spec struct {
	// Name is unique among the processes that live; it names the adoption
	// record. Letters, digits, "-", "_" and "." only.
	Name string
	// Path is the program, and argv[0]. It is not searched for in PATH.
	Path string
	// Args follow argv[0].
	Args []string
	// Env is the whole environment, to which NOTIFY_SOCKET and the token are
	// added; nil means the agent's own.
	Env []string
	Dir string
	// Log takes the process's stdout and stderr, always appended; "" means
	// RUN/log/NAME.log. It is cut at [MaxLog].
	Log string
	// Files become the descriptors 3 and up. The caller still closes its own.
	Files []*os.File
	// NotifySocket is bound by us and exported as NOTIFY_SOCKET; "" means none.
	NotifySocket string
	// FDStore lets the process store descriptors by its notify socket (FDSTORE=1,
	// FDNAME=, FDSTOREREMOVE=1 of sd_notify(3)), and gives it those that a process
	// of its name has stored before, as LISTEN_FDS and LISTEN_FDNAMES. It takes the
	// place of Files.
	FDStore bool
	// Listen are descriptors that it is given by LISTEN_FDS and LISTEN_FDNAMES, before
	// those that were stored. They take the place of Files. The caller still closes its own.
	Listen []Named
	// Group is the cgroup to start in; nil means our own.
	Group *Group
	// Confine is what the process may do; nil means what we may. A confined process is
	// one that was started by [Launch], which sets LISTEN_PID and WATCHDOG_PID as well.
	Confine *Confinement
	// Check, if there is one, is asked at the last moment: the program runs only if it
	// returns nil. A confined process gets ready meanwhile to become the program.
	Check func() error
}

// Named is a descriptor with its name for LISTEN_FDNAMES: printable and without colons.
type Named struct {
	Name string
	File *os.File
}

// Supervisor owns the processes that were started or adopted through it.
type Supervisor struct {
	runDir string
	log    *slog.Logger
	wg     sync.WaitGroup // one count per live Process
	stores *stores

	protections protections

	closing chan struct{} // closed by Close

	mu     sync.Mutex
	live   map[string]*Process
	closed bool
}

// New returns a supervisor that keeps its records and logs under runDir, which
// must be lost at a reboot (tmpfs), though nothing breaks if it is not.
func New(runDir string, log *slog.Logger) *Supervisor {
	return &Supervisor{
		runDir: runDir, log: log, live: make(map[string]*Process), closing: make(chan struct{}),
		stores: &stores{of: map[string][]stored{}},
	}
}

// Close stops watching and leaves every process as it is, for a later agent to
// adopt. The Done channels of processes that still live are never closed then.
// Stored descriptors are closed, and no mirror is told of it.
func (s *Supervisor) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	for _, p := range s.live {
		p.abandon()
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.stores.dropAll()
}

// Start starts a process in a session of its own.
func (s *Supervisor) Start(spec Spec) (*Process, error) {
	if err := s.reserve(spec.Name); err != nil {
		return nil, err
	}
	p, err := s.start(spec)
	if err != nil {
		s.release(spec.Name)
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	s.watch(p)
	return p, nil
}

// reserve takes a name, so that two starts of the same name cannot overlap.
func (s *Supervisor) reserve(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("the supervisor is closed")
	}
	if _, taken := s.live[name]; taken {
		return fmt.Errorf("process %s is already running", name)
	}
	s.live[name] = nil
	return nil
}

func (s *Supervisor) release(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, name)
}

// watch begins to wait for the process's end, unless Close came first.
func (s *Supervisor) watch(p *Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[p.name] = p
	if s.closed {
		p.letGo()
		close(p.over)
		return
	}
	s.wg.Go(func() {
		if s.findOut(p) {
			p.run()
		}
		s.release(p.name) // before over, so that after Kill the name is free
		close(p.over)
	})
}

func checkName(name string) error {
	ok := name != "" && len(name) <= maxName && name[0] != '.'
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	}
	if !ok {
		return fmt.Errorf("process name %q is not 1 to %d letters, digits, '-', '_' or '.'", name, maxName)
	}
	return nil
}

func (s *Supervisor) recordPath(name string) string {
	return filepath.Join(s.runDir, "proc", name+".json")
}

func (s *Supervisor) logPath(spec Spec) string {
	if spec.Log != "" {
		return spec.Log
	}
	return filepath.Join(s.runDir, "log", spec.Name+".log")
}
