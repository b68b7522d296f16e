package drive

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

const (
	senders = 32
	// answerTimeout bounds the wait for the answer to a revert, which comes when it has
	// ended. The status tells what a lost one would have.
	answerTimeout = 2 * time.Minute
)

// Asker brings asks to devices; a hub is one.
type Asker interface {
	SetDesired(device string, d wire.Desired, at time.Time) error
	Ask(ctx context.Context, device string, ask wire.Ask) (wire.Answer, error)
}

// outbox holds the newest ask of each device until it was sent, so that nobody waits for a
// device that does not read.
type outbox struct {
	d *Driver

	mu    sync.Mutex        // guards what follows
	next  map[string]letter // to be sent
	under map[string]bool   // being sent
	queue []string
	wake  *sync.Cond
	over  bool
}

// letter is an ask on its way.
type letter struct {
	Ask
	fresh bool // to be asked for, and not only to be desired from now on
}

func newOutbox(d *Driver) *outbox {
	o := &outbox{d: d, next: map[string]letter{}, under: map[string]bool{}}
	o.wake = sync.NewCond(&o.mu)
	return o
}

// put takes the place of an ask of the same device that still waits.
func (o *outbox) put(a Ask, fresh bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	old, waits := o.next[a.Device]
	if !waits && !o.under[a.Device] {
		o.queue = append(o.queue, a.Device)
	}
	o.next[a.Device] = letter{a, fresh || waits && old.fresh && old.Epoch == a.Epoch}
	o.wake.Signal()
}

// run sends until ctx ends.
func (o *outbox) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.over = true
		o.wake.Broadcast()
	})
	defer stop()
	var owned sync.WaitGroup
	defer owned.Wait()
	for range senders {
		owned.Go(func() {
			for {
				a, ok := o.take()
				if !ok {
					return
				}
				o.send(ctx, &owned, a)
				o.sent(a.Device)
			}
		})
	}
}

func (o *outbox) take() (letter, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) == 0 && !o.over {
		o.wake.Wait()
	}
	if o.over {
		return letter{}, false
	}
	device := o.queue[0]
	o.queue = o.queue[1:]
	a := o.next[device]
	delete(o.next, device)
	o.under[device] = true
	return a, true
}

func (o *outbox) sent(device string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.under, device)
	if _, more := o.next[device]; more {
		o.queue = append(o.queue, device)
		o.wake.Signal()
	}
}

func (o *outbox) send(ctx context.Context, owned *sync.WaitGroup, a letter) {
	line := a.Desired()
	if o.d.cfg.Orders != nil && line.Live.Digest != "" {
		line.Order = o.d.cfg.Orders.For(a.Device, a.Release)
	}
	if err := o.d.cfg.Asker.SetDesired(a.Device, line, time.Time{}); err != nil {
		o.d.log.Debug("an older ask was not sent", "device", a.Device, "epoch", a.Epoch, "cause", err)
		return
	}
	switch {
	case !a.fresh:
	case a.Want == rollout.WantConfirm:
		owned.Go(func() { o.ask(ctx, a.Ask, wire.Ask{Greenlight: &struct{}{}}) })
	case a.Want == rollout.WantRevert:
		owned.Go(func() { o.ask(ctx, a.Ask, wire.Ask{Revert: &struct{}{}, RevertFrom: a.Live.Digest}) })
	}
}

func (o *outbox) ask(ctx context.Context, a Ask, ask wire.Ask) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	got, err := o.d.cfg.Asker.Ask(ctx, a.Device, ask)
	var result control.Result
	if err == nil {
		err = json.Unmarshal(got.Result, &result)
	}
	if err != nil {
		o.d.log.Debug("an ask was not answered", "device", a.Device, "want", a.Want, "cause", err)
		return // it is asked again when the device comes back
	}
	o.d.answered(a.Device, answer{a.Epoch, result.Exit, result.Message})
}
