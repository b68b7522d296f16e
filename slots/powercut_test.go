package slots_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"slipstream/slots"
	"slipstream/slots/powercut"
)

// life is what a device does with its slots and its active record while the power
// may fail.
type life struct {
	*testing.T
	place  place
	disk   *powercut.Disk
	dir    string // of the slots and the record
	set    *slots.Set
	record *slots.RecordFile
}

// newLife lays out a new device: its partitions hold something old.
func newLife(t *testing.T, p place) *life {
	l := &life{T: t, place: p, disk: powercut.New(t, nil)}
	l.dir = l.disk.Dir
	for _, path := range partitionsOf(p, l.disk.Dir) {
		l.must(os.WriteFile(path, bytes.Repeat([]byte("old "), 4096), 0o600))
	}
	l.must(l.disk.Settle())
	return l
}

// partitionsOf are files, on the same disk, that stand for partitions.
func partitionsOf(p place, dir string) map[string]string {
	if !p.partition {
		return nil
	}
	return map[string]string{"a": filepath.Join(dir, "part.a"), "b": filepath.Join(dir, "part.b")}
}

func openSlots(p place, dir string) (*slots.Set, error) {
	return slots.Open(filepath.Join(dir, "slots"), slots.Options{Partitions: partitionsOf(p, dir)})
}

func (l *life) open() {
	set, err := openSlots(l.place, l.dir)
	l.must(err)
	l.Cleanup(func() { set.Close() })
	l.set, l.record = set, openRecord(l, l.dir)
}

func (l *life) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *life) say(format string, args ...any) { l.must(l.disk.Mark(fmt.Sprintf(format, args...))) }

func (l *life) stage(slot string, v int) {
	l.say("stages %s %d", slot, v)
	l.must(stage(l.Context(), l.set, slot, release(l, l.place, v)))
	l.say("staged %s %d", slot, v)
}

func (l *life) commit(slot string, v int) {
	l.say("commits %s %d", slot, v)
	l.must(l.record.Replace(permanentRelease(slot, v)))
	l.say("committed %s %d", slot, v)
}

// halfCommit commits when the disk fails after the first copy of the record.
func (l *life) halfCommit(slot string, v int) {
	const firstCopy = 5 // create, write, flush, rename, flush the directory
	l.must(l.disk.Fail(powercut.Fault{At: firstCopy + 1, Errno: syscall.EIO, Stays: true}))
	l.say("commits %s %d half", slot, v)
	l.must(l.record.Replace(permanentRelease(slot, v)))
	l.say("committed %s %d", slot, v)
}

// refuse stages what is not the signed version; the slot is empty then.
func (l *life) refuse(slot string, v int) {
	c := release(l, l.place, v)
	c.SHA256[0] ^= 1
	l.say("stages %s 0", slot)
	if err := stage(l.Context(), l.set, slot, c); !errors.Is(err, slots.ErrContent) {
		l.Fatal(err)
	}
	l.say("staged %s 0", slot)
}

// interrupt stages until the source fails. Of a tree all of clips/one is written
// then, but not what fills its last record up, so that it was not flushed.
func (l *life) interrupt(slot string, v int) {
	const padding = 3500
	c, broken := release(l, l.place, v), errors.New("the stick is gone")
	c.Image = interrupted{c.Image, padding, broken}
	l.say("stages %s 0", slot)
	if err := stage(l.Context(), l.set, slot, c); !errors.Is(err, broken) {
		l.Fatal(err)
	}
	l.say("staged %s 0", slot)
}

// interrupted is a source that ends in the middle.
type interrupted struct {
	slots.Source
	upTo int64
	err  error
}

func (s interrupted) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	in, err := s.Source.Range(ctx, off, n)
	if err != nil || off >= s.upTo {
		return nil, errors.Join(err, s.err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(in, s.upTo-off), iotest.ErrReader(s.err)), in}, nil
}

// restart ends the process and not the power.
func (l *life) restart() {
	l.must(errors.Join(l.set.Close(), l.record.Close()))
	l.open()
}

func (l *life) clear(slot string) {
	l.say("stages %s 0", slot)
	l.must(l.set.Clear(slot))
	l.say("staged %s 0", slot)
}

