package faults_test

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"slipstream/stream/orders"
	"slipstream/testrig/device"
	"slipstream/testrig/faults"
	"slipstream/testrig/stand"
	"slipstream/testrig/standtest"
)

const (
	quickSequences = 200
	allSequences   = 10_000

	// audience is how many sequences the same viewers watch.
	audience = 100
)

// number reads one from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// Whatever happens around them, viewers of a living permanent version get its
// frames, and no index has two packets.
func TestNobodyElseIsAffected(t *testing.T) {
	t.Parallel()
	limit := 3 * time.Minute
	if standtest.Soaking() {
		limit = 2 * time.Hour
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	bin, err := device.Binaries(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	seed := number(t, "FAULTS_SEED", 1)
	first := number(t, "FAULTS_FIRST", 0)
	w, err := faults.NewWorld(ctx, bin, seed)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	before, err := w.Size(ctx)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for i := range uint64(standtest.Rounds(quickSequences, allSequences)) {
		if err := w.Sequence(ctx, first+i); err != nil {
			t.Fatal(err)
		}
		if i%audience == audience-1 {
			if err := w.Join(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	whep, rtsp, crashes := w.Say()
	t.Logf("seed %d, in %v: WHEP %+v, RTSP %+v, %d crashes of the forwarder", seed, time.Since(begin).Round(time.Second), whep, rtsp, crashes)
	if standtest.Soaking() {
		comesToRest(t, ctx, w, before)
	}
}

// comesToRest waits until the forwarder and the gateway have let go of everybody who
// only seemed to be a viewer, and of what only seemed to be worth keeping.
func comesToRest(t *testing.T, ctx context.Context, w *faults.World, before stand.Size) {
	if err := w.Tell(orders.Request{DropOthers: true}); err != nil {
		t.Fatal(err)
	}
	limit, tick := time.After(2*time.Minute), time.Tick(time.Second)
	for {
		now, err := w.Size(ctx)
		if err == nil {
			err = now.Within(before)
		}
		if err == nil {
			return
		}
		select {
		case <-tick:
		case <-limit:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}
