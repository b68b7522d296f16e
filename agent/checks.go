package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"slipstream/agent/control"
	"slipstream/agent/invariant"
	"slipstream/stream/orders"
)

func (m *machine) watchChecks() {
	if t := m.Trial; t.To.Rules.Checks > 0 {
		m.do(WatchChecks{Trial: t.ID, Source: t.Source})
	}
}

// checksSeen takes the newest word on the checks that the agent itself judges. A
// required one that is broken ends the trial, marker or not, as long as it may end
// either way.
func (m *machine) checksSeen(e ChecksSeen) {
	t := &m.Trial
	if e.Trial != t.ID || !t.under() {
		return
	}
	t.Checked = e.Verdicts
	for _, v := range e.Verdicts {
		if m.open() && v.Required && v.Judged && !v.Holds {
			detail := v.Detail
			if t.Latched {
				detail += latchedToo
			}
			m.revert(orders.CauseInvariant+v.Invariant, detail)
		}
	}
}

// checked says that every required check was judged and holds.
func (t Trial) checked() bool {
	_, open := t.unchecked()
	return !open
}

// unchecked names a required check that does not hold, or not yet; nothing is known
// of any before the first word.
func (t Trial) unchecked() (name string, open bool) {
	if len(t.Checked) < t.To.Rules.Checks {
		return "of the app", true
	}
	i := slices.IndexFunc(t.Checked, func(v control.Verdict) bool { return v.Required && !(v.Judged && v.Holds) })
	if i < 0 {
		return "", false
	}
	return t.Checked[i].Invariant, true
}

// checks is the watch over a trial's checks, as the runner keeps it. Only the loop
// uses it, but for what its methods say.
type checks struct {
	trial orders.TrialID
	watch *invariant.Watch
	stop  context.CancelFunc
}

// watchChecks begins to judge the checks of a trial whose pictures viewers see.
func (a *Agent) watchChecks(ctx context.Context, e WatchChecks) {
	a.stopChecks()
	r := a.runs[e.Source]
	if r == nil || r.refused != nil {
		return // nothing is judged, and so nothing becomes permanent
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &checks{trial: e.Trial, stop: cancel}
	ready := make(chan struct{})
	c.watch = invariant.Start(ctx, tightenChecks(a.cfg.Tighten, r.manifest.App.Checks), a.subject(r), func() {
		<-ready
		seen := c.verdicts(false)
		for i := range seen {
			seen[i].SinceMS = 0 // would be another by when the journal is read
		}
		a.post(ChecksSeen{Trial: e.Trial, Verdicts: seen})
	})
	close(ready)
	a.wg.Go(c.watch.Wait)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.checks = c
}

func (a *Agent) stopChecks() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.checks != nil {
		a.checks.stop()
		a.checks = nil
	}
}

// subject is the app of a run, as checks look at it.
func (a *Agent) subject(r *run) invariant.Subject {
	start, i := a.state.Trial.app(), slotIndex(r.slot)
	dir := a.data.of(start.data())
	env := a.appEnv(start, r.manifest, a.publishSocket(r.source))
	births := a.state.Apps[i].Restarts
	s := invariant.Subject{
		Restarts: func() int { return a.snapshot().state.Apps[i].Restarts - births },
		Exec: func(ctx context.Context, argv []string) error {
			return runCheck(ctx, argv, a.set.Root(start.home()), dir, env)
		},
		Data: dir,
	}
	if r.process != nil {
		s.PIDs = r.process.PIDs
	}
	if a.identity.Panel() != "" {
		s.Link = a.identity.Reach
	}
	return s
}

// runCheck runs a program of the slot as the app would run it. Its last line on
// standard error says why it failed.
func runCheck(ctx context.Context, argv []string, root, dir string, env []string) error {
	path := argv[0]
	if !filepath.IsAbs(path) {
		path = filepath.Join(root, path)
	}
	var said tail
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stderr, cmd.WaitDelay = dir, env, &said, checkGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) } // with all that it has started
	err := cmd.Run()
	var exit *exec.ExitError
	if last := said.line(); errors.As(err, &exit) && last != "" {
		return fmt.Errorf("%s: %w: %s", argv[0], exit, last)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", argv[0], err)
	}
	return nil
}

const (
	checkGrace = time.Second // for the output of a check that was ended
	maxTail    = 400         // bytes kept of what a check says
)

// tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-maxTail):]
	return len(p), nil
}

// line is the last one, made printable.
func (t *tail) line() string {
	lines := strings.Split(strings.TrimSpace(string(*t)), "\n")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, lines[len(lines)-1])
}

// verdicts are those of now, in the words of package control. Samples are evidence
// for the history, and too much for the journal.
func (c *checks) verdicts(samples bool) []control.Verdict {
	var out []control.Verdict
	now := time.Now()
	for _, v := range c.watch.Verdicts() {
		shown := control.Verdict{
			Invariant: v.Name, Measure: cmp.Or(v.Measure, v.Kind), Against: orders.AgainstNothing, Value: v.Value, Compared: v.Value,
			Max: v.Max, Required: v.Required, Judged: v.Judged, Holds: v.Holds, Detail: v.Detail,
			SinceMS: stood(v.Since, now),
		}
		if samples {
			for _, s := range v.Samples {
				shown.Samples = append(shown.Samples, control.Sample{AfterMS: s.After.Milliseconds(), Value: s.Value})
			}
		}
		out = append(out, shown)
	}
	return out
}

// checksOf are the newest verdicts on a trial's checks.
func (a *Agent) checksOf(t Trial) []control.Verdict {
	if c := a.watched(string(t.ID)); c != nil {
		return c.verdicts(false)
	}
	return t.Checked
}

// withSamples adds to a trial's line in the history how the values of its checks
// went, if this agent has watched them.
func (a *Agent) withSamples(r control.Record) control.Record {
	c := a.watched(r.Trial)
	if c == nil || r.Proof == nil {
		return r
	}
	proof := *r.Proof
	proof.Verdicts = slices.DeleteFunc(slices.Clone(proof.Verdicts), func(v control.Verdict) bool { return v.Stream == "" })
	proof.Verdicts = append(proof.Verdicts, c.verdicts(true)...)
	r.Proof = &proof
	return r
}

func (a *Agent) watched(trial string) *checks {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.checks == nil || string(a.checks.trial) != trial {
		return nil
	}
	return a.checks
}
