package powercut

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// State is one that a disk may be found in after a power cut.
type State struct {
	files  tree
	parts  []part // what was not flushed
	digits [][]int
}

// String says what became of everything that was not flushed.
func (s *State) String() string {
	var story []string
	for i, p := range s.parts {
		story = append(story, fmt.Sprintf("%s: %s", fate(p, s.digits[i]), p.what()))
	}
	return strings.Join(story, "\n")
}

// part is one change of names, or one file, that is not certain. Its digits say
// what became of it: 0 is nothing, the highest is all.
type part struct {
	what   func() string
	digits []int // how many values each has
	apply  func(t tree, digits []int)
}

// parts lists what is not certain.
func (m *model) parts() (all []part) {
	for i, o := range m.open {
		all = append(all, part{what: o.String, digits: []int{2}, apply: func(t tree, d []int) {
			if d[0] == 1 {
				t.name(m.open[i])
			}
		}})
	}
	var inos []uint64
	for ino := range m.part {
		inos = append(inos, ino)
	}
	slices.Sort(inos)
	for _, ino := range inos {
		if p := filePart(ino, m.safe[ino], m.part[ino]); len(p.digits) > 0 {
			all = append(all, p)
		}
	}
	return all
}

// filePart makes the digits of a file: its attributes, its length, and each sector
// that is not the same in all versions.
func filePart(ino uint64, safe *node, ops []Op) part {
	attrs, versions := []node{*safe}, [][]byte{safe.Data}
	for _, o := range ops {
		newest := versions[len(versions)-1]
		switch o.Kind {
		case Attr:
			attrs = append(attrs, node{Mode: o.Mode, UID: o.UID, GID: o.GID})
		case Write:
			versions = append(versions, written(newest, o))
		case Resize:
			versions = append(versions, resized(newest, o.Off))
		}
	}
	var sizes []int
	for _, v := range versions {
		sizes = slices.DeleteFunc(sizes, func(n int) bool { return n == len(v) })
		sizes = append(sizes, len(v)) // the newest last
	}
	p := part{what: func() string { return "content of " + ops[len(ops)-1].Path }}
	var sectors [][][]byte // what each may hold
	var at []int
	for off := 0; off < slices.Max(sizes); off += sector {
		var held [][]byte
		for _, v := range versions {
			now := sectorOf(v, off)
			held = slices.DeleteFunc(held, func(b []byte) bool { return bytes.Equal(b, now) })
			held = append(held, now)
		}
		if len(held) > 1 || !bytes.Equal(held[0], sectorOf(safe.Data, off)) {
			sectors, at = append(sectors, held), append(at, off)
			p.digits = append(p.digits, len(held))
		}
	}
	for _, n := range []int{len(sizes), len(attrs)} {
		if n > 1 {
			p.digits = append(p.digits, n)
		}
	}
	p.apply = func(t tree, d []int) {
		n := t[ino]
		n.sum = nil
		if len(attrs) > 1 {
			a := attrs[d[len(d)-1]]
			n.Mode, n.UID, n.GID = a.Mode, a.UID, a.GID
			d = d[:len(d)-1]
		}
		size := sizes[0]
		if len(sizes) > 1 {
			size = sizes[d[len(d)-1]]
		}
		data := resized(safe.Data, int64(slices.Max(sizes)+sector))
		for i, off := range at {
			copy(data[off:], sectors[i][d[i]])
		}
		n.Data = data[:size]
	}
	return p
}

// sectorOf is a sector of a file, filled up with zeros.
func sectorOf(data []byte, off int) []byte {
	out := make([]byte, sector)
	if off < len(data) {
		copy(out, data[off:])
	}
	return out
}

// borders are how the choice begins where not all can be tried.
func borders(parts []part) (all [][]int) {
	none, every := make([]int, len(parts)), slices.Repeat([]int{keepAll}, len(parts))
	all = append(all, none, every)
	for i := range parts {
		one, but := slices.Clone(none), slices.Clone(every)
		one[i], but[i] = keepAll, keepNone
		all = append(all, but, one)
	}
	return all
}

// What is to become of a part.
const (
	keepNone = iota
	keepAll
	keepSome // each digit at random
)

// states calls yield with at most limit states, or all if they are fewer.
func (m *model) states(limit int, r *rand.Rand, yield func(*State) error) error {
	parts := m.parts()
	for _, n := range m.safe {
		n.own() // once for all states
	}
	if total := count(parts, limit); total <= limit {
		digits := zeroDigits(parts)
		for range total {
			if err := yield(m.build(parts, digits)); err != nil {
				return err
			}
			next(parts, digits)
		}
		return nil
	}
	first := borders(parts)
	for i := range limit {
		how := make([]int, len(parts))
		if i < len(first) {
			how = first[i]
		} else {
			for j := range how {
				how[j] = r.IntN(3)
			}
		}
		if err := yield(m.build(parts, draw(parts, how, r))); err != nil {
			return err
		}
	}
	return nil
}

