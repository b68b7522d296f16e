package etcd

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"

	"slipstream/adminpanel/store"
)

const (
	// LeaseTTL is how long a leader may be silent before another one can take its place. It
	// says something three times as often. A shorter lease would cost little (a message that
	// no disk waits for), but a leader that is paused for two thirds of it, as virtual
	// machines are, loses its place, and its successor reads the whole journal.
	LeaseTTL    = 4 * time.Second
	dialTimeout = 5 * time.Second
	// callTimeout bounds one request of a caller who set no deadline: a cluster without a
	// majority would keep it for ever.
	callTimeout = 10 * time.Second
)

// Config names the cluster.
type Config struct {
	Endpoints []string
	Prefix    string // of all keys; several fleets can share a cluster. "": "/slipstream/"
	TLS       *tls.Config
	Username  string
	Password  string
}

// Store implements [store.Store].
type Store struct {
	client *clientv3.Client
	prefix string
	self   string          // for people who look into the cluster, or meet another one's
	ctx    context.Context // ends with the store
	end    context.CancelFunc
}

// Open connects, and fails if no member answers.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = "/slipstream/"
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: cfg.Endpoints, TLS: cfg.TLS, Username: cfg.Username, Password: cfg.Password,
		DialTimeout: dialTimeout, DialKeepAliveTime: dialTimeout, DialKeepAliveTimeout: dialTimeout, Logger: zap.NewNop(),
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.Join(err, knock(ctx, cfg))
	}
	if err != nil {
		return nil, fmt.Errorf("no etcd answers at %s: %w", strings.Join(cfg.Endpoints, ", "), err)
	}
	s := &Store{client: client, prefix: cfg.Prefix, self: self()}
	s.ctx, s.end = context.WithCancel(context.Background())
	if _, err := s.Scan(ctx, "", "", 1); err != nil {
		return nil, errors.Join(fmt.Errorf("no etcd answers at %s: %w", strings.Join(cfg.Endpoints, ", "), err), s.Close())
	}
	return s, nil
}

// self is what a leader's key says: where it runs, and which of all processes it is.
func self() string {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown machine"
	}
	return fmt.Sprintf("%s, process %d, %s", host, os.Getpid(), rand.Text()[:8])
}

