// Package canary puts devices into the order in which a fleet tries things: that of a hash
// of their ids. The first few are the same each time, whoever asks, and are neither all
// of one site nor those whose names come first.
package canary

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strings"
)

// Sort returns ids in that order; those given stay as they are.
func Sort(ids []string) []string {
	type hashed struct {
		id   string
		hash uint64
	}
	list := make([]hashed, len(ids))
	for i, id := range ids {
		list[i] = hashed{id, hash(id)}
	}
	slices.SortFunc(list, func(a, b hashed) int { return cmp.Or(cmp.Compare(a.hash, b.hash), strings.Compare(a.id, b.id)) })
	sorted := make([]string, len(list))
	for i, d := range list {
		sorted[i] = d.id
	}
	return sorted
}

// hash is FNV-1a, whose high bits alone are nearly alike for short names.
func hash(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}
