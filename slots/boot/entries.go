package boot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Limits of boot loader entries.
const (
	maxEntries = 1024     // files in their directory
	maxEntry   = 64 << 10 // bytes of one
	maxRank    = 1<<31 - 2
)

// EntriesConfig says where systemd-boot's entries are.
type EntriesConfig struct {
	Dir    string // loader/entries on the EFI system partition
	Prefix string // of our entries' names, lower case; empty: "slipstream"
	Lock   string // a file that is locked meanwhile; empty: DefaultStateLock
	Disk   Disk   // nil: the real one
}

// NewEntries returns the boot loader state in the names of systemd-boot's
// entries. Each slot has one, PREFIX-RANK-SLOT.conf, with +LEFT or +LEFT-DONE
// before the dot for one on trial, and .off in place of .conf for one that is
// not bootable.
func NewEntries(c EntriesConfig) (Control, error) {
	c.Prefix, c.Lock = cmp.Or(c.Prefix, "slipstream"), cmp.Or(c.Lock, DefaultStateLock)
	if !regexp.MustCompile(`^[a-z][a-z0-9]*$`).MatchString(c.Prefix) {
		return nil, fmt.Errorf("boot: the entries' prefix %q is not of small letters and digits", c.Prefix)
	}
	if c.Disk == nil {
		c.Disk = realDisk{}
	}
	return control{&entries{c}}, nil
}

// entries is the backend in the names of files.
type entries struct{ EntriesConfig }

var _ backend = (*entries)(nil)

// entry is what the name of one says.
type entry struct {
	name string // as it is in the directory
	slot string
	rank int  // systemd-boot starts the one with the highest
	left int  // tries; -1: not counted
	done int  // tries used up; -1: not said
	off  bool // systemd-boot does not see it
}

var entryPattern = regexp.MustCompile(`^([a-z][a-z0-9]*)-([0-9]{1,10})-([ab])(?:\+([0-9]{1,9})(?:-([0-9]{1,9}))?)?\.(conf|off)$`)

// parseEntry takes a name apart. FAT does not tell upper from lower case.
func parseEntry(prefix, name string) (entry, bool) {
	m := entryPattern.FindStringSubmatch(strings.ToLower(name))
	if m == nil || m[1] != prefix {
		return entry{}, false
	}
	e := entry{name: name, slot: m[3], left: -1, done: -1, off: m[6] == "off"}
	rank, err := strconv.ParseInt(m[2], 10, 32)
	if err != nil || rank > maxRank {
		return entry{}, false
	}
	e.rank = int(rank)
	if m[4] != "" {
		e.left, _ = strconv.Atoi(m[4]) // nine digits
	}
	if m[5] != "" {
		e.done, _ = strconv.Atoi(m[5])
	}
	return e, true
}

// file is the name that says so.
func (e entry) file(prefix string) string {
	name := fmt.Sprintf("%s-%d-%s", prefix, e.rank, e.slot)
	if e.left >= 0 {
		name += "+" + strconv.Itoa(e.left)
	}
	if e.left >= 0 && e.done >= 0 {
		name += "-" + strconv.Itoa(e.done)
	}
	if e.off {
		return name + ".off"
	}
	return name + ".conf"
}

// compare puts first what systemd-boot starts: what has no tries left comes
// last, and among the others the higher name comes first.
func (e entry) compare(f entry) int {
	return cmp.Or(order(e.off, f.off), order(e.left == 0, f.left == 0), -cmp.Compare(e.rank, f.rank), cmp.Compare(e.left, f.left))
}

func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// list returns our entries by slot, each slot's best first. More than one is
// what a power cut leaves within a rename, which FAT does in two steps.
func (s *entries) list() (map[string][]entry, error) {
	if err := s.checkDefault(); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(s.Dir)
	if err != nil {
		return nil, err
	}
	if len(files) > maxEntries {
		return nil, fmt.Errorf("%s holds more than %d files", s.Dir, maxEntries)
	}
	all := make(map[string][]entry)
	for _, f := range files {
		if e, ours := parseEntry(s.Prefix, f.Name()); ours {
			all[e.slot] = append(all[e.slot], e)
		}
	}
	for _, of := range all {
		slices.SortFunc(of, entry.compare)
	}
	return all, nil
}

// checkDefault refuses a loader.conf by which something else than the order of
// our entries' names decides.
func (s *entries) checkDefault() error {
	name := filepath.Join(filepath.Dir(s.Dir), "loader.conf")
	raw, err := readSmall(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	value, found := setting(raw, "default")
	if want := s.Prefix + "-*"; found && value != want {
		return fmt.Errorf("%s says \"default %s\", with which a trial would not be started or not be ended: make it \"default %s\"", name, value, want)
	}
	return nil
}

func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxEntry {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", name, maxEntry)
	}
	return os.ReadFile(name)
}

