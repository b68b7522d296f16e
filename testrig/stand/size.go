package stand

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Size is what the two processes have.
type Size struct {
	Forwarder, Gateway ProcessSize
	Goroutines         int // of the gateway, with Config.Metrics
}

// ProcessSize is what one process has.
type ProcessSize struct{ Descriptors, Threads, MB int }

// Size measures the forwarder and the gateway.
func (s *Stand) Size(ctx context.Context) (size Size, err error) {
	if size.Forwarder, err = sizeOf(s.forwarder.PID()); err != nil {
		return size, err
	}
	if size.Gateway, err = sizeOf(s.gateway.PID); err != nil || s.metrics == "" {
		return size, err
	}
	size.Goroutines, err = s.Metric(ctx, "go_goroutines")
	return size, err
}

func sizeOf(pid int) (size ProcessSize, err error) {
	count := func(what string) int {
		entries, failed := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), what))
		err = errors.Join(err, failed)
		return len(entries)
	}
	size.Descriptors, size.Threads = count("fd"), count("task")
	mb, failed := ResidentMB(pid)
	size.MB = mb
	return size, errors.Join(err, failed)
}

// Metric reads one of the gateway's, with Config.Metrics.
func (s *Stand) Metric(ctx context.Context, name string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.Atoi(value)
		}
	}
	return 0, fmt.Errorf("the gateway has no metric %s", name)
}

// Within says what of a size is over that of another one, beyond what a runtime
// takes and gives back as it likes.
func (s Size) Within(before Size) error {
	var problems []error
	check := func(what string, now, before, more int) {
		if now > before+more {
			problems = append(problems, fmt.Errorf("%s: %d, before %d", what, now, before))
		}
	}
	for _, p := range []struct {
		name        string
		now, before ProcessSize
	}{{"forwarder", s.Forwarder, before.Forwarder}, {"gateway", s.Gateway, before.Gateway}} {
		check(p.name+": descriptors", p.now.Descriptors, p.before.Descriptors, 4)
		check(p.name+": threads", p.now.Threads, p.before.Threads, 6)
		check(p.name+": MB", p.now.MB, p.before.MB, 8+p.before.MB/4)
	}
	check("gateway: goroutines", s.Goroutines, before.Goroutines, 10)
	return errors.Join(problems...)
}
