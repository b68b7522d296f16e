package powercut_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/slots/powercut"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a file and, if asked to, flushes it.
func put(t *testing.T, path, data string, flags int, flush bool) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flags, 0o644)
	must(t, err)
	_, err = f.WriteString(data)
	must(t, err)
	if flush {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

func flush(t *testing.T, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	must(t, err)
	must(t, errors.Join(d.Sync(), d.Close()))
}

// found returns what the disk may hold now, each state as one line.
func found(t *testing.T, d *powercut.Disk) []string {
	t.Helper()
	log, err := d.Log()
	must(t, err)
	var mu sync.Mutex
	states := map[string]bool{}
	e := powercut.Explorer{Limit: 1000, Check: func(dir string, _ []string) error {
		line, err := look(dir)
		mu.Lock()
		defer mu.Unlock()
		states[line] = true
		return err
	}}
	_, err = e.Run(log, len(log.Ops))
	must(t, err)
	return slices.Sorted(maps.Keys(states))
}

// look tells of files what is in them, repeated letters once with their number.
func look(dir string) (string, error) {
	var line []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		if e.IsDir() {
			line = append(line, name+"/")
			return nil
		}
		raw, err := os.ReadFile(path)
		line = append(line, name+"="+squeeze(string(raw)))
		return err
	})
	return strings.Join(line, " "), err
}

func squeeze(s string) string {
	var out strings.Builder
	for len(s) > 0 {
		rest := strings.TrimLeft(s, s[:1])
		name := s[:1]
		if name == "\x00" {
			name = "0"
		}
		fmt.Fprintf(&out, "%s%d", name, len(s)-len(rest))
		s = rest
	}
	return out.String()
}

func TestWhatMayBeFound(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, dir string)
		want []string
	}{
		{"nothing", func(*testing.T, string) {}, []string{""}},
		{"a file that was not flushed", func(t *testing.T, dir string) {
			put(t, dir+"/f", "xx", 0, false)
		}, []string{"", "f=", "f=02", "f=x2"}},
		{"a file of which the name was not", func(t *testing.T, dir string) {
			put(t, dir+"/f", "xx", 0, true)
		}, []string{"", "f=x2"}},
		{"a name of which the file was not", func(t *testing.T, dir string) {
			put(t, dir+"/f", "xx", 0, false)
			flush(t, dir)
		}, []string{"f=", "f=02", "f=x2"}},
		{"both", func(t *testing.T, dir string) {
			put(t, dir+"/f", "xx", 0, true)
			flush(t, dir)
		}, []string{"f=x2"}},
		{"a file that is written synchronously", func(t *testing.T, dir string) {
			put(t, dir+"/f", "xx", unix.O_SYNC, false)
			flush(t, dir)
		}, []string{"f=x2"}},
		{"a file with its data only", func(t *testing.T, dir string) {
			put(t, dir+"/f", "xx", unix.O_DSYNC, false)
			flush(t, dir)
		}, []string{"f=x2"}},
		{"a torn file", func(t *testing.T, dir string) {
			put(t, dir+"/f", strings.Repeat("x", 1024), 0, true)
			flush(t, dir)
			put(t, dir+"/f", strings.Repeat("y", 700), 0, false)
		}, []string{"f=x1024", "f=x512y188x324", "f=y512x512", "f=y700x324"}},
		{"a file that is begun anew", func(t *testing.T, dir string) {
			put(t, dir+"/f", "xxx", 0, true)
			flush(t, dir)
			put(t, dir+"/f", "yy", os.O_TRUNC, false)
		}, []string{"f=", "f=02", "f=03", "f=x2", "f=x3", "f=y2", "f=y201"}},
		{"a rename is one change", func(t *testing.T, dir string) {
			put(t, dir+"/f", "x", 0, true)
			put(t, dir+"/g", "y", 0, true)
			flush(t, dir)
			must(t, os.Rename(dir+"/g", dir+"/f"))
		}, []string{"f=x1 g=y1", "f=y1"}},
		{"two renames, and what takes the first name", func(t *testing.T, dir string) {
			put(t, dir+"/f", "x", 0, true)
			flush(t, dir)
			must(t, os.Rename(dir+"/f", dir+"/g"))
			must(t, os.Rename(dir+"/g", dir+"/h"))
			put(t, dir+"/f", "y", 0, true)
		}, []string{"f=x1", "f=y1 g=x1", "f=y1 h=x1", "g=x1", "h=x1"}},
		{"files are lost one by one", func(t *testing.T, dir string) {
			put(t, dir+"/f", "x", 0, true)
			put(t, dir+"/g", "y", 0, true)
			flush(t, dir)
			must(t, errors.Join(os.Remove(dir+"/f"), os.Remove(dir+"/g")))
		}, []string{"", "f=x1", "f=x1 g=y1", "g=y1"}},
		{"a directory, and its own name", func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir+"/d", 0o755))
			put(t, dir+"/d/f", "x", 0, true)
			flush(t, dir+"/d")
		}, []string{"", "d/ d/f=x1"}},
		{"a move to another directory, flushed there", func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir+"/d", 0o755))
			put(t, dir+"/f", "x", 0, true)
			flush(t, dir)
			must(t, os.Rename(dir+"/f", dir+"/d/f"))
			flush(t, dir+"/d")
		}, []string{"d/ d/f=x1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := powercut.New(t, nil)
			tt.do(t, d.Dir)
			if got := found(t, d); !slices.Equal(got, tt.want) {
				t.Errorf("found %q\nwant  %q", got, tt.want)
			}
		})
	}
}

