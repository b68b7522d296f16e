package bench

import (
	"context"
	"testing"
	"time"

	"slipstream/testrig/device"
)

// What the measurement of the agent is made of works, and measures something.
func TestTheAgentIsMeasured(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	bin, err := device.Binaries(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := newAgentBench(ctx, AgentConfig{Bin: bin, Runs: 1, Idle: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	for name, part := range map[string]func(context.Context) ([]Figure, error){"idle": b.idle, "commits": b.commits, "reverts": b.reverts, "replay": b.replay} {
		figures, err := part(ctx)
		if err != nil || len(figures) == 0 {
			t.Fatalf("%s: %v, %v\n%s", name, figures, err, b.Logs())
		}
		for _, f := range figures {
			if f.Value <= 0 && name != "reverts" && name != "idle" || f.Reference != "" && f.ReferenceValue <= 0 { // two waits for one death race
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
}
