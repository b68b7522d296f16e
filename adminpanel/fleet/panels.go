package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"slipstream/adminpanel/store"
)

const (
	// lifeEvery is how often a panel shows that it lives; after three times of silence
	// it does not, for the others.
	lifeEvery  = 20 * time.Second
	lifeSilent = 3 * lifeEvery
)

// life is the sign of a panel at hub/<name>.
type life struct {
	At     time.Time `json:"at"`
	Linked int       `json:"linked"`
	Left   bool      `json:"left,omitempty"` // it was stopped
}

// lives needs the lock.
func (f *Fleet) lives(name string, now time.Time) bool {
	p, ok := f.panels[name]
	return ok && !p.Left && now.Sub(p.heard) < lifeSilent
}

func (f *Fleet) panelChanged(name string, value []byte, rev int64) {
	var l life
	if value != nil && json.Unmarshal(value, &l) != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.panels[name]
	if rev <= p.rev {
		return
	}
	lived := f.lives(name, time.Now())
	f.panels[name] = panel{life: l, heard: time.Now(), rev: rev}
	if value == nil {
		delete(f.panels, name)
	}
	if lived != f.lives(name, time.Now()) {
		f.showHome(name)
	}
}

func (f *Fleet) panelsSwept(found map[string]bool, _ int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.panels {
		if !found[name] {
			delete(f.panels, name)
			f.showHome(name)
		}
	}
}

// showHome shows the devices of a panel that has come or gone. It needs the lock.
func (f *Fleet) showHome(name string) {
	if name == f.cfg.Panel {
		return
	}
	for _, e := range f.devices {
		if e.known && e.rec.Home == name && !e.link.Online {
			f.show(e)
		}
	}
}

// lookAtPanels shows the devices of panels that have fallen silent. It needs the lock.
func (f *Fleet) lookAtPanels(now time.Time) {
	for name, p := range f.panels {
		if !p.Left && !f.lives(name, now) {
			p.Left = true
			f.panels[name] = p
			f.showHome(name)
		}
	}
}

// live shows again and again that this panel lives, and at last that it was stopped.
func (f *Fleet) live(ctx context.Context) {
	if err := f.recall(ctx); err != nil {
		f.failed(ctx, "when this panel ran last is not known", err)
	}
	for {
		f.sign(ctx, false)
		if !pause(ctx, lifeEvery) {
			break
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
	defer cancel()
	f.sign(last, true)
}

// recall reads when a panel of this name lived last.
func (f *Fleet) recall(ctx context.Context) error {
	item, err := f.cfg.Store.Get(ctx, prefixPanel+f.cfg.Panel)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	var l life
	if err == nil {
		err = json.Unmarshal(item.Value, &l)
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = l.At
	for _, e := range f.devices {
		if e.known && e.rec.Home == f.cfg.Panel {
			f.show(e)
		}
	}
	return nil
}

func (f *Fleet) sign(ctx context.Context, left bool) {
	f.mu.Lock()
	l := life{At: time.Now().UTC(), Linked: f.linked, Left: left}
	f.mu.Unlock()
	value, err := json.Marshal(l)
	if err == nil {
		_, err = f.cfg.Store.Commit(ctx, nil, []store.Op{{Key: prefixPanel + f.cfg.Panel, Value: value}})
	}
	if err != nil && ctx.Err() == nil {
		f.cfg.Log.Warn("other panels may not see that this one lives", "cause", err)
	}
}