// TestTheDiskIsOne: what programs do with files works on it.
func TestTheDiskIsOne(t *testing.T) {
	d := powercut.New(t, nil)
	path := d.Dir + "/d/f"
	must(t, os.MkdirAll(d.Dir+"/d/e", 0o700))
	put(t, path, "hello", 0, false)
	must(t, errors.Join(os.Chmod(path, 0o751), os.Symlink("f", d.Dir+"/d/l"), os.Link(path, d.Dir+"/g"), os.Truncate(path, 6)))
	info, err := os.Stat(d.Dir + "/d/l")
	must(t, err)
	if info.Mode() != 0o751 || info.Size() != 6 || info.Sys().(*syscall.Stat_t).Nlink != 2 {
		t.Errorf("%v, %d bytes", info.Mode(), info.Size())
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	mapped, err := unix.Mmap(int(f.Fd()), 0, 6, unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	_, err = f.WriteAt([]byte("J"), 0)
	must(t, err)
	if string(mapped) != "Jello\x00" {
		t.Errorf("mapped %q", mapped)
	}
	must(t, errors.Join(unix.Munmap(mapped), unix.Flock(int(f.Fd()), unix.LOCK_EX)))
	if err := os.Remove(d.Dir + "/d"); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("removed a directory that is not empty: %v", err)
	}
	must(t, os.RemoveAll(d.Dir+"/d"))
	if entries, err := os.ReadDir(d.Dir); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}

func TestALogBeginsWhereAnotherEnded(t *testing.T) {
	first := powercut.New(t, nil)
	must(t, os.Mkdir(first.Dir+"/empty", 0o755))
	put(t, first.Dir+"/f", "x", 0, true)
	must(t, first.Settle())
	put(t, first.Dir+"/f", "y", 0, false)
	log, err := first.Log()
	must(t, err)
	e := powercut.Explorer{Limit: 10, Check: func(dir string, _ []string) error {
		if line, _ := look(dir); line == "empty/ f=y1" {
			return errors.New("found")
		}
		return nil
	}}
	var bad *powercut.BadState
	if _, err = e.Run(log, 0); !errors.As(err, &bad) {
		t.Fatal(err)
	}
	second := powercut.New(t, bad.State)
	put(t, second.Dir+"/empty/g", "z", 0, true)
	if got, want := found(t, second), []string{"empty/ empty/g=z1 f=y1", "empty/ f=y1"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestADiskThatFails(t *testing.T) {
	d := powercut.New(t, nil)
	must(t, d.Fail(powercut.Fault{At: 2, Errno: syscall.EIO}))
	put(t, d.Dir+"/f", "", 0, false)
	if err := os.WriteFile(d.Dir+"/f", []byte("x"), 0o644); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want %v", err, syscall.EIO)
	}
	put(t, d.Dir+"/f", "x", 0, true)
	if n, err := d.Steps(); err != nil || n != 4 {
		t.Errorf("%d operations, %v, want 4", n, err)
	}
	must(t, d.Fail(powercut.Fault{Room: 4}))
	put(t, d.Dir+"/f", "four", 0, true)
	if err := os.WriteFile(d.Dir+"/g", []byte("x"), 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want %v", err, syscall.ENOSPC)
	}
	must(t, os.Remove(d.Dir+"/f"))
	put(t, d.Dir+"/g", "x", 0, true)
}

func TestFlushesThatAreNotNeeded(t *testing.T) {
	d := powercut.New(t, nil)
	put(t, d.Dir+"/f", "x", 0, true)
	flush(t, d.Dir)
	must(t, d.Mark("done"))
	log, err := d.Log()
	must(t, err)
	for i, o := range log.Ops { // those of a test have no caller
		if o.IsSync() {
			log.Ops[i].Caller = fmt.Sprintf("flush %s (x.go:%d)", o.Path, i)
		}
	}
	e := powercut.Explorer{Limit: 10, Check: func(dir string, told []string) error {
		line, err := look(dir)
		if err == nil && len(told) > 0 && line != "f=x1" {
			err = fmt.Errorf("it holds %q", line)
		}
		return err
	}}
	_, err = e.Run(log, 0)
	must(t, err)
	needed := powercut.Needed{}
	_, err = e.Unheard(log, needed)
	must(t, err)
	if err := needed.Check(nil); err != nil || len(needed) != 2 {
		t.Errorf("%v: %v", needed, err)
	}
	e.Check = func(string, []string) error { return nil }
	needed = powercut.Needed{}
	_, err = e.Unheard(log, needed)
	must(t, err)
	if err := needed.Check(map[string]string{"flush /f": "a reason"}); err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.Contains(err.Error(), "flush / ") {
		t.Errorf("%v: %v", needed, err)
	}
}