// count is how many states there are, or more than limit.
func count(parts []part, limit int) int {
	total := 1
	for _, p := range parts {
		for _, n := range p.digits {
			if total *= n; total > limit {
				return total
			}
		}
	}
	return total
}

func zeroDigits(parts []part) [][]int {
	digits := make([][]int, len(parts))
	for i, p := range parts {
		digits[i] = make([]int, len(p.digits))
	}
	return digits
}

// next counts up.
func next(parts []part, digits [][]int) {
	for i, p := range parts {
		for j, n := range p.digits {
			if digits[i][j]++; digits[i][j] < n {
				return
			}
			digits[i][j] = 0
		}
	}
}

func draw(parts []part, how []int, r *rand.Rand) [][]int {
	digits := zeroDigits(parts)
	for i, p := range parts {
		for j, n := range p.digits {
			switch how[i] {
			case keepAll:
				digits[i][j] = n - 1
			case keepSome:
				digits[i][j] = r.IntN(n)
			}
		}
	}
	return digits
}

// build makes a state of what is certain and of what has become of the rest.
func (m *model) build(parts []part, digits [][]int) *State {
	m.follow(digits)
	s := &State{files: m.safe.clone(), parts: parts}
	for i, p := range parts {
		p.apply(s.files, digits[i])
		s.digits = append(s.digits, slices.Clone(digits[i]))
	}
	return s
}

// follow keeps what another change that is kept could not be without: what moved
// away from the name that it takes, and the file's own moves before.
func (m *model) follow(digits [][]int) {
	for j := len(m.open) - 1; j > 0; j-- {
		if digits[j][0] == 0 {
			continue
		}
		for i, earlier := range m.open[:j] {
			if earlier.Kind == Rename && (m.open[j].takes(earlier.Dir, earlier.Name) || m.open[j].Kind == Rename && m.open[j].Ino == earlier.Ino) {
				digits[i][0] = 1
			}
		}
	}
}

// takes says whether an operation puts something under a name.
func (o Op) takes(dir uint64, name string) bool {
	switch o.Kind {
	case Create, Link:
		return o.Dir == dir && o.Name == name
	case Rename:
		return o.NewDir == dir && o.NewName == name
	}
	return false
}

func fate(p part, digits []int) string {
	none, all := true, true
	for i, d := range digits {
		none, all = none && d == 0, all && d == p.digits[i]-1
	}
	switch {
	case none:
		return "lost"
	case all:
		return "kept"
	}
	return fmt.Sprintf("torn %v", digits)
}

// Hash names what is on the disk.
func (s *State) Hash() [sha256.Size]byte { return s.hash(rootIno) }

func (s *State) hash(ino uint64) [sha256.Size]byte {
	n := s.files[ino]
	if !n.isDir() {
		return *n.own()
	}
	sum := sha256.New()
	sum.Write(n.own()[:])
	for _, name := range sorted(n.Names) {
		below := s.hash(n.Names[name])
		fmt.Fprintf(sum, "%q%x", name, below)
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// Write makes the state a plain directory, which must be empty.
func (s *State) Write(dir string) error {
	if err := s.write(rootIno, dir, map[uint64]string{}); err != nil {
		return fmt.Errorf("powercut: write a state: %w", err)
	}
	return nil
}

func (s *State) write(ino uint64, path string, seen map[uint64]string) error {
	n := s.files[ino]
	if other, ok := seen[ino]; ok && !n.isDir() {
		return os.Link(other, path)
	}
	seen[ino] = path
	var err error
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err = os.Mkdir(path, 0o700); errors.Is(err, fs.ErrExist) {
			err = nil
		}
		for _, name := range sorted(n.Names) {
			if err == nil {
				err = s.write(n.Names[name], filepath.Join(path, name), seen)
			}
		}
	case unix.S_IFLNK:
		return errors.Join(os.Symlink(string(n.Data), path), os.Lchown(path, int(n.UID), int(n.GID)))
	case unix.S_IFREG:
		err = os.WriteFile(path, n.Data, 0o600)
	default:
		err = unix.Mknod(path, n.Mode, 0)
	}
	if err != nil {
		return err
	}
	return errors.Join(os.Lchown(path, int(n.UID), int(n.GID)), unix.Chmod(path, n.Mode&^unix.S_IFMT))
}
