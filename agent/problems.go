package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// problems are what a person must put right, for the status and, at the start,
// for the log.
func (a *Agent) problems() (out []string) {
	out = append(out, a.trustProblems()...)
	if problem := a.identity.Problem(); problem != "" {
		out = append(out, problem)
	}
	if problem := damageProblem(a.snapshot().state); problem != "" {
		out = append(out, problem)
	}
	if problem := barredProblem(a.snapshot().state); problem != "" {
		out = append(out, problem)
	}
	if problem := systemProblem(a.snapshot().state); problem != "" {
		out = append(out, problem)
	}
	if problem := runtimeProblem(a.snapshot().state); problem != "" {
		out = append(out, problem)
	}
	if problem := a.freezeProblem(a.snapshot().state); problem != "" {
		out = append(out, problem)
	}
	out = append(out, a.doubtProblems()...)
	a.mu.Lock()
	defer a.mu.Unlock()
	out = append(out, a.stateProblems()...)
	for _, name := range []string{forwarderName, replaceProblem, gatewayName, bootProblem, systemsProblem, watchdogProblem, runtimeProblems} {
		if why := a.down[name]; why != "" {
			out = append(out, why)
		}
	}
	return out
}

// doubtProblems tell of apps that run on, and would not be started again.
func (a *Agent) doubtProblems() (out []string) {
	a.mu.Lock()
	doubts := maps.Clone(a.doubts)
	a.mu.Unlock()
	for _, source := range slices.Sorted(maps.Keys(doubts)) {
		if _, _, err := a.recheck(doubts[source]); err != nil {
			out = append(out, fmt.Sprintf("the app in slot %s runs on, but could not be started again: %s", doubts[source], sentence(err)))
		}
	}
	return out
}

// setDown notes why a daemon does not run, or that it does.
func (a *Agent) setDown(name, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down[name] != why {
		a.down[name] = why
		a.announce()
	}
}

// daemonProblem is the sentence about a daemon that does not stay up.
func daemonProblem(name, why string) string {
	if name == gatewayName {
		return fmt.Sprintf("the gateway does not run: %s; change [gateway] in the configuration", why)
	}
	return fmt.Sprintf("the forwarder does not run: %s", why)
}

// bare is an error without the name of the package that it comes from.
func bare(err error) string { return strings.TrimPrefix(sentence(err), "verify: ") }

// binary finds another of Slipstream's programs.
func (a *Agent) binary(name string) (string, error) {
	dir := a.programs(a.own)
	if name == forwarderName {
		dir = *a.home.Load()
	}
	path := filepath.Join(dir, "slipstream-"+name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return path, fmt.Errorf("slipstream-%s not found in %s: set `bin` in the configuration", name, dir)
	}
	return path, nil
}
