package agent

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// memfd is a new one with this content and these seals.
func memfd(t interface{ Fatal(...any) }, content []byte, seals int) *os.File {
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "state")
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	return f
}

// box is what a device keeps of two apps, and what it should keep.
type box struct {
	*rapid.T
	states    *states
	data      dataDirs
	permanent string
	trial     string                 // "" without one
	want      map[string][2]([]byte) // state and data of each slot
	none      map[string]bool        // no state was ever handed over
}

func (b *box) must(err error) {
	if err != nil {
		b.Fatal(err)
	}
}

// write is a version at work: it counts in its state, in its data, or in both.
func (b *box) write(slot string) {
	w := b.want[slot]
	if rapid.Bool().Draw(b.T, "state") {
		w[0] = rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(b.T, "content")
		f := memfd(b, w[0], stateSeals)
		b.must(b.states.put(slot, "schema-"+slot, int(f.Fd())))
		f.Close()
		b.none[slot] = false
	}
	if rapid.Bool().Draw(b.T, "data") {
		w[1] = rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(b.T, "file")
		draft := filepath.Join(b.data.of(slot), "new")
		b.must(os.WriteFile(draft, w[1], 0o600))
		b.must(os.Rename(draft, filepath.Join(b.data.of(slot), "count")))
	}
	b.want[slot] = w
}

// spoil hands over what must be refused.
func (b *box) spoil(slot string) {
	seals := rapid.SampledFrom([]int{0, unix.F_SEAL_WRITE, unix.F_SEAL_WRITE | unix.F_SEAL_GROW, unix.F_SEAL_GROW | unix.F_SEAL_SHRINK, unix.F_SEAL_FUTURE_WRITE}).Draw(b.T, "seals")
	f := memfd(b, []byte("torn"), seals)
	defer f.Close()
	if b.states.put(slot, "schema", int(f.Fd())) == nil {
		b.Fatalf("a memfd with the seals %#x was taken", seals)
	}
}

func (b *box) begin() {
	b.trial = map[string]string{"a": "b", "b": "a"}[b.permanent]
	b.must(b.data.snapshot(context.Background(), b.permanent, b.trial, mostData, unowned))
	b.must(b.states.snapshot(b.permanent, b.trial))
	b.want[b.trial], b.none[b.trial] = b.want[b.permanent], b.none[b.permanent]
}

func (b *box) end(kept bool) {
	if kept {
		b.permanent, b.trial = b.trial, ""
		return
	}
	b.must(b.data.drop(b.trial, b.permanent))
	b.must(b.states.drop(b.trial, b.permanent))
	b.trial = ""
}

func (b *box) check(slot string) {
	if slot == "" {
		return
	}
	f, _, err := b.states.memfd(slot)
	b.must(err)
	if b.none[slot] != (f == nil) {
		b.Fatalf("slot %s: state there %v", slot, f != nil)
	}
	if f != nil {
		got, err := io.ReadAll(f)
		b.must(err)
		if size, err := sealedSize(int(f.Fd())); err != nil || size != int64(len(got)) {
			b.Fatalf("what is handed over: %d bytes, %v", size, err)
		}
		f.Close()
		if !bytes.Equal(got, b.want[slot][0]) {
			b.Fatalf("slot %s: state of %d bytes, want %d", slot, len(got), len(b.want[slot][0]))
		}
	}
	got, err := os.ReadFile(filepath.Join(b.data.of(slot), "count"))
	if err != nil && b.want[slot][1] != nil || !bytes.Equal(got, b.want[slot][1]) {
		b.Fatalf("slot %s: data of %d bytes, want %d: %v", slot, len(got), len(b.want[slot][1]), err)
	}
}

