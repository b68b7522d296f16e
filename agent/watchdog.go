package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"slipstream/agent/config"
	"slipstream/agent/watchdog"
)

const (
	// watchdogProblem names, among the daemons, what is wrong with the hardware watchdog.
	watchdogProblem = "watchdog"
	feedsPerTimeout = 4
	armTries        = 5
	armPause        = 20 * time.Millisecond
	// takeOverLimit is how long it is fed while the agent takes over what there is: before
	// that its loop cannot answer.
	takeOverLimit = 2 * time.Minute
)

// guard holds the hardware watchdog while it is wanted. It is fed by nothing but the
// agent's own loop: an agent that lives and does nothing must be started anew too.
type guard struct {
	cfg   config.System
	open  func(path string) (watchdog.Node, error)
	alive func(context.Context) error
	begun <-chan struct{} // closed when there is a loop that could answer
	tell  func(problem string)
	log   *slog.Logger

	mu   sync.Mutex // guards what follows
	dog  *watchdog.Dog
	stop func() // ends feeding, and waits for it
}

// hold arms it, if it is not held already. A device whose watchdog cannot be armed goes
// on without, and says so.
func (g *guard) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cfg.Watchdog == "" || g.dog != nil {
		return
	}
	dog, err := g.arm()
	for range armTries - 1 {
		if !errors.Is(err, watchdog.ErrHeld) {
			break
		}
		time.Sleep(armPause) // whatever the agent before had just started may hold it until it is what it is to be
		dog, err = g.arm()
	}
	if err != nil {
		g.log.Error("watchdog not armed", "path", g.cfg.Watchdog, "reason", err)
		g.tell(fmt.Sprintf("the watchdog %s was not armed: %s; a system that hangs during its trial is not left by the agent's doing", g.cfg.Watchdog, sentence(err)))
		return
	}
	g.tell("")
	g.log.Info("watchdog armed", "path", g.cfg.Watchdog, "name", dog.Name(), "timeout", dog.Timeout(), "but", cmp.Or(dog.Weakness(), "nothing"))
	ctx, cancel := context.WithCancel(context.Background())
	fed := make(chan struct{})
	g.dog, g.stop = dog, func() { cancel(); <-fed }
	go func() {
		defer close(fed)
		g.feed(ctx, dog)
	}()
}

func (g *guard) arm() (*watchdog.Dog, error) {
	return watchdog.Arm(func() (watchdog.Node, error) { return g.open(g.cfg.Watchdog) }, time.Duration(g.cfg.WatchdogS)*time.Second)
}

// feed goes on until ctx ends.
func (g *guard) feed(ctx context.Context, dog *watchdog.Dog) {
	beat := dog.Timeout() / feedsPerTimeout
	since := time.Now()
	for Wait(ctx, beat) {
		if err := g.lives(ctx, beat, since); err != nil {
			if ctx.Err() == nil {
				g.log.Error("watchdog not fed: the agent's loop does not answer", "within", beat)
			}
			continue
		}
		if err := dog.Feed(); err != nil {
			g.log.Error("watchdog not fed", "reason", err)
		}
	}
}

func (g *guard) lives(ctx context.Context, limit time.Duration, since time.Time) error {
	select {
	case <-g.begun:
	default:
		if time.Since(since) < takeOverLimit {
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return g.alive(ctx)
}

// release stops it.
func (g *guard) release() { g.let((*watchdog.Dog).Disarm, "watchdog stopped") }

// leave lets go of it and leaves it running, for the next agent or for its own bite.
func (g *guard) leave() { g.let((*watchdog.Dog).Leave, "watchdog left running") }

func (g *guard) let(part func(*watchdog.Dog) error, done string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dog == nil {
		return
	}
	g.stop()
	if err := part(g.dog); err != nil {
		g.log.Error("watchdog not let go of", "reason", err)
	} else {
		g.log.Info(done, "path", g.cfg.Watchdog)
	}
	g.dog, g.stop = nil, nil
}

// guarded says whether the state wants the watchdog. Between the staging and the arming of a
// system nothing is at stake; from then on until its end is noted, everything.
func (a *Agent) guarded() bool { return a.cfg.System.WatchdogAlways || a.state.systemTrial() }

// tendWatchdog lets go of it when it is not wanted any more. It is armed where the wish
// begins: at the start, and before a reboot.
func (a *Agent) tendWatchdog(ctx context.Context) {
	if a.wasGuarded && !a.guarded() {
		a.afterBoot(ctx, a.guard.release)
	}
	a.wasGuarded = a.guarded()
}

// leaveWatchdog ends the agent's part: an agent that was told to end in peace leaves
// nothing behind that bites, unless a system is on trial, which its silence must end.
func (a *Agent) leaveWatchdog() {
	if a.state.systemTrial() {
		a.guard.leave()
		return
	}
	a.guard.release()
}
