package drive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
)

// Errors that callers tell apart.
var (
	// ErrNotLeading is returned when no panel drives rollouts at present.
	ErrNotLeading = errors.New("no panel drives the rollouts at present: try again in a moment")
	// ErrStale is returned when a rollout is not as the caller has seen it.
	ErrStale = errors.New("the rollout has changed meanwhile: look again")
	// ErrUnsaid is returned when the panel that leads has begun with something, and did not
	// say what came of it.
	ErrUnsaid = errors.New("it is not known whether that was done: the panel that drives the rollouts did not say; look again")
	// ErrRefused is wrapped by every refusal that a person can do something about.
	ErrRefused = errors.New("refused")
)

const (
	leadName = "rollouts"
	// pauseLead is between two terms, lest a store that fails be asked without end.
	pauseLead = time.Second
	// keepEnded is how long devices are still heard after a rollout's end: whoever
	// reverts late is counted out of it.
	keepEnded = 7 * 24 * time.Hour
)

// Audit commits changes together with the lines that tell of them.
type Audit interface {
	Commit(ctx context.Context, ifs []store.Cond, ops []store.Op, lines ...view.AuditLine) (rev int64, err error)
}

// Orders are the fleet's word that devices may take a release.
type Orders interface {
	// Covers tells whether a release is ordered for devices at a time.
	Covers(release string, devices []string, at time.Time) bool
	// Cover orders it for them, or for all of the fleet.
	Cover(ctx context.Context, who audit.Who, release string, devices []string, all bool, why string) error
	// For is the signature files of an order for one device.
	For(device, release string) [][]byte
}

// Config is what a driver needs from the rest of the panel.
type Config struct {
	Store store.Store
	Audit Audit
	Fleet *fleet.Table
	// Release returns a release of the panel's.
	Release func(ctx context.Context, id string) (view.Release, error)
	// Orders, if set, are the fleet's own word on releases, without which its devices take
	// none.
	Orders Orders
	// Approvals, if set, is how many other people have to approve a rollout to so many
	// devices. It is asked once more when one starts: whom it means may have grown.
	Approvals func(plan view.Plan, devices int) int
	// Zone, if set, is the IANA time zone of a device.
	Zone  func(device string) string
	Asker Asker
	// Alone says that no other panel can be on the store, to be told of devices.
	Alone bool
}

// Driver is safe for concurrent use.
type Driver struct {
	cfg    Config
	log    *slog.Logger
	outbox *outbox

	retired context.Context // ends when it shall not lead any more
	retire  context.CancelFunc

	mu      sync.Mutex // guards what follows
	words   map[string]Word
	answers map[string]answer
	news    map[string]struct{} // devices whose words the leader has not taken
	gone    []string            // devices that have left the fleet, likewise
	wake    chan struct{}
	term    *term          // nil while another one leads
	asks    map[string]Ask // as the store has them
	shares  map[string]shared
	untold  map[string]struct{} // devices of which there may be something to share
	sharing chan struct{}
}

// term is the time in which this driver leads.
type term struct {
	commands chan command
	over     chan struct{}
}

// command is done by the leader between two events; the caller hears of it when
// what it brought about is committed.
type command struct {
	do   func(ctx context.Context, l *leader) error
	done chan error
}

// New makes a driver that does nothing yet.
func New(cfg Config, log *slog.Logger) *Driver {
	d := &Driver{
		cfg: cfg, log: log, words: map[string]Word{}, answers: map[string]answer{}, news: map[string]struct{}{},
		wake: make(chan struct{}, 1), asks: map[string]Ask{},
		shares: map[string]shared{}, untold: map[string]struct{}{}, sharing: make(chan struct{}, 1),
	}
	d.retired, d.retire = context.WithCancel(context.Background())
	d.outbox = newOutbox(d)
	return d
}

// Retire lets another panel lead at once: this one is about to end. What people want of it
// until then it hands over, as it does for every leader.
func (d *Driver) Retire() { d.retire() }

