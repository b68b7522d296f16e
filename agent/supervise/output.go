package supervise

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/inotify"
)

const (
	// logCheck is how often the size of a log is looked at that is written to. Between
	// two looks a process may write more than MaxLog, but only so much as it can in this
	// time. One that is silent wakes nobody.
	logCheck = 250 * time.Millisecond
	tailSize = 64 << 10 // bytes looked at for the last lines
	maxLine  = 400      // bytes shown of one line

	// logMode keeps logs from other users: programs print the addresses at which
	// they publish, with the secrets in them.
	logMode = 0o640
)

// output is a process's log file. The process writes to it without us. The file
// is nil if an adopted process's log cannot be opened again.
type output struct {
	path string
	file *os.File

	mu   sync.Mutex // keeps tail and bound apart, and guards what follows
	from int64      // where in the file our process's lines begin
	old  *int64     // the same of PATH.1; nil while nothing of ours is there
}

func (o *output) close() {
	if o.file != nil {
		o.file.Close()
	}
}

// keepBounded cuts the log whenever it is too long, until stop is called.
func (o *output) keepBounded(log *slog.Logger) (stop func()) {
	if o.file == nil {
		return func() {}
	}
	w, err := inotify.New()
	if err != nil {
		log.Info("log is looked at all the time", "path", o.path, "reason", err)
	}
	ctx, quit := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		said := false // a full disk would fill the agent's own log
		for ctx.Err() == nil {
			armed := err == nil && w.Add(fmt.Sprintf("/proc/self/fd/%d", o.file.Fd()), unix.IN_MODIFY|unix.IN_ONESHOT) == nil
			errBound := o.bound()
			if errBound != nil && !said {
				log.Warn("log not kept", "path", o.path, "err", errBound)
			}
			if said = errBound != nil; armed {
				_ = w.Wait(0) // for the next write, or for stop
			}
			select {
			case <-ctx.Done():
			case <-time.After(logCheck):
			}
		}
	})
	return func() {
		quit()
		if err == nil {
			w.Close()
		}
		wg.Wait()
	}
}

// bound moves the newer half to PATH.1 and empties the file. What is written
// between the two is lost. The file is emptied even if the copy cannot be kept:
// a full disk is when the bound matters most.
func (o *output) bound() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	info, err := o.file.Stat()
	if err != nil || info.Size() <= MaxLog {
		return err
	}
	o.resync(info.Size())
	cut := info.Size() - MaxLog/2
	errCopy := writeWhole(o.path+".1", io.NewSectionReader(o.file, cut, MaxLog/2))
	if err := o.file.Truncate(0); err != nil {
		return err
	}
	o.old, o.from = new(max(0, o.from-cut)), 0
	return errCopy
}

func writeWhole(path string, r io.Reader) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, logMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	if err != nil {
		os.Remove(path + ".new")
		return err
	}
	return os.Rename(path+".new", path)
}

// tail returns up to n of the last lines, the part cut off before included.
func (o *output) tail(n int) []string {
	var lines []string
	for line := range strings.SplitSeq(strings.ToValidUTF8(string(o.newest()), "\uFFFD"), "\n") {
		if line = shown(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-max(0, n)):]
}

// newest is the end of what our process has written.
func (o *output) newest() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	info, err := os.Stat(o.path)
	if err != nil {
		return nil
	}
	o.resync(info.Size())
	raw := lastBytes(o.path, o.from)
	if o.old == nil || len(raw) >= tailSize {
		return raw
	}
	return append(lastBytes(o.path+".1", *o.old), raw...)
}

// resync notices that the file was cut by somebody else: by the agent before us.
func (o *output) resync(size int64) {
	if size < o.from {
		o.from, o.old = 0, new(int64)
	}
}

// shown is a line as a terminal shows it in the end: of what carriage returns
// have overwritten the last state, without what could steer the terminal.
func shown(line string) string {
	line = strings.TrimRight(line, " \r")
	line = line[strings.LastIndexByte(line, '\r')+1:]
	line = printable(strings.ReplaceAll(line, "\t", " "), maxLine)
	return strings.TrimRight(line, " ")
}

// lastBytes reads the end of a file, but nothing before from.
func lastBytes(path string, from int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	raw, err := io.ReadAll(io.NewSectionReader(f, max(from, info.Size()-tailSize), tailSize))
	if err != nil {
		return nil
	}
	return raw
}