// release is a version of which every byte tells it from the others.
func release(t testing.TB, p place, v int) slots.Content {
	raw := []byte(strings.Repeat(fmt.Sprint("sector of ", v), 500))
	if p.kind == slots.KindTree {
		raw = image(t,
			program("app", fmt.Sprintf("#!/bin/sh\necho %d\n", v)),
			directory("clips"),
			file("clips/one", strings.Repeat(fmt.Sprint("frame", v), 200)),
			link("current", "clips/one"),
		)
	}
	c := content(raw)
	c.Kind = p.kind
	c.Digest, c.Version, c.Manifest = fmt.Sprint("digest ", v), fmt.Sprint(v), fmt.Appendf(nil, "bundle of %d", v)
	return c
}

func permanentRelease(slot string, v int) slots.Record {
	return slots.Record{System: "a", Live: map[string]slots.Live{"a": {
		Slot: slot, Digest: fmt.Sprint("digest ", v), Version: fmt.Sprint(v), Counter: int64(v),
	}}}
}

// known is what the device has been told by its own functions.
type known struct {
	permanent map[string]bool            // "slot version" that may be so
	slots     map[string]map[string]bool // versions that a slot may hold; "0" is none that is whole
	oneCopy   bool                       // of the record is new at best
}

func whatIsKnown(told []string) known {
	k := known{permanent: map[string]bool{"none": true}, slots: map[string]map[string]bool{"a": {"0": true}, "b": {"0": true}}}
	for _, word := range told {
		word, half := strings.CutSuffix(word, " half")
		k.oneCopy = k.oneCopy || half
		verb, what, _ := strings.Cut(word, " ")
		slot, version, _ := strings.Cut(what, " ")
		switch verb {
		case "commits":
			k.permanent[what] = true
		case "committed":
			k.permanent = map[string]bool{what: true}
		case "stages":
			k.slots[slot][version], k.slots[slot]["0"] = true, true
		case "staged":
			k.slots[slot] = map[string]bool{version: true}
		}
	}
	return k
}

// restart is what must be true after every power cut.
func restart(t *testing.T, p place, dir string, told []string) (err error) {
	k := whatIsKnown(told)
	set, err := openSlots(p, dir)
	if err != nil {
		return err
	}
	defer set.Close()
	record, err := slots.OpenRecord(dir)
	if err != nil {
		return err
	}
	defer record.Close()
	for _, name := range []string{"a", "b"} {
		if err := wholeOrNot(t, set, name, k.slots[name]); err != nil {
			return err
		}
	}
	live, err := permanentNow(record, k)
	if err != nil {
		return err
	}
	if live.Slot != "" {
		if st, _ := set.Status(live.Slot); st.State != slots.StateStaged || st.Digest != live.Digest {
			return fmt.Errorf("version %s is permanent in slot %s, which holds %+v", live.Version, live.Slot, st)
		}
	}
	if err := errors.Join(eitherCopy(dir, "record.0", k), eitherCopy(dir, "record.1", k)); err != nil {
		return err
	}
	return nextUpdate(t, p, set, record, live.Slot)
}

