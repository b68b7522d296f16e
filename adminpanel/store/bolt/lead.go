package bolt

import (
	"context"
	"crypto/rand"
	"sync"

	"slipstream/adminpanel/store"
)

// leads holds who leads under which name in this process, which is the only one.
type leads struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed at the end of the term
}

type term struct {
	store *Store
	name  string
	cond  store.Cond
	lost  chan struct{}
	once  sync.Once
}

// Lead implements [store.Store].
func (s *Store) Lead(ctx context.Context, name string) (store.Term, error) {
	lost, err := s.leads.take(ctx, name)
	if err != nil {
		return nil, err
	}
	t := &term{store: s, name: name, lost: lost, cond: store.Cond{Key: "lead/" + name}}
	t.cond.Rev, err = s.Commit(ctx, nil, []store.Op{{Key: t.cond.Key, Value: []byte(rand.Text())}})
	if err != nil {
		t.end()
		return nil, err
	}
	return t, nil
}

func (l *leads) take(ctx context.Context, name string) (chan struct{}, error) {
	for {
		l.mu.Lock()
		held, taken := l.held[name]
		if !taken {
			mine := make(chan struct{})
			l.held[name] = mine
			l.mu.Unlock()
			return mine, nil
		}
		l.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (t *term) Cond() store.Cond      { return t.cond }
func (t *term) Lost() <-chan struct{} { return t.lost }

// Resign makes the term's commits fail before it lets another one lead.
func (t *term) Resign(ctx context.Context) error {
	_, err := t.store.Commit(ctx, []store.Cond{t.cond}, []store.Op{{Key: t.cond.Key, Delete: true}})
	t.end()
	return err
}

func (t *term) end() {
	t.once.Do(func() {
		l := &t.store.leads
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, t.name)
		close(t.lost)
	})
}
