package bench

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipstream/testrig/device"
	"slipstream/testrig/viewer"
)

// What the long measurement is made of works, and measures something.
func TestEveryPartMeasures(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	bin, err := device.Binaries(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	config := QuickStream()
	config.Log, config.Idle, config.Window, config.Viewers = t.Output(), 200*time.Millisecond, 300*time.Millisecond, []int{2}
	b := &streamBench{StreamConfig: config, bin: bin, rig: filepath.Join(bin, "slipstream-rig"), peer: os.Getenv("MEDIAMTX")}
	b.Dir = filepath.Dir(bin)
	c, err := b.load(ctx, oursIngest, load{viewer.WHEP, 2})
	if err != nil {
		t.Fatal(err)
	}
	// Two viewers of about 8 packets a frame: a film at its rate, or something is amiss.
	if c.Packets < 30 || c.perPacket <= 0 || c.memory <= 0 || c.FirstP50 <= 0 || c.WholeP50 < c.FirstP50 {
		t.Errorf("load: %+v", c)
	}
	r, err := b.join(ctx, ours, viewer.RTSPTCP)
	if err != nil || len(r.JoinMS) != 1 || r.JoinMS[0] <= 0 || r.SessMS[0] <= 0 { // the picture may be there before the answer to PLAY
		t.Errorf("join: %+v, %v", r, err)
	}
	for name, part := range map[string]func(context.Context) ([]Figure, error){"gaps": b.gaps, "alarms": b.alarms} {
		if figures, err := part(ctx); err != nil || len(figures) == 0 {
			t.Errorf("%s: %v, %v", name, figures, err)
		}
	}
	took, err := lockFloor(ctx, bin, 0)
	if err != nil || took <= 0 {
		t.Errorf("futex floor: %v, %v", took, err)
	}
}
