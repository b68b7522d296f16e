package slots_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/slots"
)

// runtimePlace is a device whose permanent programs are those of slot b.
func runtimePlace(t *testing.T) (slots.RuntimePlace, *slots.RecordFile) {
	t.Helper()
	p := slots.RuntimePlace{Record: t.TempDir(), Slots: t.TempDir(), BuiltIn: "/usr/lib/slipstream"}
	s := openDir(t, p.Slots)
	if err := stage(t.Context(), s, "b", content(sample(t))); err != nil {
		t.Fatal(err)
	}
	r := permanent("a", 7)
	r.Runtime = map[string]slots.Runtime{"a": {Slot: "b", Digest: "d1", Version: "1.0.0", Counter: 3}}
	f := openRecord(t, p.Record)
	replace(t, f, r)
	return p, f
}

// The slots stay open as they are beside a running agent.
func TestRuntimeIsThePermanentOne(t *testing.T) {
	p, _ := runtimePlace(t)
	want := slots.FoundRuntime{Dir: filepath.Join(p.Slots, "b", "root"), Version: "1.0.0"}
	for _, p.System = range []string{"", "a"} {
		if got := p.Runtime(t.Context()); got != want {
			t.Errorf("system %q: got %+v, want %+v", p.System, got, want)
		}
	}
}

func TestRuntimeFallsBackToTheBuiltIn(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(t *testing.T, p *slots.RuntimePlace, f *slots.RecordFile) error
		want   error  // the reason is this one …
		says   string // … or says so
	}{
		{"the device has returned to it", func(t *testing.T, _ *slots.RuntimePlace, f *slots.RecordFile) error {
			r, err := f.Load()
			r.Runtime["a"] = slots.Runtime{Version: "built-in", Counter: 3}
			return errors.Join(err, f.Replace(r))
		}, slots.ErrNoRuntime, ""},
		{"a new device", func(t *testing.T, p *slots.RuntimePlace, _ *slots.RecordFile) error {
			p.Record = t.TempDir()
			return nil
		}, slots.ErrNoRecord, ""},
		{"a lost record", func(_ *testing.T, p *slots.RuntimePlace, _ *slots.RecordFile) error {
			return errors.Join(os.Truncate(filepath.Join(p.Record, "record.0"), 9), os.Truncate(filepath.Join(p.Record, "record.1"), 9))
		}, slots.ErrRecordLost, ""},
		{"no state directory", func(_ *testing.T, p *slots.RuntimePlace, _ *slots.RecordFile) error {
			return os.RemoveAll(p.Record)
		}, os.ErrNotExist, ""},
		{"the other system slot", func(_ *testing.T, p *slots.RuntimePlace, _ *slots.RecordFile) error {
			p.System = "b"
			return nil
		}, nil, "no other version was ever made permanent with this system"},
		{"an empty slot", func(_ *testing.T, p *slots.RuntimePlace, _ *slots.RecordFile) error {
			return os.Remove(filepath.Join(p.Slots, "b", "state.json"))
		}, slots.ErrNotStaged, ""},
		{"a slot that does not exist", func(_ *testing.T, _ *slots.RuntimePlace, f *slots.RecordFile) error {
			return f.Replace(slots.Record{System: "a", Runtime: map[string]slots.Runtime{"a": {Slot: "../b", Digest: "d1"}}})
		}, nil, "there is no slot"},
		{"another package", func(_ *testing.T, _ *slots.RuntimePlace, f *slots.RecordFile) error {
			return f.Replace(slots.Record{System: "a", Runtime: map[string]slots.Runtime{"a": {Slot: "b", Digest: "d2", Version: "2.0.0"}}})
		}, slots.ErrDamaged, "holds version 1.0.0, and not 2.0.0"},
		{"a changed program", func(_ *testing.T, p *slots.RuntimePlace, _ *slots.RecordFile) error {
			return os.WriteFile(filepath.Join(p.Slots, "b", "root", "app"), []byte("#!/bin/zz\n"), 0o755)
		}, slots.ErrDamaged, ""},
		{"no slots", func(_ *testing.T, p *slots.RuntimePlace, _ *slots.RecordFile) error {
			return os.RemoveAll(p.Slots)
		}, os.ErrNotExist, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, f := runtimePlace(t)
			if err := row.change(t, &p, f); err != nil {
				t.Fatal(err)
			}
			got := p.Runtime(t.Context())
			if got.Dir != p.BuiltIn || got.Version != "" || got.Reason == nil ||
				row.want != nil && !errors.Is(got.Reason, row.want) || !strings.Contains(got.Reason.Error(), row.says) {
				t.Errorf("got %+v", got)
			}
		})
	}
	t.Run("no time to read it all", func(t *testing.T) {
		p, _ := runtimePlace(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := p.Runtime(ctx); got.Dir != p.BuiltIn || !errors.Is(got.Reason, context.Canceled) {
			t.Errorf("got %+v", got)
		}
	})
}
