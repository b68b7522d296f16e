package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/agent/appcontrol"
	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/agent/link"
	"slipstream/agent/supervise"
	"slipstream/slots"
	"slipstream/slots/boot"
	"slipstream/slots/fetch"
	"slipstream/stream/orders"
	"slipstream/verify/trust"
)

// eventQueue holds what happens while the journal is being written.
const eventQueue = 64

// Agent runs the upgrade of one device. Its Run method's goroutine alone owns
// the state; everything else sends it events and reads snapshots.
type Agent struct {
	cfg      config.Config
	log      *slog.Logger
	set      *slots.Set
	record   recordFile
	journal  *journal
	trusted  *trust.Store
	identity *link.Identity // to the panel; nil where nothing is downloaded
	lock     *os.File       // of the run directory
	secret   string         // of the gateway, for the device itself
	sup      *supervise.Supervisor
	forward  *forwarder
	markers  markers
	users    users
	sockets  sockets
	data     dataDirs
	states   *states
	desk     *appcontrol.Desk

	groups *supervise.Groups // nil without cgroups

	host    Host
	systems *slots.Set   // nil on a device without system slots
	boot    boot.Control // likewise
	system  string       // slot of the system that runs; "" if that is not known

	runtimes   *slots.Set             // of Slipstream's own programs; nil without a start program
	own        string                 // slot that our own program is in; "": the built-in one
	home       atomic.Pointer[string] // directory of the forwarder that takes nobody's place
	becoming   chan struct{}          // closed when the process is to become another program
	becomeOnce sync.Once
	stopTry    context.CancelFunc // of the newest try of a forwarder; Run's own

	events  chan any
	wg      sync.WaitGroup // everything that Run has started
	running atomic.Bool
	stop    context.CancelFunc // set by Run
	begun   chan struct{}      // closed when the state is that of this device
	stopped chan struct{}      // closed when Run begins to end
	ended   chan struct{}      // closed when Run has ended
	lastReq atomic.Uint64

	// Owned by Run's goroutine.
	state        State
	shown        []byte // the newest state and problems that were announced
	shownState   []byte
	lookedAt     time.Time // when it was last looked for problems
	fresh        bool      // the journal was lost, or never was
	runs         map[orders.SourceID]*run
	forwarding   *daemon
	stopWatch    context.CancelFunc // of the trial's marker
	unwritten    bool               // the journal has not the newest state
	guard        *guard
	wasGuarded   bool // at the step before
	staging      staging
	bootQueue    <-chan struct{} // closed when all that was asked of the boot loader is done
	runtimeQueue <-chan struct{} // closed when all that was asked for programs on trial is done
	doubtQueue   chan struct{}   // closed when all slots are marked that were found damaged

	mu       sync.Mutex // guards what follows
	seen     snapshot
	tries    map[string]boot.Slot       // what the boot loader counts, by system slot
	news     chan struct{}              // closed and replaced at every change
	answers  map[uint64]chan Answer     // requests that wait
	arrived  map[uint64]*incoming       // verified packages, by request
	words    map[orders.SourceID]string // newest STATUS= of each app
	doubts   map[orders.SourceID]string // slots of adopted apps that were refused when they were looked at
	unmarked unmarked
	givers   map[string]giver           // apps that may store descriptors
	untaken  map[orders.SourceID]string // why an app's newest state was not taken
	checks   *checks                    // of the trial under way; nil while there is nothing to judge
	down     map[string]string          // why a daemon does not run, by its name
	controls []supervise.Protection     // limits that apps can have
}

// snapshot is what others may see of the state.
type snapshot struct {
	state State
	seq   uint64
	last  *control.Record
}

var _ control.Backend = (*Agent)(nil)

// New opens the device's state and takes its locks. Nothing is started before Run.
func New(cfg config.Config, log *slog.Logger) (*Agent, error) {
	return NewOn(thisHost(cfg.System), cfg, log)
}

