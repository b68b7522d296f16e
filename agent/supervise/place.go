package supervise

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OwnGroup is the cgroup of the agent itself and of its daemons, beside the place of those
// of apps: a cgroup of version 2 that gives controllers to others below holds no process
// itself. It is also what DelegateSubgroup= of systemd is to say.
const OwnGroup = "slipstream-agent"

// controlGroup is where systemd runs what it starts in a delegated cgroup beside the
// service's own process (CGROUP_DELEGATION of its documentation).
const controlGroup = ".control"

// stepTries bounds how often processes are looked for that were forked meanwhile.
const stepTries = 20

// errOccupied means that processes stand where controllers are to be given on.
var errOccupied = errors.New("processes run in it itself")

// placeAbove is the cgroup below which the agent's process may make others.
func placeAbove(own string) string {
	if filepath.Base(own) == OwnGroup {
		return filepath.Dir(own)
	}
	return own
}

// PlaceOf is the cgroup below which a process, named by its number, may make others.
func PlaceOf(process string) (string, error) {
	own, err := groupOf(process)
	if err != nil {
		return "", err
	}
	return placeAbove(own), nil
}

// Occupied says whether limits fail for nothing but processes in the place itself: see
// StepAside.
func (s *Groups) Occupied() bool { return s.occupied }

// StepAside moves what runs in the place itself into a cgroup below it, ours first. It is
// refused if anything there is not ours to move: anybody else's process would find itself
// in a cgroup that it knows nothing of. A process manager that puts the agent's successor
// into the same place must let [MakeRoom] run before.
func (s *Groups) StepAside(ours func(pid int) bool) error {
	parent := filepath.Dir(s.dir)
	place := &Group{freeze: -1}
	var err error
	if place.dir, err = unix.Open(parent, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open cgroup %s: %w", parent, err)
	}
	defer unix.Close(place.dir)
	place.path = parent
	pids, err := place.pids()
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(pids, func(pid int) bool { return !ours(pid) }); i >= 0 {
		return fmt.Errorf("process %d runs in cgroup %s too, and is not the agent's to move", pids[i], parent)
	}
	own := filepath.Join(parent, OwnGroup)
	if err := os.Mkdir(own, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make a cgroup: %w", err)
	}
	for range stepTries {
		for _, pid := range pids {
			if err := writeSmall(filepath.Join(own, "cgroup.procs"), strconv.Itoa(pid)); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("move process %d into cgroup %s: %w", pid, own, err)
			}
		}
		if pids, err = place.pids(); err != nil || len(pids) == 0 {
			return err
		}
		if i := slices.IndexFunc(pids, func(pid int) bool { return !ours(pid) }); i >= 0 {
			return fmt.Errorf("process %d has come into cgroup %s", pids[i], parent)
		}
	}
	return fmt.Errorf("processes keep coming into cgroup %s", parent)
}

// Ours says whether a process is this one, descends from it, or was started by an agent of
// the same run directory.
func (s *Supervisor) Ours(pid int) bool {
	for _, name := range s.Recorded() {
		if r, err := readRecord(s.recordPath(name), name); err == nil && r.PID == pid {
			fd, err := openRecorded(r)
			if err == nil {
				unix.Close(fd)
			}
			return err == nil
		}
	}
	self := os.Getpid()
	for range maxAncestors {
		if pid == self {
			return true
		}
		st, err := ReadStat(pid)
		if err != nil || pid <= 1 {
			return false
		}
		pid = st.ppid
	}
	return false
}

// MakeRoom takes the controllers back from the cgroup that systemd has given to the service
// and in whose .control this process runs, so that the next agent can be put into it. The
// limits of apps are gone until that gives them anew. It does nothing anywhere else.
func MakeRoom() error {
	own, err := groupOf("self")
	if err != nil || filepath.Base(own) != controlGroup {
		return nil //nolint:nilerr // no cgroups of version 2: nothing was given on
	}
	return makeRoom(filepath.Dir(own))
}

func makeRoom(service string) error {
	below, err := filepath.Glob(filepath.Join(service, groupPrefix+"*"))
	if err != nil {
		return err
	}
	var problems []error
	for _, dir := range append(below, service) { // what is below has to let go first
		file := filepath.Join(dir, "cgroup.subtree_control")
		on, err := readSmall(file)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for controller := range strings.FieldsSeq(on) {
			problems = append(problems, writeSmall(file, "-"+controller))
		}
	}
	return errors.Join(problems...)
}
