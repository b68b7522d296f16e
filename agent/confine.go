package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"slipstream/agent/config"
	"slipstream/agent/supervise"
	"slipstream/verify"
)

// appUmask keeps what apps write from others, but for the group that they share.
const appUmask = 0o027

// openDirs makes the directories that apps reach through, whatever the umask.
func (a *Agent) openDirs() error {
	for _, dir := range []string{a.cfg.Run, filepath.Join(a.cfg.Run, "pub"), filepath.Join(a.cfg.Run, "notify"), filepath.Join(a.cfg.Run, "control"), filepath.Join(a.cfg.Run, "tmp")} {
		if err := errors.Join(os.MkdirAll(dir, 0o711), os.Chmod(dir, 0o755)); err != nil {
			return err
		}
	}
	return a.users.share(a.shared())
}

func (a *Agent) shared() string { return filepath.Join(a.cfg.State, "shared") }

// tmp is a slot's directory for temporary files.
func (a *Agent) tmp(slot string) string { return filepath.Join(a.cfg.Run, "tmp", slot) }

// makeTmp makes it anew.
func (a *Agent) makeTmp(slot string) error {
	dir := a.tmp(slot)
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return fmt.Errorf("make a directory for temporary files: %w", err)
	}
	return a.users.own(slot, dir)
}

// confinement is what a run may do: its slot it can only read, its data and what both
// versions share it can write, and of the agent's own directories it sees nothing else.
func (a *Agent) confinement(e StartApp, app *verify.App) *supervise.Confinement {
	c := &supervise.Confinement{
		User: a.users.user(e.Slot), WhyNoUser: a.users.why, Root: real(a.set.Root(e.home())), Umask: appUmask,
		Hidden: []string{real(a.cfg.State)}, Private: []string{real(a.cfg.State), real(a.cfg.Run)},
		Write:   []string{real(a.data.of(e.data())), real(a.shared()), real(a.tmp(e.Slot))},
		Devices: a.cfg.Apps.Devices,
	}
	for _, path := range []string{filepath.Dir(config.File), a.cfg.Gateway.Viewers, a.cfg.Gateway.TLSKey, a.cfg.Counter} {
		if path != "" {
			c.Private = append(c.Private, real(path))
		}
	}
	if e.Trial != "" && app.Greenlight == verify.GreenlightApp {
		c.Write = append(c.Write, real(a.markers.trialDir(e.Trial)))
	}
	for _, path := range a.cfg.Apps.Write {
		c.Write = append(c.Write, real(path))
	}
	return c
}

// ingestConfinement is that of the slot's own RTSP server: it runs as the app does, and
// needs no files but itself.
func (a *Agent) ingestConfinement(slot, program string) *supervise.Confinement {
	return &supervise.Confinement{
		User: a.users.user(slot), WhyNoUser: a.users.why, Umask: appUmask, Read: []string{real(program)},
		Hidden: []string{real(a.cfg.State)}, Private: []string{real(a.cfg.State), real(a.cfg.Run)},
	}
}

// real is a path without symbolic links, as far as it is there.
func real(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	return filepath.Clean(path)
}

// Protections tell what confines the apps of this device, by the newest start.
func (a *Agent) Protections() []supervise.Protection {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append(a.sup.Protections(), a.controls...)
}

// tryConfinement finds out in advance what this device can do.
func (a *Agent) tryConfinement() {
	c := supervise.Confinement{User: a.users.of[0], WhyNoUser: a.users.why, Umask: appUmask, Hidden: []string{real(a.cfg.State)}}
	if err := a.sup.Try(c); err != nil {
		a.log.Warn("it is not known what confines apps here", "reason", err)
	}
}
