package supervise

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// logCheck is how often a log's size is looked at. Between two looks a
	// process may write more than MaxLog, but only so much as it can in this time.
	logCheck = 250 * time.Millisecond
	tailSize = 64 << 10 // bytes looked at for the last lines
	maxLine  = 1 << 10  // bytes kept of one line
)

// output is a process's log file. The process writes to it without us. The file
// is nil if an adopted process's log cannot be opened again.
type output struct {
	path string
	file *os.File
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
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(logCheck)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				if err := o.bound(); err != nil {
					log.Warn("log not kept", "path", o.path, "err", err)
				}
			}
		}
	})
	return func() { close(quit); wg.Wait() }
}

// bound moves the newer half to PATH.1 and empties the file. What is written
// between the two is lost. The file is emptied even if the copy cannot be kept:
// a full disk is when the bound matters most.
func (o *output) bound() error {
	info, err := o.file.Stat()
	if err != nil || info.Size() <= MaxLog {
		return err
	}
	keep := io.NewSectionReader(o.file, info.Size()-MaxLog/2, MaxLog/2)
	errCopy := writeWhole(o.path+".1", keep)
	if err := o.file.Truncate(0); err != nil {
		return err
	}
	return errCopy
}

func writeWhole(path string, r io.Reader) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
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
	raw := append(lastBytes(o.path+".1"), lastBytes(o.path)...)
	raw = bytes.TrimRight(raw, "\n")
	if len(raw) == 0 || n <= 0 {
		return nil
	}
	lines := strings.Split(strings.ToValidUTF8(string(raw), "\uFFFD"), "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, line := range lines {
		lines[i] = line[:min(len(line), maxLine)]
	}
	return lines
}

func lastBytes(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	from := max(0, info.Size()-tailSize)
	raw, err := io.ReadAll(io.NewSectionReader(f, from, tailSize))
	if err != nil {
		return nil
	}
	return raw
}
