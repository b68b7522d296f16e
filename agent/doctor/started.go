package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"slipstream/agent/config"
	"slipstream/agent/supervise"
)

const (
	startProgram = "slipstream-start"
	startVar     = "SLIPSTREAM_START=" // by which it tells the agent where it is
	gone         = " (deleted)"        // what the kernel says of a program whose file was replaced
)

var errNoAgent = errors.New("no agent runs here")

// started is how the agent that runs was started.
func started(cfg config.Config) []probe {
	return []probe{
		{"start-program", "update Slipstream's own programs, with a way back to those of the system", false, func() error { return startedBy(cfg) }},
		{"cgroup-delegation", "keep its cgroups, and the limits in them, from being undone by whatever has started the agent", false, func() error { return delegation(cfg) }},
	}
}

// startedBy says what has started the agent, and which copy of that it is.
func startedBy(cfg config.Config) error {
	start := filepath.Join(cfg.Bin, startProgram)
	pid, err := agentPID(cfg)
	if errors.Is(err, errNoAgent) {
		if !executable(start) {
			return fmt.Errorf("there is no %s in %s, and no agent runs that another one could have started", startProgram, cfg.Bin)
		}
		return noticef("%s is there; no agent runs that it could have started", start)
	}
	if err != nil {
		return err
	}
	environ, err := os.ReadFile("/proc/" + pid + "/environ")
	if err != nil {
		return err
	}
	by := ""
	for line := range strings.SplitSeq(string(environ), "\x00") {
		if path, found := strings.CutPrefix(line, startVar); found {
			by = path
		}
	}
	program, err := os.Readlink("/proc/" + pid + "/exe")
	switch {
	case err != nil:
		return err
	case by == "":
		return fmt.Errorf("the agent was started as %s itself, and not by %s", strings.TrimSuffix(program, gone), startProgram)
	case !executable(by):
		return degradedf("%s has started the agent and is gone: the device would not come up after a reboot", by)
	}
	return noticef("%s has started %s", by, copyOf(cfg, program, by))
}

// copyOf names the agent's program by where it is.
func copyOf(cfg config.Config, program, by string) string {
	was := ""
	if path, replaced := strings.CutSuffix(program, gone); replaced {
		program, was = path, ", whose file was replaced since (slipstream agent reexec)"
	}
	words := program
	rest, inSlot := strings.CutPrefix(program, filepath.Join(cfg.State, "runtime")+"/")
	if slot, _, _ := strings.Cut(rest, "/"); inSlot {
		words = fmt.Sprintf("the agent of runtime slot %s (%s)", slot, program)
	} else if filepath.Dir(program) == filepath.Dir(by) {
		words = fmt.Sprintf("the built-in agent (%s)", program)
	}
	return words + was
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// agentPID is the number of the agent's process. The file outlives that, so its program
// is looked at; to try its lock might keep an agent from starting at this instant.
func agentPID(cfg config.Config) (string, error) {
	raw, err := os.ReadFile(filepath.Join(cfg.Run, "agent.pid"))
	pid, notOne := strconv.Atoi(strings.TrimSpace(string(raw)))
	if errors.Is(err, os.ErrNotExist) || err == nil && notOne != nil {
		return "", errNoAgent
	}
	if err != nil {
		return "", err
	}
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	switch {
	case errors.Is(err, os.ErrPermission):
		return "", degradedf("how the agent was started only its own user and root may see: %w", err)
	case err != nil || filepath.Base(strings.TrimSuffix(program, gone)) != "slipstream":
		return "", errNoAgent // and the number is nobody's, or somebody else's by now
	}
	return strconv.Itoa(pid), nil
}

// delegation says whose the cgroup is below which the agent makes others.
func delegation(cfg config.Config) error {
	process := "self" // what starts this may start the agent
	if pid, err := agentPID(cfg); err == nil {
		process = pid
	}
	place, err := supervise.PlaceOf(process)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(place, "cgroup.controllers"))
	if err != nil {
		return err
	}
	with := "without controllers"
	if names := strings.Fields(string(raw)); len(names) > 0 {
		with = "with " + strings.Join(names, ", ")
	}
	return whose(place, with, delegated(place))
}

func whose(place, with string, given bool) error {
	switch unit := filepath.Ext(place); {
	case given:
		return noticef("systemd has given the cgroup %s to the agent, %s", place, with)
	case unit == ".service" || unit == ".scope":
		return fmt.Errorf("systemd has not given the cgroup %s to the agent: set Delegate=yes in the unit that starts it", place)
	}
	return noticef("the agent's cgroup is %s, %s, and no process manager's", place, with)
}

// delegated reads how systemd marks a cgroup that it leaves to somebody else
// (CGROUP_DELEGATION of its documentation).
func delegated(place string) bool {
	mark := make([]byte, 1)
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		if n, err := unix.Getxattr(place, name, mark); err == nil && n == 1 && mark[0] == '1' {
			return true
		}
	}
	return false
}
