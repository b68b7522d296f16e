package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/adminpanel/store/storetest"
	"slipstream/adminpanel/view"
)

func line(i int) view.AuditLine {
	return view.AuditLine{
		Actor: "user ann", From: "10.0.0.7", Action: "device.patch", Object: fmt.Sprint("device cam-", i%3), Detail: "<&> \u2028 \xff ü",
		Before: json.RawMessage(`{"a": [1, 2.50], "b":"<x>"}`), After: audit.Value(map[string]int{"n": i}),
	}
}

// filled returns a log of n lines.
func filled(t testing.TB, s store.Store, n int) *audit.Log {
	t.Helper()
	l := audit.New(s)
	for i := range n {
		if err := l.Append(t.Context(), line(i)); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func verify(t testing.TB, s store.Store, seq int64) audit.Head {
	t.Helper()
	head, err := audit.Verify(t.Context(), s)
	if err != nil || head.Seq != seq {
		t.Fatalf("%d lines, want %d: %v", head.Seq, seq, err)
	}
	return head
}

func TestLinesOfSeveralPanelsAreOneChain(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	const panels, each = 4, 25
	var all sync.WaitGroup
	for p := range panels {
		faulty := storetest.NewFaulty(s, uint64(p), 0.3, 0) //nolint:gosec // small
		l := audit.New(faulty)
		for range 2 {
			all.Go(func() {
				for i := range each {
					if err := l.Append(t.Context(), line(i), line(i+1)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	verify(t, s, panels*2*each*2)
}

func TestAChangeAndItsLineAreOne(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), bolttest.Open(t)
	l := filled(t, s, 3)
	put := []store.Op{{Key: "d/cam-1", Value: []byte("x")}}
	rev, err := l.Commit(ctx, []store.Cond{{Key: "d/cam-1"}}, put, line(3))
	if item, again := s.Get(ctx, "d/cam-1"); err != nil || again != nil || item.Rev != rev {
		t.Fatalf("%v, %v", err, again)
	}
	verify(t, s, 4)
	if _, err := l.Commit(ctx, []store.Cond{{Key: "d/cam-1"}}, put, line(4)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a condition that does not hold: %v", err)
	}
	verify(t, s, 4)
	e, err := l.Compose(ctx, line(4))
	if err != nil {
		t.Fatal(err)
	}
	filled(t, s, 1) // another panel
	if _, err := s.Commit(ctx, e.Conds, append(e.Ops, put...)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a line that another one was written before: %v", err)
	}
	if e, err = l.Compose(ctx, line(4)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, e.Conds, append(e.Ops, put...)); err != nil {
		t.Error(err)
	}
	verify(t, s, 6)
}

func TestAnEmptyLog(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	verify(t, s, 0)
	lines, more, err := audit.New(s).Lines(t.Context(), audit.Query{})
	if err != nil || len(lines) != 0 || more != 0 {
		t.Errorf("%v, %d, %v", lines, more, err)
	}
}

func TestLinesNewestFirst(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	l := filled(t, s, 20)
	for object, want := range map[string]int{"": 20, "device cam-1": 7, "device cam-9": 0} {
		var got []int64
		for q := (audit.Query{Object: object, Limit: 3}); ; {
			lines, before, err := l.Lines(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range lines {
				if len(got) > 0 && line.Seq >= got[len(got)-1] {
					t.Errorf("line %d after %v", line.Seq, got)
				}
				got = append(got, line.Seq)
			}
			if q.Before = before; before == 0 {
				break
			}
		}
		if len(got) != want {
			t.Errorf("about %q: %v", object, got)
		}
	}
}

func TestAnExportIsCheckedWithSha256sum(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	l := filled(t, s, 5)
	head := verify(t, s, 5)
	var b bytes.Buffer
	if err := l.Export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if got, err := audit.VerifyExport(bytes.NewReader(b.Bytes()), head); err != nil || got != head {
		t.Errorf("%+v, %v", got, err)
	}
	script := `before=$(printf '%064d' 0)
while IFS= read -r line; do
	said=${line##*,\"hash\":\"}; said=${said%\"\}}
	body="${line%,\"hash\":*}}"
	before=$(printf '%s\n%s' "$before" "$body" | sha256sum); before=${before%% *}
	[ "$before" = "$said" ] || exit 1
done
echo "$before"`
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Stdin = bytes.NewReader(b.Bytes())
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != head.Hash {
		t.Errorf("the shell says %s, %v", out, err)
	}
	cut := b.Bytes()[:bytes.LastIndexByte(bytes.TrimSpace(b.Bytes()), '\n')+1]
	if _, err := audit.VerifyExport(bytes.NewReader(cut), head); !errors.Is(err, audit.ErrBroken) {
		t.Errorf("an export without its end: %v", err)
	}
}

func TestALongLineIsCut(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	long := line(1)
	long.Detail = strings.Repeat("ü", 5000)
	long.After = audit.Value(strings.Repeat("x", 1<<20))
	if err := audit.New(s).Append(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	verify(t, s, 1)
	lines, _, err := audit.New(s).Lines(t.Context(), audit.Query{})
	if err != nil || !strings.Contains(string(lines[0].After), `"sha256"`) || len(lines[0].Detail) != 2000 {
		t.Errorf("%v", err)
	}
	if err := audit.New(s).Append(t.Context(), view.AuditLine{After: json.RawMessage("{")}); err == nil {
		t.Error("a value that is no JSON was taken")
	}
}

// damage changes a chain in one of the ways that an intruder might.
func damage(t *rapid.T, s store.Store, n int) (first int64) {
	key := func(i int) string { return fmt.Sprintf("a/%020d", i) }
	get := func(i int) []byte {
		item, err := s.Get(t.Context(), key(i))
		if err != nil {
			t.Fatal(err)
		}
		return item.Value
	}
	var ops []store.Op
	at := rapid.IntRange(1, n).Draw(t, "line")
	switch rapid.SampledFrom([]string{"change", "remove", "swap", "copy", "add", "cut"}).Draw(t, "damage") {
	case "change":
		text := get(at)
		text[rapid.IntRange(0, len(text)-1).Draw(t, "byte")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		ops = []store.Op{{Key: key(at), Value: text}}
	case "remove":
		ops = []store.Op{{Key: key(at), Delete: true}}
	case "swap":
		other := at%n + 1
		ops = []store.Op{{Key: key(at), Value: get(other)}, {Key: key(other), Value: get(at)}}
		at = min(at, other)
	case "copy":
		ops = []store.Op{{Key: key(at), Value: get(at%n + 1)}}
	case "add":
		at = n + 1
		ops = []store.Op{{Key: key(at), Value: get(n)}}
	case "cut":
		for i := at; i <= n; i++ {
			ops = append(ops, store.Op{Key: key(i), Delete: true})
		}
	}
	if _, err := s.Commit(t.Context(), nil, ops); err != nil {
		t.Fatal(err)
	}
	return int64(at)
}

func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	const n = 8
	filled(t, s, n)
	verify(t, s, n)
	var whole []store.Op
	if _, err := store.All(t.Context(), s, "a/", func(i store.Item) error {
		whole = append(whole, store.Op{Key: i.Key, Value: i.Value})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		want := damage(r, s, n)
		_, err := audit.Verify(r.Context(), s)
		var broken *audit.BrokenError
		if !errors.As(err, &broken) || broken.Seq != want {
			r.Fatalf("%v, want line %d", err, want)
		}
		mend := append(whole, store.Op{Key: fmt.Sprintf("a/%020d", n+1), Delete: true})
		if _, err := s.Commit(r.Context(), nil, mend); err != nil {
			r.Fatal(err)
		}
	})
}

// Who can write everything can make another chain, but not one that goes through a
// hash that was kept elsewhere.
func TestAnotherChainIsFoundByAnAnchor(t *testing.T) {
	t.Parallel()
	mine, theirs := bolttest.Open(t), bolttest.Open(t)
	filled(t, mine, 5)
	anchor := verify(t, mine, 5)
	l := filled(t, theirs, 3)
	if err := l.Append(t.Context(), view.AuditLine{At: time.Unix(0, 0), Actor: "nobody"}); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.VerifyFrom(t.Context(), theirs, anchor); !errors.Is(err, audit.ErrBroken) {
		t.Errorf("a shorter chain: %v", err)
	}
	filled(t, theirs, 3)
	verify(t, theirs, 7)
	var broken *audit.BrokenError
	if _, err := audit.VerifyFrom(t.Context(), theirs, anchor); !errors.As(err, &broken) || broken.Seq != 5 {
		t.Errorf("another chain: %v", err)
	}
	filled(t, mine, 2)
	if _, err := audit.VerifyFrom(t.Context(), mine, anchor); err != nil {
		t.Errorf("a chain that went on: %v", err)
	}
}
