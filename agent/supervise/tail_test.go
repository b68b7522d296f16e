package supervise_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"slipstream/agent/supervise"
)

func TestTheTailIsWhatATerminalShows(t *testing.T) {
	tests := []struct {
		name, raw string
		want      []string
	}{
		{"progress", "frame=1\rframe=2\rframe=3", []string{"frame=3"}},
		{"progress that ends in a carriage return", "frame=1\rframe=2   \r", []string{"frame=2"}},
		{"lines of another system", "one\r\ntwo\r\n", []string{"one", "two"}},
		{"empty lines", "one\n\n  \n\r\n\ntwo", []string{"one", "two"}},
		{"an indented line", "  one\n\ttwo", []string{"  one", " two"}},
		{"an endless line", strings.Repeat("x", 5000), []string{strings.Repeat("x", 400)}},
		{"a line cut within a letter", strings.Repeat("x", 399) + "éé", []string{strings.Repeat("x", 399)}},
		{"what steers a terminal", "a\x1b[2Jb\x07", []string{"a[2Jb"}},
		{"broken UTF-8", "a\xffb", []string{"a\uFFFDb"}},
	}
	s := newSupervisor(t, t.TempDir())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, s, helper("app", "progress", tt.raw))
			waitDone(t, p)
			p.Kill() // waits until the name is free
			got := p.LogTail(10)
			if want := append(tt.want, "complete"); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			for _, line := range got {
				if len(line) > 400 || !utf8.ValidString(line) {
					t.Errorf("line %q", line)
				}
			}
		})
	}
}

// A daemon that ends again and again shares one log: each start is told of alone.
func TestTheTailIsOfThisProcessAlone(t *testing.T) {
	run := t.TempDir()
	s := newSupervisor(t, run)
	tail := func(script string) []string {
		p := start(t, s, shell("app", script))
		waitDone(t, p)
		p.Kill()
		return p.LogTail(10)
	}
	tail("echo first")
	if got := tail("echo second"); !slices.Equal(got, []string{"second"}) {
		t.Errorf("got %q", got)
	}
	if got := tail("true"); len(got) != 0 {
		t.Errorf("got %q of one that was silent", got)
	}
	orphan(t, run, "echo third; exec sleep 1000")
	readLog(t, filepath.Join(run, "log", "app.log"), "third")
	p, ok := newSupervisor(t, run).Adopt("app")
	if !ok {
		t.Fatal("not adopted")
	}
	if got := p.LogTail(10); !slices.Equal(got, []string{"third"}) {
		t.Errorf("got %q of an adopted process", got)
	}
	p.Kill()
}

// When the log is cut, the earlier process's lines move along.
func TestTheTailOfACutLogIsOfThisProcessAlone(t *testing.T) {
	run := t.TempDir()
	s := newSupervisor(t, run)
	first := start(t, s, shell("app", "yes earlier | head -c "+strconv.Itoa(supervise.MaxLog-100)))
	waitDone(t, first)
	first.Kill()
	p := start(t, s, shell("app", "echo second; head -c 200 /dev/zero | tr '\\0' x; echo; echo end; exec sleep 1000"))
	eventually(t, "the log is cut", func() bool {
		info, err := os.Stat(filepath.Join(run, "log", "app.log"))
		return err == nil && info.Size() < supervise.MaxLog/2
	})
	if got := p.LogTail(10); len(got) != 3 || got[0] != "second" || got[2] != "end" {
		t.Errorf("got %q", got)
	}
}

// Programs print secrets, so no other user may read what they print.
func TestOthersReadNoLogs(t *testing.T) {
	run := t.TempDir()
	p := start(t, newSupervisor(t, run), shell("app", `yes "rtsp://127.0.0.1/SECRET" | head -c 1500000; echo complete; sleep 1000`))
	printed(t, p, "complete")
	for _, name := range []string{"app.log", "app.log.1"} {
		path := filepath.Join(run, "log", name)
		eventually(t, name, func() bool { _, err := os.Stat(path); return err == nil })
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o007 != 0 {
			t.Errorf("%s: mode %v, error %v", name, info.Mode(), err)
		}
	}
}
