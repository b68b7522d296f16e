package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/agent/config"
	"slipstream/agent/watchdog/watchdogtest"
)

// A loop that does not answer is not fed for; one that has not begun is, for a while.
func TestTheWatchdogIsFedByTheLoopAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dog watchdogtest.Device
		var hangs atomic.Bool
		begun := make(chan struct{})
		g := &guard{
			cfg: config.System{Watchdog: "/dev/watchdog0", WatchdogS: 40}, open: dog.Open, begun: begun, tell: func(string) {},
			log: slog.New(slog.DiscardHandler),
			alive: func(ctx context.Context) error {
				if hangs.Load() {
					<-ctx.Done()
					return errors.New("no answer")
				}
				return nil
			},
		}
		fedWithin := func(d time.Duration) bool {
			before := dog.Fed()
			time.Sleep(d) // of a clock that waits for nobody
			synctest.Wait()
			return dog.Fed() > before
		}
		hangs.Store(true)
		g.hold()
		if !fedWithin(11 * time.Second) {
			t.Error("not fed while the agent takes over what there is")
		}
		time.Sleep(takeOverLimit)
		if fedWithin(41 * time.Second) {
			t.Error("fed for an agent that does not come up")
		}
		hangs.Store(false)
		close(begun)
		if !fedWithin(31 * time.Second) {
			t.Error("not fed for a loop that answers")
		}
		hangs.Store(true)
		time.Sleep(10 * time.Second)
		if fedWithin(41 * time.Second) {
			t.Error("fed for a loop that hangs")
		}
		g.leave()
		if !dog.Running() || dog.Held() {
			t.Error("it does not go on alone")
		}
		g.hold()
		g.release()
		if dog.Running() || dog.Held() {
			t.Error("it goes on")
		}
	})
}
