package agent

import (
	"context"
	"testing"
	"time"
)

// An agent that is told to end while it is busy calls off what it has begun, and that
// comes back as failed at once: as an event it would revert a trial which the next agent
// is to go on with.
func TestNothingHappensToAnAgentThatEnds(t *testing.T) {
	a := &Agent{events: make(chan any, 1)}
	timer := time.NewTimer(0)
	defer timer.Stop()
	ctx, end := context.WithCancel(t.Context())
	if what, ok := a.next(ctx, timer); !ok || what != any(Tick{}) {
		t.Fatalf("%v, %v", what, ok)
	}
	end()
	for range 100 {
		a.events <- AppExited{Source: "b-2"}
		if what, ok := a.next(ctx, timer); ok {
			t.Fatalf("%+v happens", what)
		}
		select {
		case <-a.events:
		default:
		}
	}
}
