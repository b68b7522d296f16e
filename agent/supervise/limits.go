package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the limits, as of protections.
const (
	ProtectMemory = "memory-limit"
	ProtectTasks  = "pids-limit"
	ProtectCPU    = "cpu-limit"
)

// Limits are those of a group. 0 is none.
type Limits struct {
	Memory     int64 // bytes, swap included
	Tasks      int64 // threads and processes
	CPUPercent int64 // 100 is one core
}

// cpuPeriod is cpu.max's default, in µs.
const cpuPeriod = 100_000

// controllers are those that limits need, with the protection that each is.
var controllers = []struct{ name, protection string }{
	{"memory", ProtectMemory}, {"pids", ProtectTasks}, {"cpu", ProtectCPU},
}

// Controls tells which limits groups can have here, and for those that they cannot why.
// It turns them on where that is possible.
func (s *Groups) Controls() (list []Protection) {
	s.occupied = false
	for _, c := range controllers {
		list = append(list, protection(c.protection, s.enable(c.name)))
	}
	return list
}

// enable gives a controller to our groups: from the place above to ours, and from
// there on.
func (s *Groups) enable(controller string) error {
	for _, dir := range []string{filepath.Dir(s.dir), s.dir} {
		there, err := readSmall(filepath.Join(dir, "cgroup.controllers"))
		if err != nil {
			return err
		}
		if !slices.Contains(strings.Fields(there), controller) {
			return fmt.Errorf("cgroup %s does not have the controller %s", dir, controller)
		}
		on, err := readSmall(filepath.Join(dir, "cgroup.subtree_control"))
		if err != nil {
			return err
		}
		if slices.Contains(strings.Fields(on), controller) {
			continue
		}
		err = giveOn(dir, controller)
		if errors.Is(err, unix.EBUSY) {
			s.occupied = true
			return fmt.Errorf("cgroup %s cannot give the controller %s to those below: %w; give the agent one below it "+
				"(DelegateSubgroup=%s in systemd's unit)", dir, controller, errOccupied, OwnGroup)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// giveOn gives a controller to the cgroups below one. The kernel refuses that while
// processes are in that one only for controllers that cannot be threaded, such as memory;
// with the others, such as cpu and pids, those below would become cgroups for threads, that
// no process can be put into any more ("Threads" in its cgroup-v2.rst). So none is given
// on over anybody's head. The root of all cgroups may hold processes; it has no type.
func giveOn(dir, controller string) error {
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); err == nil {
		inside, err := readSmall(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return err
		}
		if inside != "" {
			return unix.EBUSY
		}
	}
	return writeSmall(filepath.Join(dir, "cgroup.subtree_control"), "+"+controller)
}

// Limit sets what can be set, and returns what cannot.
func (g *Group) Limit(l Limits) error {
	var problems []error
	set := func(file, value string) { problems = append(problems, writeSmall(filepath.Join(g.path, file), value)) }
	if l.Memory > 0 {
		set("memory.max", strconv.FormatInt(l.Memory, 10))
		set("memory.oom.group", "1") // half an app is worse than none
		if err := writeSmall(filepath.Join(g.path, "memory.swap.max"), "0"); !errors.Is(err, os.ErrNotExist) {
			problems = append(problems, err) // a kernel without swap needs no limit of it
		}
	}
	if l.Tasks > 0 {
		set("pids.max", strconv.FormatInt(l.Tasks, 10))
	}
	if l.CPUPercent > 0 {
		set("cpu.max", fmt.Sprintf("%d %d", l.CPUPercent*cpuPeriod/100, cpuPeriod))
	}
	return errors.Join(problems...)
}

// Usage is what a group has come to.
type Usage struct {
	PeakMemory int64 // bytes; 0: not known
	OOMKills   int64 // processes that were killed because of its limit of memory
	TasksHit   int64 // forks that failed because of its limit of tasks

	Throttled time.Duration // that it waited because of its limit of CPU
}

// Usage is to be asked before End. What is not counted here is 0.
func (g *Group) Usage() Usage {
	return Usage{
		PeakMemory: g.number("memory.peak", ""), OOMKills: g.number("memory.events", "oom_kill"), TasksHit: g.number("pids.events", "max"),
		Throttled: time.Duration(g.number("cpu.stat", "throttled_usec")) * time.Microsecond,
	}
}

// number reads a file of one number, or the line of a key.
func (g *Group) number(file, key string) int64 {
	text, err := readSmall(filepath.Join(g.path, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(text) {
		name, value, found := strings.Cut(strings.TrimSpace(line), " ")
		if key == "" && !found {
			name, value = "", name
		}
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && name == key {
			return n
		}
	}
	return 0
}

// maxSmall bounds what is read of a cgroup's file.
const maxSmall = 4096

func readSmall(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSmall))
	return string(raw), err
}

// writeSmall writes at once and makes no file.
func writeSmall(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
