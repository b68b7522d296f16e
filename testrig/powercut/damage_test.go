package powercut

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/slots"
)

// Whatever of a device is damaged is noticed, and named.
func TestDamageIsSeen(t *testing.T) {
	t.Parallel()
	s := newSmall(t, "")
	d, err := openDisk(s.base)
	must(t, err)
	defer d.close()
	look, err := newLooker(s.dir)
	must(t, err)
	copies := func(of string) []int64 { return places(d.bytes, []byte(of)) }
	boot, a, b := d.parts["ubstate"].from, d.parts["system-a"].from, d.parts["system-b"].from
	for name, c := range map[string]struct {
		at   []int64 // of bytes that are changed
		want string  // "": nothing is wrong
	}{
		"nothing":                    {nil, ""},
		"the table":                  {[]int64{Sector + 60}, "table of partitions"},
		"the table's entries":        {[]int64{2*Sector + 60}, "table of partitions"},
		"one copy of the boot state": {[]int64{boot + 10}, ""},
		"both":                       {[]int64{boot + 10, boot + 4096 + 10}, "the boot loader's state"},
		"system a":                   {[]int64{a + 5}, "system slot a says"},
		"system b":                   {[]int64{b + 384<<10 - 1}, "system slot b says"},
		"behind system b":            {[]int64{b + 384<<10}, ""},
		"one copy of the record":     {copies("SLIPREC\n")[:1], ""},
		"both of the record":         {copies("SLIPREC\n"), "no copy is readable"},
		"the superblock":             {[]int64{d.parts["data"].from + 1024 + 0x38}, "mount the data partition"},
	} {
		state := &State{d, sectors{}}
		for _, at := range c.at {
			n := at / Sector
			if state.over[n] == nil {
				state.over[n] = bytes.Clone(d.bytes[n*Sector:][:Sector])
			}
			state.over[n][at%Sector] ^= 0x20
		}
		_, err := look.look(s.ctx, state)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	rest, err := filepath.Glob(filepath.Join(s.dir, "boot*"))
	if err != nil || len(rest) > 0 {
		t.Errorf("%q were left behind, %v", rest, err)
	}
}

// places are where something stands on a disk, in blocks that are in use.
func places(disk, what []byte) (all []int64) {
	for at := 0; ; at++ {
		i := bytes.Index(disk[at:], what)
		if i < 0 {
			return all
		}
		at += i
		all = append(all, int64(at))
	}
}

// A device must say what its story allows, and nothing else.
func TestStory(t *testing.T) {
	t.Parallel()
	story := Story{
		Permanent: []Permanent{{"1.0.0", "1.0.0"}, {"1.0.0", "2.0.0"}, {"2.0.0", "2.0.0"}},
		Marks:     []Mark{{0, 0, 0, true}, {10, 0, 1, true}, {20, 1, 1, true}, {30, 1, 2, false}, {40, 2, 2, true}},
	}
	found := func(system, live, loader string) (f Found) {
		f.Record.System = "b"
		f.Record.Systems = map[string]slots.System{"b": {Version: system}}
		f.Record.Live = map[string]slots.Live{"b": {Version: live}}
		f.Boot.Permanent = loader
		return f
	}
	for _, c := range []struct {
		entries      int
		system, live string
		loader       string
		want         string
	}{
		{9, "1.0.0", "1.0.0", "b", ""},
		{9, "1.0.0", "2.0.0", "b", "without a greenlight"},
		{10, "1.0.0", "2.0.0", "b", ""},
		{19, "1.0.0", "1.0.0", "b", ""},
		{20, "1.0.0", "1.0.0", "b", "before the power failed"},
		{20, "1.0.0", "3.0.0", "b", "never was"},
		{30, "2.0.0", "2.0.0", "a", ""},
		{40, "2.0.0", "2.0.0", "a", "for the boot loader a is"},
		{99, "2.0.0", "2.0.0", "b", ""},
	} {
		_, err := story.judge(story.after(c.entries), found(c.system, c.live, c.loader))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// FuzzReadLog: whatever a file holds, it is read or refused, within bounds.
func FuzzReadLog(f *testing.F) {
	f.Add(logOf(Entry{Off: Sector, Len: Sector, at: 1}, Entry{Flush: true}, Entry{Len: Sector, Discard: true}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := ReadLog(bytes.NewReader(raw))
		if err != nil {
			return
		}
		for _, e := range l.Entries {
			if e.Off < 0 || e.Len < 0 || !e.Discard && e.Len > maxWrite {
				t.Errorf("entry %+v", e)
			}
		}
	})
}
