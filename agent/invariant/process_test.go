package invariant

import (
	"math"
	"os"
	"testing"
	"time"

	"slipstream/verify"
)

// TestMemoryThatGrows takes real memory, a mebibyte each tenth of a second of a
// clock of its own.
func TestMemoryThatGrows(t *testing.T) {
	self := Subject{PIDs: func() ([]int, error) { return []int{os.Getpid()}, nil }}
	most := 100.0
	p := newProcessProbe(verify.Check{Measure: verify.MeasureGrowth, Max: &most}, self)
	now := time.Now()
	var taken [][]byte
	var value float64
	var known bool
	for i := range 3 * minLine {
		b := make([]byte, 1<<20)
		for k := 0; k < len(b); k += 4096 {
			b[k] = 1
		}
		taken = append(taken, b)
		var err error
		value, known, err = p.value(now.Add(time.Duration(i) * 100 * time.Millisecond))
		if err != nil || known != (i >= minLine-1) {
			t.Fatalf("sample %d: known %v, %v", i, known, err)
		}
	}
	if value < 300 || value > 1500 { // 600, but for what the runtime takes ahead and gives back
		t.Errorf("growth is %v MiB a minute", value)
	}
	_ = taken[len(taken)-1]
}

// TestProcessorTime works until the kernel has counted some.
func TestProcessorTime(t *testing.T) {
	self := Subject{PIDs: func() ([]int, error) { return []int{os.Getpid()}, nil }}
	most := 1.0
	p := newProcessProbe(verify.Check{Measure: verify.MeasureCPU, Max: &most}, self)
	if r := p.take(t.Context()); !r.mute {
		t.Fatalf("the first look: %+v", r)
	}
	limit := time.Now().Add(time.Minute)
	for x := 1.0; time.Now().Before(limit); {
		for range 20_000_000 {
			x = math.Sqrt(x + 1)
		}
		if r := p.take(t.Context()); r.fault != "" && r.value > 1 {
			return
		}
	}
	t.Error("no processor time was seen")
}
