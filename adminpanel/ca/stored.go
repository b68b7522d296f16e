package ca

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"slipstream/adminpanel/store"
)

const (
	prefix   = "ca/"
	callTime = 10 * time.Second
)

// stored keeps generations in a store: N at ca/N, its parts as JSON.
type stored struct{ store store.Store }

// OpenStore opens the authority that panels on one store share. If there is none yet, that of a
// directory is taken over, or a new one made. Dir "" has none.
func OpenStore(s store.Store, dir string) (*Authority, error) {
	k := stored{s}
	there, err := k.list()
	if err == nil && len(there) == 0 && dir != "" {
		err = k.takeOver(files(dir))
	}
	if err != nil {
		return nil, fmt.Errorf("ca: open the panels' authority: %w", err)
	}
	return open(k)
}

// takeOver is for a panel that has moved to a store which others can share. If another
// panel does the same, the first one's generations count, all of them.
func (k stored) takeOver(dir files) error {
	own, err := dir.list()
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(own) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	var ifs []store.Cond
	var ops []store.Op
	for _, number := range slices.Sorted(maps.Keys(own)) {
		value, err := json.Marshal(own[number])
		if err != nil {
			return err
		}
		ifs = append(ifs, store.Cond{Key: key(number)})
		ops = append(ops, store.Op{Key: key(number), Value: value})
	}
	return k.commit(ifs, ops)
}

// TakeOut moves the authority of a store into a directory, if the store has one and the
// directory none: for a panel that leaves the others' store for one of its own.
func TakeOut(s store.Store, dir string) error {
	there, err := (stored{s}).list()
	if err != nil || len(there) == 0 {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	own, err := files(dir).list()
	if err != nil || len(own) > 0 {
		return err
	}
	var ops []store.Op
	for _, number := range slices.Sorted(maps.Keys(there)) {
		if err := files(dir).add(number, there[number]); err != nil {
			return err
		}
		ops = append(ops, store.Op{Key: key(number), Delete: true})
	}
	return stored{s}.commit(nil, ops)
}

func key(number int) string { return prefix + strconv.Itoa(number) }

// commit takes for done what another panel has done before.
func (k stored) commit(ifs []store.Cond, ops []store.Op) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	_, err := k.store.Commit(ctx, ifs, ops)
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

func (k stored) list() (map[int]parts, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	all := map[int]parts{}
	_, err := store.All(ctx, k.store, prefix, func(item store.Item) error {
		number, ok := numberOf(strings.TrimPrefix(item.Key, prefix))
		if !ok {
			return nil
		}
		var p parts
		if err := json.Unmarshal(item.Value, &p); err != nil {
			return fmt.Errorf("%s cannot be read: %w", item.Key, err)
		}
		all[number] = p
		return nil
	})
	return all, err
}

func (k stored) add(number int, p parts) error {
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return k.commit([]store.Cond{{Key: key(number)}}, []store.Op{{Key: key(number), Value: value}})
}

func (k stored) retire(number int) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	item, err := k.store.Get(ctx, key(number))
	if errors.Is(err, store.ErrNotFound) {
		return nil // another panel has
	}
	if err != nil {
		return err
	}
	return k.commit([]store.Cond{{Key: item.Key, Rev: item.Rev}}, []store.Op{
		{Key: item.Key, Delete: true}, {Key: prefix + retired + strconv.Itoa(number), Value: item.Value},
	})
}

func (k stored) follow(ctx context.Context, look func(), failed func(error)) {
	store.Follow(ctx, k.store, prefix, store.Follower{
		Changed: func(string, []byte, int64) { look() },
		Swept:   func(map[string]bool, int64) { look() },
		Failed:  failed,
	})
}