// Run drives rollouts until ctx ends, whenever this panel leads.
func (d *Driver) Run(ctx context.Context) error {
	var owned sync.WaitGroup
	defer owned.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	owned.Go(func() { d.outbox.run(ctx) })
	owned.Go(func() { d.mirror(ctx) })
	owned.Go(func() { d.hearShares(ctx) })
	owned.Go(func() { d.share(ctx) })
	leading, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(d.retired, stop)()
	for leading.Err() == nil {
		err := d.lead(leading)
		if leading.Err() != nil {
			break
		}
		d.log.Warn("this panel drives no rollouts", "cause", err, "again_in", pauseLead)
		select {
		case <-time.After(pauseLead):
		case <-leading.Done():
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// Hear takes what is known of a device now: call it on each change. It never waits.
func (d *Driver) Hear(w Word) {
	d.mu.Lock()
	defer d.mu.Unlock()
	came := w.Online && !d.words[w.Device].Online
	d.words[w.Device] = w
	d.tell(w.Device)
	d.toShare(w.Device)
	if a, ok := d.asks[w.Device]; ok && came && d.term == nil {
		d.outbox.put(a, true)
	}
}

// Left says that a device is of the fleet no more.
func (d *Driver) Left(device string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.words, device)
	delete(d.answers, device)
	d.gone = append(d.gone, device)
	d.stir()
}

func (d *Driver) answered(device string, a answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[device] = a
	d.tell(device)
	d.toShare(device)
}

// tell marks a device's words as new. The caller holds mu.
func (d *Driver) tell(device string) {
	d.news[device] = struct{}{}
	d.stir()
}

func (d *Driver) stir() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Asked is the newest ask of a device, as this panel knows it; false if there was none.
func (d *Driver) Asked(device string) (Ask, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.asks[device]
	return a, ok
}

// Desired is what a device shall come to, for the beginning of a link.
func (d *Driver) Desired(device string) (wire.Desired, bool) {
	a, ok := d.Asked(device)
	if !ok {
		return wire.Desired{}, false
	}
	return a.Desired(), true
}

// mirror keeps up with the asks in the store, and brings those of the leading panel to the
// devices that are linked to this one.
func (d *Driver) mirror(ctx context.Context) {
	for ctx.Err() == nil {
		if err := d.follow(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("the asks of devices were not followed", "cause", err, "again_in", pauseLead)
			select {
			case <-time.After(pauseLead):
			case <-ctx.Done():
			}
		}
	}
}

// follow returns without an error when the watch was left behind.
func (d *Driver) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rev, err := store.All(ctx, d.cfg.Store, prefixAsks, d.mirrored)
	if err != nil {
		return err
	}
	events, err := d.cfg.Store.Watch(ctx, prefixAsks, rev)
	if err != nil {
		return err
	}
	for e := range events {
		if e.Deleted {
			continue
		}
		if err := d.mirrored(store.Item{Key: e.Key, Value: e.Value}); err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) mirrored(item store.Item) error {
	a, err := ReadAsk(item)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.learn(a)
	return nil
}

// learn takes an ask that is in the store. The caller holds mu.
func (d *Driver) learn(a Ask) {
	old, known := d.asks[a.Device]
	if known && old.Epoch > a.Epoch {
		return
	}
	d.asks[a.Device] = a
	d.toShare(a.Device)
	if d.term == nil && d.words[a.Device].Online && !old.same(a) {
		d.outbox.put(a, true)
	}
}

// do has the leader do something.
func (d *Driver) do(ctx context.Context, do func(ctx context.Context, l *leader) error) error {
	d.mu.Lock()
	t := d.term
	d.mu.Unlock()
	if t == nil {
		return ErrNotLeading
	}
	c := command{do, make(chan error, 1)}
	select {
	case t.commands <- c:
	case <-t.over:
		return ErrNotLeading
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("it is not known whether that was done: %w", ctx.Err())
	}
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}