// setting returns the value of the last line that begins with key.
func setting(text []byte, key string) (value string, found bool) {
	for line := range bytes.Lines(text) {
		if fields := strings.Fields(string(line)); len(fields) > 1 && fields[0] == key {
			value, found = fields[1], true
		}
	}
	return value, found
}

func (s *entries) read() (view, error) {
	all, err := s.list()
	if err != nil {
		return view{}, err
	}
	v := view{ok: make(map[string]bool), left: map[string]int{"a": -1, "b": -1}}
	var seen []entry
	for slot, of := range all {
		best := of[0]
		v.left[slot] = best.left
		if best.off {
			continue
		}
		if err := s.checkSortKey(best); err != nil {
			return view{}, err
		}
		v.ok[slot] = best.left != 0
		seen = append(seen, best)
	}
	if len(seen) == 0 {
		return view{}, ErrNoState
	}
	slices.SortFunc(seen, entry.compare)
	v.good = seen[0].slot
	if seen[0].left > 0 && len(seen) == 2 {
		v.trial, v.good = seen[0].slot, seen[1].slot
	}
	return v, nil
}

func (s *entries) checkSortKey(e entry) error {
	raw, err := readSmall(filepath.Join(s.Dir, e.name))
	if err != nil {
		return err
	}
	if _, found := setting(raw, "sort-key"); found {
		return fmt.Errorf("%s has a sort-key, by which systemd-boot orders it before its name: remove the line", e.name)
	}
	return nil
}

// write changes at most two names. What must not be started goes first, so that
// the state between the two is the one before without its trial.
func (s *entries) write(v view) error {
	all, err := s.list()
	if err != nil {
		return err
	}
	changed := false
	rest := other(v.good)
	steps := []string{v.good, rest}
	if !v.ok[rest] {
		steps = []string{rest, v.good}
	}
	for _, slot := range steps {
		wrote, err := s.settle(v, slot, all)
		if err != nil {
			return err
		}
		changed = changed || wrote
	}
	if !changed {
		return nil
	}
	return s.check(v)
}

func (s *entries) check(v view) error {
	got, err := s.read()
	if err != nil {
		return err
	}
	if got.good != v.good || got.trial != v.trial {
		return fmt.Errorf("%s did not keep what was written: its storage is failing", s.Dir)
	}
	return nil
}

// settle gives a slot's entry the name that the view asks for.
func (s *entries) settle(v view, slot string, all map[string][]entry) (changed bool, err error) {
	of := all[slot]
	if len(of) == 0 && !v.ok[slot] {
		return false, nil
	}
	if len(of) == 0 {
		return false, fmt.Errorf("slot %s has no entry in %s: put %s-0-%s.off there", slot, s.Dir, s.Prefix, slot)
	}
	want, err := wanted(v, of[0], all[other(slot)])
	if err != nil {
		return false, err
	}
	want.name = want.file(s.Prefix)
	all[slot] = []entry{want}
	if len(of) == 1 && of[0].name == want.name {
		return false, nil
	}
	return true, s.move(of, want.name)
}

// wanted keeps the rank where it serves.
func wanted(v view, e entry, rest []entry) (entry, error) {
	above := 0
	if len(rest) > 0 && !rest[0].off {
		above = rest[0].rank + 1
	}
	if above > maxRank {
		return entry{}, errors.New("the entries' ranks are used up: rename them to 1 and 0")
	}
	switch {
	case !v.ok[e.slot]:
		e.off, e.left, e.done = true, -1, -1
		return e, nil
	case e.slot == v.trial:
		e.rank, e.left, e.done = max(e.rank, above), 1, -1
	case e.slot == v.good && v.trial == "":
		e.rank, e.left, e.done = max(e.rank, above), -1, -1
	default:
		e.left, e.done = -1, -1
	}
	e.off = false
	return e, nil
}

// move gives the first of a slot's files its new name. Where there are more,
// they may share their clusters on a FAT, so that the content is written anew.
func (s *entries) move(of []entry, name string) error {
	path := func(name string) string { return filepath.Join(s.Dir, name) }
	if len(of) == 1 {
		if err := s.Disk.Rename(path(of[0].name), path(name)); err != nil {
			return err
		}
		return s.Disk.SyncDir(s.Dir)
	}
	raw, err := readSmall(path(of[0].name))
	if err != nil {
		return err
	}
	if err := replace(s.Disk, path(name), raw); err != nil {
		return err
	}
	for _, e := range of {
		if e.name == name {
			continue
		}
		if err := s.Disk.Remove(path(e.name)); err != nil {
			return err
		}
	}
	return s.Disk.SyncDir(s.Dir)
}

// make starts from the entries that are there, all of them off.
func (s *entries) make(v view) error { return s.write(v) }

func (s *entries) lock() (func(), error) { return lockFile(s.Lock, DefaultWait) }
