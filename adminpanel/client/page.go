package client

import (
	"context"
	"errors"
	"iter"
	"net/url"
	"strconv"
)

// errPage ends a list whose pages lead in circles.
var errPage = errors.New("the panel's pages lead in circles: tell its maker")

// pages turns pages into one list. Next fetches the page after one.
func pages[T any](ctx context.Context, next func(ctx context.Context, after string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		seen := map[string]bool{"": true}
		for after := ""; ; {
			items, then, err := next(ctx, after)
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if then == "" {
				return
			}
			if seen[then] {
				yield(none, errPage)
				return
			}
			seen[then] = true
			after = then
		}
	}
}

// query makes one of names and values; what is empty is left out.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
