package agent

import (
	"context"
	"time"
)

// restEvery is how often it is looked whether the device is at rest.
const restEvery = 200 * time.Millisecond

// sign asks the loop for a sign of life.
type sign struct{ seen chan struct{} }

// Alive returns nil once the loop has taken an event that was sent after the call, so
// that a loop that hangs is not taken for one that has nothing to do.
func (a *Agent) Alive(ctx context.Context) error {
	s := sign{make(chan struct{})}
	select {
	case a.events <- s:
	case <-a.stopped:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-s.seen:
		return nil
	case <-a.stopped:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}

// AtRest returns nil once no update is under way and nobody waits for one: the
// moment at which the agent's own end disturbs nobody. Another update may begin right
// after it; its trial goes on under the next agent.
func (a *Agent) AtRest(ctx context.Context) error {
	for {
		a.mu.Lock()
		phase, asked := a.seen.state.Phase, len(a.answers)
		a.mu.Unlock()
		if asked == 0 && (phase == PhaseIdle || phase == PhaseStaged) {
			return nil
		}
		if !Wait(ctx, restEvery) {
			return ctx.Err()
		}
	}
}