// eitherCopy loses one copy of the record to a bad block, after the power cut.
func eitherCopy(dir, lost string, k known) error {
	if _, err := os.Stat(filepath.Join(dir, lost)); err != nil || k.oneCopy {
		return nil // there is no other one that must be as new
	}
	other := strings.NewReplacer("0", "1", "1", "0").Replace(lost)
	raw, err := os.ReadFile(filepath.Join(dir, other))
	if errors.Is(err, fs.ErrNotExist) && k.permanent["none"] {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s is all there is: %w", lost, err)
	}
	alone := filepath.Join(dir, "alone")
	if err := os.Mkdir(alone, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(alone)
	if err := os.WriteFile(filepath.Join(alone, other), raw, 0o644); err != nil {
		return err
	}
	record, err := slots.OpenRecord(alone)
	if err != nil {
		return err
	}
	defer record.Close()
	if _, err := permanentNow(record, k); err != nil {
		return fmt.Errorf("without %s: %w", lost, err)
	}
	return nil
}

func wholeOrNot(t *testing.T, set *slots.Set, name string, may map[string]bool) error {
	st, err := set.Status(name)
	if err != nil {
		return err
	}
	switch st.State {
	case slots.StateStaged:
		if !may[st.Version] {
			return fmt.Errorf("slot %s holds version %s, of %v", name, st.Version, may)
		}
		if bundle, err := set.Manifest(name); err != nil || string(bundle) != "bundle of "+st.Version {
			return fmt.Errorf("slot %s: manifest %q, %w", name, bundle, err)
		}
		return set.Verify(t.Context(), name)
	case slots.StateEmpty, slots.StateWriting:
		if !may["0"] {
			return fmt.Errorf("slot %s is %s, and was to hold one of %v", name, st.State, may)
		}
		return nil
	}
	return fmt.Errorf("slot %s is %s", name, st.State)
}

func permanentNow(record *slots.RecordFile, k known) (slots.Live, error) {
	r, err := record.Load()
	if errors.Is(err, slots.ErrNoRecord) && k.permanent["none"] {
		return slots.Live{}, nil
	}
	if err != nil {
		return slots.Live{}, err
	}
	live := r.Live["a"]
	if !k.permanent[live.Slot+" "+live.Version] {
		return live, fmt.Errorf("version %s is permanent in slot %s, of %v", live.Version, live.Slot, k.permanent)
	}
	return live, nil
}

// nextUpdate must work whatever the one before has left behind.
func nextUpdate(t *testing.T, p place, set *slots.Set, record *slots.RecordFile, permanent string) error {
	spare := "a"
	if permanent == "a" {
		spare = "b"
	}
	const next = 9
	if err := stage(t.Context(), set, spare, release(t, p, next)); err != nil {
		return fmt.Errorf("the next update: %w", err)
	}
	if err := record.Replace(permanentRelease(spare, next)); err != nil {
		return fmt.Errorf("the next update: %w", err)
	}
	r, err := record.Load()
	if err != nil || r.Live["a"].Version != fmt.Sprint(next) {
		return fmt.Errorf("after the next update: %+v, %w", r, err)
	}
	return set.Verify(t.Context(), spare)
}

// lives are whole updates, of which every instant is cut.
var lives = []struct {
	name string
	live func(*life)
}{
	{"the first version ever", func(l *life) {
		l.open()
		l.stage("a", 1)
		l.commit("a", 1)
	}},
	{"an update and a revert", func(l *life) {
		l.must(os.Mkdir(filepath.Join(l.disk.Dir, "slots"), 0o755)) // by one who died of it
		l.open()
		l.stage("a", 1)
		l.commit("a", 1)
		l.stage("b", 2)
		l.commit("b", 2)
		l.stage("a", 3) // on trial, and reverted: nothing is written
		l.stage("a", 4)
		l.clear("a")
	}},
	{"an update that is found to be another one, and one that is interrupted", func(l *life) {
		l.open()
		l.stage("a", 1)
		l.commit("a", 1)
		l.stage("b", 2)
		l.refuse("b", 3)
		l.restart()
		l.interrupt("b", 4)
		l.restart()
		l.stage("b", 4)
		l.commit("b", 4)
	}},
	{"a disk that fails after the first copy of the record", func(l *life) {
		l.open()
		l.stage("a", 1)
		l.commit("a", 1)
		l.stage("b", 2)
		l.halfCommit("b", 2)
	}},
}

// TestPowerCut cuts the power at every instant of every life. And it has teeth: of
// each place that flushes, the disk does not hear one flush, and the same checks
// must see that.
func TestPowerCut(t *testing.T) {
	for _, p := range places() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			needed := powercut.Needed{}
			for _, tt := range lives {
				t.Run(tt.name, func(t *testing.T) { cutEverywhere(t, p, tt.live, needed) })
			}
			if err := needed.Check(needless); err != nil {
				t.Error(err)
			}
		})
	}
}

func cutEverywhere(t *testing.T, p place, live func(*life), needed powercut.Needed) {
	l := newLife(t, p)
	live(l)
	log, err := l.disk.Log()
	l.must(err)
	e := &powercut.Explorer{Limit: 32, Restarts: 150, Check: func(dir string, told []string) error { return restart(t, p, dir, told) }}
	if *powercut.Full {
		e.Limit, e.Restarts = 8192, 0
	}
	tally, err := e.Run(log, log.Begin())
	t.Logf("power cut: seed=%d %v, of at most %d states a cut", *powercut.Seed, tally, e.Limit)
	l.must(err)
	if *powercut.Full { // each flush of each life goes unheard once, and not only one of each place
		e.Limit, e.Restarts = 256, 500
	}
	seen, err := e.Unheard(log, needed)
	l.must(err)
	t.Logf("without one flush: %d restarts, %d found bad", seen.Restarts, seen.Bad)
}

// needless are flushes that protect nothing there.
var needless = map[string]string{
	"slots.(*Set).empty < slots.(*writing).run": "the slot says already that it holds nothing whole; Clear needs it",
	"slots.openJournal":                         "how far a stage has come is a hint: each chunk of it is hashed again",
	"slots.(*journal).write":                    "likewise",
}
