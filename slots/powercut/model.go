package powercut

import (
	"maps"
	"slices"
)

// model follows a log and knows what is certain on disk and what is not.
type model struct {
	now  tree            // as the system sees it
	safe tree            // what is flushed, but for names that lead nowhere yet
	open []Op            // changes of names that are not flushed, in order
	part map[uint64][]Op // changes of files that are not
}

func newModel(base tree) *model {
	return &model{now: base.clone(), safe: base.clone(), part: map[uint64][]Op{}}
}

// step is the log's next operation.
func (m *model) step(o Op) {
	m.now.do(o)
	switch {
	case o.Kind == Create:
		m.safe.add(o) // it is nowhere until its name is
		m.open = append(m.open, o)
	case o.names():
		m.open = append(m.open, o)
	case o.Kind == Write, o.Kind == Resize, o.Kind == Attr:
		m.part[o.Ino] = append(m.part[o.Ino], o)
	case o.Kind == Sync:
		m.flush(o.Ino, true)
	case o.Kind == SyncData:
		m.flush(o.Ino, false)
	case o.Kind == SyncAll:
		m.safe, m.open, m.part = m.now.clone(), nil, map[uint64][]Op{}
	}
}

// flush makes a file or a directory certain.
func (m *model) flush(ino uint64, attr bool) {
	safe, now := m.safe[ino], m.now[ino]
	safe.sum = nil
	if safe.isFile() {
		safe.Data = now.Data
	}
	if attr {
		safe.Mode, safe.UID, safe.GID = now.Mode, now.UID, now.GID
	}
	m.part[ino] = slices.DeleteFunc(m.part[ino], func(o Op) bool { return attr || o.Kind != Attr })
	if len(m.part[ino]) == 0 {
		delete(m.part, ino)
	}
	var left []Op
	for _, o := range m.open {
		if o.Dir == ino || o.Kind == Rename && o.NewDir == ino {
			m.safe.name(o)
		} else {
			left = append(left, o)
		}
	}
	m.open = left
}

func (t tree) clone() tree {
	out := make(tree, len(t))
	for ino, n := range t {
		out[ino] = n.clone()
	}
	return out
}

func (n *node) clone() *node {
	c := *n
	c.Names = maps.Clone(n.Names)
	return &c
}

func sorted[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