// NewOn is [New] on a machine that need not be this one.
func NewOn(host Host, cfg config.Config, log *slog.Logger) (*Agent, error) {
	if err := os.MkdirAll(cfg.Run, 0o755); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	for _, dir := range []string{cfg.State, filepath.Join(cfg.State, "data"), filepath.Join(cfg.State, "shared")} {
		if err := slots.MakeDir(dir); err != nil {
			return nil, fmt.Errorf("agent: %w", err)
		}
	}
	a := &Agent{
		cfg: cfg, log: log, host: host,
		sup:     supervise.New(cfg.Run, log),
		markers: markers{dir: filepath.Join(cfg.Run, "trial"), uid: os.Geteuid(), log: log},
		data:    dataDirs(filepath.Join(cfg.State, "data")),
		desk:    appcontrol.New(log),
		events:  make(chan any, eventQueue),
		begun:   make(chan struct{}),
		stopped: make(chan struct{}), becoming: make(chan struct{}),
		ended:   make(chan struct{}),
		runs:    map[orders.SourceID]*run{},
		news:    make(chan struct{}),
		answers: map[uint64]chan Answer{},
		arrived: map[uint64]*incoming{},
		words:   map[orders.SourceID]string{},
		doubts:  map[orders.SourceID]string{},
		down:    map[string]string{},
		givers:  map[string]giver{},
		untaken: map[orders.SourceID]string{},
	}
	a.guard = &guard{
		cfg: cfg.System, open: host.Watchdog, alive: a.Alive, begun: a.begun, log: log,
		tell: func(problem string) { a.setDown(watchdogProblem, problem) },
	}
	a.sup.JudgeStored(a.judgeStored)
	a.sup.MirrorStored(a.keepStored)
	a.stopWatch, a.stopTry = func() {}, func() {}
	var err error
	if a.users, err = lookUpUsers(cfg.Apps); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if err := a.openDirs(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a.forward = &forwarder{path: filepath.Join(cfg.Run, "orders.sock"), log: log, post: a.post, changed: a.changed, wished: a.keyWished}
	a.sockets = sockets{hold: a.forward.keep, open: map[place]*os.File{}}
	a.states = &states{keep: a.forward.keep, of: map[string]handed{}}
	if err := a.open(); err != nil {
		a.close()
		return nil, fmt.Errorf("agent: %w", err)
	}
	return a, nil
}

func (a *Agent) open() (err error) {
	if a.lock, err = lockRun(a.cfg.Run); err != nil {
		return err
	}
	if a.secret, err = gatewaySecret(a.cfg.Run); err != nil {
		return err
	}
	if a.set, err = slots.Open(filepath.Join(a.cfg.State, "slots"), slots.Options{}); errors.Is(err, slots.ErrLocked) {
		return fmt.Errorf("another agent already runs here: it uses %s", a.cfg.State)
	}
	if err != nil {
		return err
	}
	if err := a.openSystems(); err != nil {
		return err
	}
	if err := a.openRuntimes(); err != nil {
		return err
	}
	record, err := slots.OpenRecord(a.cfg.State)
	if err != nil {
		return err
	}
	a.record = record
	if a.trusted, err = openTrust(a.cfg); err != nil {
		return err
	}
	if err := a.openIdentity(); err != nil {
		return err
	}
	a.journal, a.state, a.fresh, err = openJournal(a.cfg.State, a.log)
	return err
}

func (a *Agent) close() {
	var errs []error
	if a.set != nil {
		errs = append(errs, a.set.Close())
	}
	if a.systems != nil {
		errs = append(errs, a.systems.Close())
	}
	if a.runtimes != nil {
		errs = append(errs, a.runtimes.Close())
	}
	if a.record != nil {
		errs = append(errs, a.record.Close())
	}
	if a.journal != nil {
		errs = append(errs, a.journal.close())
	}
	if a.lock != nil {
		errs = append(errs, unlockRun(a.lock))
	}
	if err := errors.Join(errs...); err != nil {
		a.log.Error("state not closed", "reason", err)
	}
}

// Run runs the device until ctx ends, and returns its error. Apps, forwarder
// and gateway go on without it: the next agent adopts them, and viewers notice
// nothing. An Agent runs once.
func (a *Agent) Run(ctx context.Context) error {
	if !a.running.CompareAndSwap(false, true) {
		return errors.New("agent: it has run already")
	}
	defer close(a.ended)
	defer a.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	a.stop = cancel
	a.mu.Unlock()
	err := a.loop(ctx)
	cancel()
	close(a.stopped)
	a.wg.Wait()
	a.leaveWatchdog()
	a.sup.Close()
	a.sockets.close()
	a.states.close()
	a.letGroupsBe()
	return err
}

// Up is closed when Run has taken over what there was.
func (a *Agent) Up() <-chan struct{} { return a.begun }

// post hands an event to the loop, or drops it when the agent stops.
func (a *Agent) post(what any) {
	select {
	case a.events <- what:
	case <-a.stopped:
	}
}

// changed wakes whoever waits for a newer status.
func (a *Agent) changed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.announce()
}

// announce is changed for those who hold mu.
func (a *Agent) announce() {
	a.seen.seq++
	close(a.news)
	a.news = make(chan struct{})
}

func (a *Agent) snapshot() snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen
}

func (a *Agent) setAppStatus(source orders.SourceID, status string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.words[source] == status {
		return
	}
	a.words[source] = status
	a.announce()
}

// expect keeps a verified package for the effect that will write it.
func (a *Agent) expect(req uint64, in *incoming) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.arrived[req] = in
}

func (a *Agent) expected(req uint64) *incoming {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.arrived[req]
}

func (a *Agent) forget(req uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.arrived, req)
}

// errStopping answers requests that the agent's end has overtaken.
var errStopping = errors.New("the agent is stopping")

// ask sends a request to the loop and waits for its answer.
func (a *Agent) ask(ctx context.Context, event func(req uint64) any) (Answer, error) {
	req := a.lastReq.Add(1)
	answer := make(chan Answer, 1)
	a.mu.Lock()
	a.answers[req] = answer
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.answers, req)
		delete(a.arrived, req)
	}()
	a.post(event(req))
	select {
	case got := <-answer:
		return got, nil
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	case <-a.stopped:
		return Answer{}, errStopping
	}
}

func (a *Agent) deliver(answer Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if to, ok := a.answers[answer.Req]; ok {
		to <- answer
		delete(a.answers, answer.Req)
	}
}

// ready waits for the state to be that of this device.
func (a *Agent) ready(ctx context.Context) error {
	select {
	case <-a.begun:
		return nil
	default:
	}
	select {
	case <-a.begun:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-a.stopped:
		return errStopping
	}
}

// sentence is an error as one line for people.
func sentence(err error) string {
	if download, ok := errors.AsType[*fetch.Error](err); ok { // it says all, and what to do
		err = download
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
