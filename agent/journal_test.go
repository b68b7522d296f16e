package agent

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"

	"slipstream/agent/control"
)

const (
	journalPage = 4096
	// bitsEvery bytes one bit of a journal is flipped: each bit of a byte comes in turn.
	bitsEvery = 97
)

// aJournal is a journal's file as it lies on disk: with one line, and a count to know
// it by.
func aJournal(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	j, s, _, err := openJournal(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Starts = 17
	if err := j.commit(s, []control.Record{{To: "1.0.0"}}); err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// opened opens a journal's bytes. Whatever they are, the agent has a journal.
func opened(t *testing.T, raw []byte) (s State, lines int, aside bool) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	j, s, fresh, err := openJournal(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	history, err := j.history(10)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.commit(s, []control.Record{{To: "2.0.0"}}); err != nil {
		t.Errorf("nothing can be written to it: %v", err)
	}
	_, err = os.Stat(path + ".broken")
	aside = err == nil
	if aside && (!fresh || len(history) > 0) {
		t.Errorf("what was moved aside is still believed: %+v, %v", s, history)
	}
	return s, len(history), aside
}

// Lines for which the disk has no room are told all the same, and written when it has.
func TestTheHistoryOfAFullDisk(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	full, s, _, err := openJournal(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := full.commit(s, []control.Record{{To: "1.0.0"}}); err != nil {
		t.Fatal(err)
	}
	if err := full.db.Close(); err != nil { // nothing can be written any more
		t.Fatal(err)
	}
	for _, to := range []string{"2.0.0", "3.0.0"} {
		if err := full.commit(s, []control.Record{{To: to}}); err == nil {
			t.Fatal("written to a closed file")
		}
	}
	if full.db, err = bbolt.Open(filepath.Join(dir, "journal.db"), 0o600, nil); err != nil {
		t.Fatal(err)
	}
	told := func() (lines []string) {
		history, err := full.history(10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range history {
			lines = append(lines, r.To)
		}
		return lines
	}
	want := []string{"3.0.0", "2.0.0", "1.0.0"}
	if got := told(); !slices.Equal(got, want) {
		t.Errorf("told %v before they are written", got)
	}
	if err := full.commit(s, nil); err != nil {
		t.Fatal(err)
	}
	if err := full.close(); err != nil {
		t.Fatal(err)
	}
	if full, _, _, err = openJournal(dir, log); err != nil {
		t.Fatal(err)
	}
	defer full.close()
	if got := told(); !slices.Equal(got, want) {
		t.Errorf("the next agent tells %v", got)
	}
}

func TestBrokenJournalsAreMovedAside(t *testing.T) {
	whole := aJournal(t)
	if s, lines, aside := opened(t, whole); aside || s.Starts != 17 || lines != 1 {
		t.Fatalf("a whole one: moved aside %v, starts %d, %d lines", aside, s.Starts, lines)
	}
	edit := func(change func(raw []byte)) []byte {
		raw := bytes.Clone(whole)
		change(raw)
		return raw
	}
	tests := map[string]struct {
		raw  []byte
		lost bool // for certain; else it may be whole as well, and is nothing in between
	}{
		"no database":          {bytes.Repeat([]byte("no database "), 1000), true},
		"cut within its head":  {whole[:100], true},
		"of a newer database":  {edit(ofVersion(3)), true},
		"of an older database": {edit(ofVersion(1)), true},
	}
	for page := range len(whole) / journalPage {
		at := page * journalPage
		tests[fmt.Sprintf("page %d flipped", page)] = struct {
			raw  []byte
			lost bool
		}{edit(func(raw []byte) {
			for i := at; i < at+journalPage; i++ {
				raw[i] ^= 0x5a
			}
		}), false}
		if page > 0 {
			tests[fmt.Sprintf("cut before page %d", page)] = struct {
				raw  []byte
				lost bool
			}{whole[:at], false}
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, lines, aside := opened(t, test.raw)
			if test.lost && !aside {
				t.Error("it was believed")
			}
			if !aside && lines == 1 && s.Starts != 17 {
				t.Errorf("starts %d, with the history of 17", s.Starts)
			}
		})
	}
}

// ofVersion writes another version of the database's format into both of its heads,
// with the sum that makes them good.
func ofVersion(version uint32) func(raw []byte) {
	const head, magic, sum, size = 16, 0, 56, 64
	return func(raw []byte) {
		for page := range 2 {
			meta := raw[page*journalPage+head:][:size]
			binary.NativeEndian.PutUint32(meta[magic+4:], version)
			h := fnv.New64a()
			h.Write(meta[:sum])
			binary.NativeEndian.PutUint64(meta[sum:], h.Sum64())
		}
	}
}

// One bit that was flipped may be anywhere, and costs at most the journal.
func TestAFlippedBitOfAJournal(t *testing.T) {
	whole := aJournal(t)
	lost := 0
	for i := 0; i < len(whole); i += bitsEvery {
		raw := bytes.Clone(whole)
		raw[i] ^= 1 << (i / bitsEvery % 8)
		if _, _, aside := opened(t, raw); aside {
			lost++
		}
	}
	t.Logf("of %d bits %d cost the journal", (len(whole)+bitsEvery-1)/bitsEvery, lost)
}

// What a newer agent has added is not looked at. What it has made of another kind costs
// the journal, and never the start.
func TestJournalsOfANewerAgent(t *testing.T) {
	for name, test := range map[string]struct {
		state string
		lost  bool
	}{
		"more of it":   {`{"starts":17,"telepathy":{"range":3}}`, false},
		"another kind": {`{"starts":{"today":17}}`, true},
		"no JSON":      {"\x01\x02", true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			if err := os.WriteFile(path, aJournal(t), 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(func(tx *bbolt.Tx) error {
				if _, err := tx.CreateBucketIfNotExists([]byte("dreams")); err != nil {
					return err
				}
				return tx.Bucket(stateBucket).Put(stateKey, []byte(test.state))
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if s, lines, aside := opened(t, raw); aside != test.lost || !aside && (s.Starts != 17 || lines != 1) {
				t.Errorf("moved aside %v, starts %d, %d lines", aside, s.Starts, lines)
			}
		})
	}
}
