package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"slipstream/agent/supervise"
)

// maxTail bounds what is read of a log at once. The agent cuts it at MaxLog, but not
// at once.
const maxTail = 4 * supervise.MaxLog

// tail reads a log while it is written, and cut by the agent.
type tail struct {
	path string
	at   int64  // what was read so far
	rest string // of a line without its end
}

func (t *tail) source() string { return strings.TrimSuffix(filepath.Base(t.path), logSuffix) }

// begin reads what was cut off before, and what there is; of a last line without its
// end what is there, unless the rest of it will be asked for.
func (t *tail) begin(all bool) ([]logLine, error) {
	old, err := readFrom(t.path+".1", 0)
	if err != nil {
		return nil, err
	}
	t.rest = string(old)
	lines, err := t.more()
	if all && t.rest != "" {
		lines = append(lines, shownLine(t.source(), t.rest))
		t.rest = ""
	}
	return lines, err
}

// more reads what was written since. A file that is shorter now was cut: what it holds
// came afterwards.
func (t *tail) more() (lines []logLine, err error) {
	info, err := os.Stat(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // its run is long over
	}
	if err != nil {
		return nil, readingLogs(err)
	}
	if info.Size() < t.at {
		t.at = 0
	}
	raw, err := readFrom(t.path, t.at)
	if err != nil {
		return nil, err
	}
	t.at += int64(len(raw))
	t.rest += string(raw)
	for {
		line, rest, whole := strings.Cut(t.rest, "\n")
		if !whole {
			return lines, nil
		}
		t.rest = rest
		lines = append(lines, shownLine(t.source(), line))
	}
}

func readFrom(path string, at int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, readingLogs(err)
	}
	defer f.Close()
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return nil, readingLogs(err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxTail))
	if err != nil {
		return nil, readingLogs(err)
	}
	return raw, nil
}
