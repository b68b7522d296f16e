package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/etcd"
	"slipstream/adminpanel/store/etcd/etcdtest"
	"slipstream/adminpanel/store/storetest"
)

func TestStore(t *testing.T) {
	c := etcdtest.New(t)
	t.Run("promises", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T, name string) store.Store { return c.Open(t, "/"+name+"/", 0, 1, 2) })
	})
	t.Run("a member is killed", func(t *testing.T) { killed(t, c) })
	t.Run("a leader is cut off", func(t *testing.T) { cutOff(t, c) })
}

func commit(t *testing.T, s store.Store, key string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		_, err := s.Commit(t.Context(), nil, []store.Op{{Key: key}})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no commit in a minute: %v", err)
		}
	}
}

func killed(t *testing.T, c *etcdtest.Cluster) {
	s := c.Open(t, "/killed/", 0, 1, 2)
	commit(t, s, "before")
	c.Kill(0)
	commit(t, s, "after")
	n := 0
	if _, err := store.All(t.Context(), s, "", func(store.Item) error { n++; return nil }); err != nil || n != 2 {
		t.Errorf("%d of 2 keys are there, %v", n, err)
	}
	c.Start(0)
	behind := c.Open(t, "/killed/", 0)
	if _, err := behind.Get(t.Context(), "after"); err != nil {
		t.Errorf("the member that came back: %v", err)
	}
}

// A panel whose member is cut off must not go on leading, and another one must take over.
func cutOff(t *testing.T, c *etcdtest.Cluster) {
	lonely, others := c.Open(t, "/cut/", 2), c.Open(t, "/cut/", 0, 1)
	old, err := lonely.Lead(t.Context(), "rollouts")
	if err != nil {
		t.Fatal(err)
	}
	watch, err := lonely.Watch(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	c.Cut(2)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	next, err := others.Lead(ctx, "rollouts")
	if err != nil {
		t.Fatalf("nobody took over: %v", err)
	}
	if _, err := others.Commit(ctx, []store.Cond{next.Cond()}, []store.Op{{Key: "x", Value: []byte("new")}}); err != nil {
		t.Fatal(err)
	}
	for range watch { // of a member that is cut off it must end
	}
	<-old.Lost()
	short, cancelShort := context.WithTimeout(ctx, 3*time.Second)
	defer cancelShort()
	if item, err := lonely.Get(short, "x"); err == nil {
		t.Errorf("a member that is cut off answered with %q", item.Value)
	}
	c.Mend(2)
	for {
		_, err = lonely.Commit(ctx, []store.Cond{old.Cond()}, []store.Op{{Key: "x", Value: []byte("old")}})
		if errors.Is(err, store.ErrConflict) {
			return
		}
		if err == nil || ctx.Err() != nil {
			t.Fatalf("the old leader's commit: %v", err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if s, err := etcd.Open(ctx, etcd.Config{Endpoints: []string{"127.0.0.1:1"}}); err == nil {
		s.Close() //nolint:errcheck // it should not be open
		t.Error("opened")
	}
}

func BenchmarkCommit(b *testing.B) {
	c := etcdtest.New(b)
	s := c.Open(b, "/bench/", 0, 1, 2)
	value := make([]byte, 1000)
	i := 0
	for b.Loop() {
		if _, err := s.Commit(b.Context(), nil, []store.Op{{Key: fmt.Sprint("d/", i%1000), Value: value}}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
