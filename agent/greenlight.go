package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/control"
	"slipstream/agent/inotify"
	"slipstream/stream/orders"
	"slipstream/verify"
)

const (
	markerName = "greenlight"
	// markerEvery is how often the marker is looked for while a trial runs, whatever
	// inotify says, which may overflow and misses the directory's own replacement;
	// without inotify it is markerPause.
	markerEvery = 100 * time.Millisecond
	// markerPause is the least time between two looks, for those who write there all
	// the time.
	markerPause = 5 * time.Millisecond
	// markerChanges are all that may make a marker of what lies there.
	markerChanges = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_ATTRIB | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
)

// markers is the place of the greenlight markers: one directory a trial, named
// by its id, so that no marker of another trial can ever be meant.
type markers struct {
	dir string // RUN/trial
	uid int    // to whom the directories belong; root may make markers too
	log *slog.Logger
}

func (m markers) trialDir(id orders.TrialID) string { return filepath.Join(m.dir, string(id)) }

// path is what SLIPSTREAM_GREENLIGHT tells the app.
func (m markers) path(id orders.TrialID) string { return filepath.Join(m.trialDir(id), markerName) }

// prepare makes the trial's directory. One that is there already is kept: the
// agent was started anew during the trial.
func (m markers) prepare(id orders.TrialID) error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return fmt.Errorf("make the trial's directory: %w", err)
	}
	if err := os.Mkdir(m.trialDir(id), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make the trial's directory: %w", err)
	}
	if m.uid == os.Geteuid() {
		return nil
	}
	if err := os.Lchown(m.trialDir(id), m.uid, -1); err != nil {
		return fmt.Errorf("give the trial's directory to the app: %w", err)
	}
	return nil
}

// markersOf are those of trials in a slot: the app's to make if its manifest says so,
// else the agent's.
func (a *Agent) markersOf(slot, greenlight string) markers {
	m := a.markers
	if greenlight == verify.GreenlightApp {
		m.uid = a.users.uid(slot)
	}
	return m
}

// make makes the marker in the operator's name.
func (m markers) make(id orders.TrialID) error {
	f, err := os.OpenFile(m.path(id), os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o644)
	if errors.Is(err, os.ErrExist) {
		if reason, found := m.look(id); found && reason != "" {
			return fmt.Errorf("the place of the greenlight marker is taken: %s", reason)
		}
		return nil // somebody else made it
	}
	if err != nil {
		return fmt.Errorf("make the greenlight marker: %w", err)
	}
	return f.Close()
}

// clean removes the directories of all trials but one.
func (m markers) clean(but orders.TrialID) {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return // there never was a trial
	}
	for _, e := range entries {
		if e.Name() != string(but) || but == "" {
			os.RemoveAll(filepath.Join(m.dir, e.Name()))
		}
	}
}

// watch calls seen once, when the marker is there as it must be, or returns when
// ctx ends. What does not count is ignored, and said in the log once a reason, and by
// none each time.
func (m markers) watch(ctx context.Context, id orders.TrialID, seen func(), none func(reason string)) {
	said := map[string]bool{}
	next, stop := m.wait(ctx, id)
	defer stop()
	for {
		switch reason, found := m.look(id); {
		case found && reason == "":
			seen()
			return
		case found && !said[reason]:
			said[reason] = true
			none(reason)
			m.log.Warn("greenlight marker ignored", "trial", id, "reason", reason)
		}
		if !next() {
			return
		}
	}
}

// wait returns what waits for the moment of the next look, and reports false once ctx
// ends.
func (m markers) wait(ctx context.Context, id orders.TrialID) (next func() bool, stop func()) {
	w, err := inotify.New()
	if err == nil {
		if err = w.Add(m.trialDir(id), markerChanges); err != nil {
			w.Close()
		}
	}
	if err != nil {
		m.log.Info("greenlight marker is looked for all the time", "trial", id, "reason", err)
		return func() bool { return Wait(ctx, markerPause) }, func() {}
	}
	ends := context.AfterFunc(ctx, func() { w.Close() })
	looked := time.Now()
	next = func() bool {
		_ = w.Wait(markerEvery) // whatever ended it, a look says more
		if early := markerPause - time.Since(looked); early > 0 && !Wait(ctx, early) {
			return false
		}
		looked = time.Now()
		return ctx.Err() == nil
	}
	return next, func() { ends(); w.Close() }
}

// look judges what lies at the marker's path, without following any link on the
// way. It returns why that is not a marker, "" if it is one.
func (m markers) look(id orders.TrialID) (reason string, found bool) {
	dir, err := unix.Open(m.trialDir(id), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "the trial's directory is gone: " + err.Error(), true
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	switch err := unix.Fstatat(dir, markerName, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case errors.Is(err, unix.ENOENT):
		return "", false
	case err != nil:
		return err.Error(), true
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "it is not a regular file", true
	case st.Nlink != 1:
		return "it has more than one link", true
	case int(st.Uid) != m.uid && st.Uid != 0:
		return fmt.Sprintf("it belongs to user %d", st.Uid), true
	}
	return "", true
}

// unmarked is why what lies at a trial's marker is none, the newest reason.
type unmarked struct {
	trial  orders.TrialID
	reason string
}

func (a *Agent) noMarker(id orders.TrialID, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unmarked = unmarked{id, reason}
}

// withMarker tells people why a trial that waited for its greenlight in vain did not see
// the marker that is there.
func (a *Agent) withMarker(r control.Record) control.Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u := a.unmarked; r.Reason == orders.CauseDeadline && string(u.trial) == r.Trial {
		r.Detail += "; what lies at the marker's place does not count: " + u.reason
	}
	return r
}