// Whatever versions write while they are tried, the permanent one has its own state
// and data to the last bit, under any number of agents.
func TestNoTrialChangesWhatThePermanentVersionHas(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		b := &box{
			T: rt, states: newStates(), data: dataDirs(dir), permanent: "a",
			want: map[string][2][]byte{}, none: map[string]bool{"a": true},
		}
		b.must(b.data.prepare("a", unowned))
		rt.Repeat(map[string]func(*rapid.T){
			"permanent writes": func(*rapid.T) { b.write(b.permanent) },
			"trial writes": func(rt *rapid.T) {
				if b.trial == "" {
					rt.Skip()
				}
				b.write(b.trial)
			},
			"spoil": func(*rapid.T) { b.spoil(b.permanent) },
			"begin": func(rt *rapid.T) {
				if b.trial != "" {
					rt.Skip()
				}
				b.begin()
			},
			"end": func(rt *rapid.T) {
				if b.trial == "" {
					rt.Skip()
				}
				b.end(rapid.Bool().Draw(rt, "kept"))
			},
			"": func(*rapid.T) { b.check(b.permanent); b.check(b.trial) },
		})
	})
}

// newStates keeps nothing elsewhere.
func newStates() *states {
	return &states{keep: func(string, ...int) {}, of: map[string]handed{}}
}

// What the forwarder keeps is, at each moment, what the next agent has to have.
func TestKeptStatesAreTheNextAgents(t *testing.T) {
	kept := map[string]int{}
	defer func() {
		for _, fd := range kept {
			unix.Close(fd)
		}
	}()
	s := newStates()
	s.keep = func(name string, fds ...int) {
		if old, ok := kept[name]; ok {
			unix.Close(old)
			delete(kept, name)
		}
		if len(fds) > 0 {
			own, err := unix.Dup(fds[0])
			if err != nil {
				t.Fatal(err)
			}
			kept[name] = own
		}
	}
	check := func(want map[string]string) {
		t.Helper()
		next := newStates()
		defer next.close()
		for name, fd := range kept {
			if err := next.restore(strings.TrimPrefix(name, keptState), []int{fd}); err != nil {
				t.Errorf("restore %q: %v", name, err)
			}
		}
		got := map[string]string{}
		for _, slot := range slotNames {
			f, schema, err := next.memfd(slot)
			if err != nil {
				t.Fatal(err)
			}
			if f == nil {
				continue
			}
			raw, err := io.ReadAll(f)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			got[slot+"/"+schema] = string(raw)
		}
		if !maps.Equal(got, want) {
			t.Errorf("the next agent has %q, want %q", got, want)
		}
	}
	put := func(slot, schema, content string) {
		t.Helper()
		f := memfd(t, []byte(content), stateSeals)
		defer f.Close()
		if err := s.put(slot, schema, int(f.Fd())); err != nil {
			t.Fatal(err)
		}
	}
	put("a", "one", "1")
	check(map[string]string{"a/one": "1"})
	put("a", "two", "2")
	check(map[string]string{"a/two": "2"})
	put("a", "two", "3")
	if err := s.snapshot("a", "b"); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{"a/two": "3", "b/two": "3"})
	put("b", "three", "4")
	check(map[string]string{"a/two": "3", "b/three": "4"})
	if err := s.drop("b", "a"); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{"a/two": "3"})
	s.remove("a")
	check(map[string]string{})
	if s.restore("c/two", []int{0}) == nil || s.restore("a", []int{0}) == nil || s.restore("a/two", nil) == nil || s.restore("a/two", []int{0}) == nil {
		t.Error("what is no state was taken back")
	}
}

func TestBadDescriptorsAreNoState(t *testing.T) {
	s := newStates()
	large := memfd(t, nil, 0)
	defer large.Close()
	if err := large.Truncate(maxState + 1); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(large.Fd(), unix.F_ADD_SEALS, stateSeals); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for name, f := range map[string]*os.File{"too large": large, "a pipe": r, "a directory": dir} {
		if err := s.put("a", "count", int(f.Fd())); err == nil || s.schema("a") != "" {
			t.Errorf("%s was taken", name)
		}
	}
}