// knock finds out why the first member does not let us in, which the client keeps to itself.
func knock(ctx context.Context, cfg Config) error {
	_, at, secure := strings.Cut(cfg.Endpoints[0], "https://")
	if !secure {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	line := cfg.TLS.Clone()
	if line == nil {
		line = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	line.NextProtos = []string{"h2"}
	conn, err := (&tls.Dialer{Config: line}).DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Whether our certificate is taken shows when it says something.
	if err := conn.SetReadDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// Close ends watches, terms and requests under way.
func (s *Store) Close() error {
	s.end()
	return s.client.Close()
}

// call bounds a request by the caller's context, the store's, and callTimeout.
func (s *Store) call(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func (s *Store) wrap(what string, err error) error {
	if s.ctx.Err() != nil {
		return store.ErrClosed
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string) (store.Item, error) {
	ctx, cancel := s.call(ctx)
	defer cancel()
	r, err := s.client.Get(ctx, s.prefix+key)
	switch {
	case err != nil:
		return store.Item{}, s.wrap("read the store", err)
	case len(r.Kvs) == 0:
		return store.Item{}, fmt.Errorf("%w: %s", store.ErrNotFound, key)
	}
	return store.Item{Key: key, Value: r.Kvs[0].Value, Rev: r.Kvs[0].ModRevision}, nil
}

// Scan implements [store.Store].
func (s *Store) Scan(ctx context.Context, from, to string, limit int) (store.Page, error) {
	if limit <= 0 || limit > store.MaxScan {
		limit = store.MaxScan
	}
	end := s.prefix + to
	if to == "" {
		end = store.PrefixEnd(s.prefix)
	}
	ctx, cancel := s.call(ctx)
	defer cancel()
	r, err := s.client.Get(ctx, s.prefix+from, clientv3.WithRange(end), clientv3.WithLimit(int64(limit)+1))
	if err != nil {
		return store.Page{}, s.wrap("read the store", err)
	}
	page := store.Page{Rev: r.Header.Revision}
	for i, kv := range r.Kvs {
		key := strings.TrimPrefix(string(kv.Key), s.prefix)
		if i == limit {
			page.Next = key
			break
		}
		page.Items = append(page.Items, store.Item{Key: key, Value: kv.Value, Rev: kv.ModRevision})
	}
	return page, nil
}

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, ifs []store.Cond, ops []store.Op) (int64, error) {
	if err := store.Check(ifs, ops); err != nil {
		return 0, err
	}
	conds := make([]clientv3.Cmp, len(ifs))
	for i, c := range ifs {
		conds[i] = clientv3.Compare(clientv3.ModRevision(s.prefix+c.Key), "=", c.Rev)
	}
	changes := make([]clientv3.Op, len(ops))
	for i, op := range ops {
		if op.Delete {
			changes[i] = clientv3.OpDelete(s.prefix + op.Key)
		} else {
			changes[i] = clientv3.OpPut(s.prefix+op.Key, string(op.Value))
		}
	}
	ctx, cancel := s.call(ctx)
	defer cancel()
	r, err := s.client.Txn(ctx).If(conds...).Then(changes...).Commit()
	switch {
	case err != nil:
		return 0, s.wrap("write the store", err)
	case !r.Succeeded:
		return 0, store.ErrConflict
	}
	return r.Header.Revision, nil
}

// Watch implements [store.Store].
func (s *Store) Watch(ctx context.Context, prefix string, after int64) (<-chan store.Event, error) {
	if s.ctx.Err() != nil {
		return nil, store.ErrClosed
	}
	// WithRequireLeader: a member that is cut off ends the watch rather than go silent.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	stop := context.AfterFunc(s.ctx, cancel)
	changes := s.client.Watch(ctx, s.prefix+prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1))
	out := make(chan store.Event)
	go func() {
		defer close(out)
		defer cancel()
		defer stop()
		s.feed(ctx, out, changes)
	}()
	return out, nil
}

func (s *Store) feed(ctx context.Context, out chan<- store.Event, changes clientv3.WatchChan) {
	for r := range changes {
		if r.Err() != nil { // compacted, or cut off: both are "scan again"
			return
		}
		for _, e := range r.Events {
			event := store.Event{
				Key: strings.TrimPrefix(string(e.Kv.Key), s.prefix), Value: e.Kv.Value, Rev: e.Kv.ModRevision,
				Deleted: e.Type == clientv3.EventTypeDelete,
			}
			select {
			case out <- event:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Lead implements [store.Store].
func (s *Store) Lead(ctx context.Context, name string) (store.Term, error) {
	key := "lead/" + name
	for {
		t, err := s.campaign(ctx, key)
		if err != nil || t != nil {
			return t, err
		}
		if err := s.waitGone(ctx, key); err != nil {
			return nil, err
		}
	}
}

// campaign tries once; nil without an error means that somebody else leads.
func (s *Store) campaign(ctx context.Context, key string) (store.Term, error) {
	session, err := concurrency.NewSession(s.client, concurrency.WithTTL(int(LeaseTTL/time.Second)), concurrency.WithContext(s.ctx))
	if err != nil {
		return nil, s.wrap("begin a term", err)
	}
	call, cancel := s.call(ctx)
	defer cancel()
	r, err := s.client.Txn(call).
		If(clientv3.Compare(clientv3.ModRevision(s.prefix+key), "=", 0)).
		Then(clientv3.OpPut(s.prefix+key, s.self, clientv3.WithLease(session.Lease()))).Commit()
	if err == nil && r.Succeeded {
		return &term{s, session, store.Cond{Key: key, Rev: r.Header.Revision}}, nil
	}
	if err != nil {
		err = s.wrap("begin a term", err)
	}
	return nil, errors.Join(err, session.Close())
}

// waitGone returns when nobody holds the key, or may not.
func (s *Store) waitGone(ctx context.Context, key string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	page, err := s.Scan(ctx, key, key+"\x00", 1)
	if err != nil || len(page.Items) == 0 {
		return err
	}
	events, err := s.Watch(ctx, key, page.Rev)
	if err != nil {
		return err
	}
	for e := range events {
		if e.Key == key && e.Deleted {
			return nil
		}
	}
	return ctx.Err() // nil when the watch broke: the caller tries again
}

type term struct {
	store   *Store
	session *concurrency.Session
	cond    store.Cond
}

func (t *term) Cond() store.Cond      { return t.cond }
func (t *term) Lost() <-chan struct{} { return t.session.Done() }

func (t *term) Resign(ctx context.Context) error {
	_, err := t.store.Commit(ctx, []store.Cond{t.cond}, []store.Op{{Key: t.cond.Key, Delete: true}})
	return errors.Join(err, t.session.Close())
}
