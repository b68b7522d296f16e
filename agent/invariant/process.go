package invariant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"slipstream/agent/supervise"
	"slipstream/verify"
)

const (
	mebi = 1 << 20
	// minLine is how many samples a line of growth goes through at least.
	minLine = 10
)

// processProbe compares one measure of all processes together with its bound.
type processProbe struct {
	s       Subject
	measure string
	max     float64

	line  line      // of memory
	began time.Time // of the line
	spent map[life]uint64
	at    time.Time // of the newest look at spent
}

// life is a process: its number, and when it started, since numbers come back.
type life struct {
	pid   int
	start uint64
}

func newProcessProbe(c verify.Check, s Subject) *processProbe {
	return &processProbe{s: s, measure: c.Measure, max: *c.Max}
}

func (p *processProbe) take(context.Context) reading {
	value, known, err := p.value(time.Now())
	switch {
	case err != nil:
		return reading{fault: err.Error()}
	case !known:
		return reading{value: value, mute: true}
	case value > p.max:
		return reading{value: value, fault: fmt.Sprintf("%s is %s, at most %s", p.measure, number(value), number(p.max))}
	}
	return reading{value: value}
}

// value is known only once there is enough to say it from.
func (p *processProbe) value(now time.Time) (value float64, known bool, err error) {
	if p.measure == verify.MeasureBirths {
		if p.s.Restarts == nil {
			return 0, false, errors.New("restarts are not counted here")
		}
		return float64(p.s.Restarts()), true, nil
	}
	if p.s.PIDs == nil {
		return 0, false, errors.New("the app's processes are not known here")
	}
	pids, err := p.s.PIDs()
	if err != nil {
		return 0, false, err
	}
	switch p.measure {
	case verify.MeasureMemory:
		return sum(pids, resident) / mebi, true, nil
	case verify.MeasureGrowth:
		if p.began.IsZero() {
			p.began = now
		}
		p.line.add(now.Sub(p.began).Minutes(), sum(pids, resident)/mebi)
		return p.line.slope(), p.line.n >= minLine, nil
	case verify.MeasureFiles:
		return sum(pids, files), true, nil
	case verify.MeasureTasks:
		return sum(pids, tasks), true, nil
	case verify.MeasureCPU:
		value, known = p.cpu(pids, now)
		return value, known, nil
	}
	return 0, false, fmt.Errorf("the measure %q is unknown to this device", p.measure)
}

// cpu is what was spent since the last look, in percent of one core. Of a process
// that ended in between the rest is not known.
func (p *processProbe) cpu(pids []int, now time.Time) (percent float64, known bool) {
	spent, ticks := make(map[life]uint64, len(pids)), uint64(0)
	for _, pid := range pids {
		st, err := supervise.ReadStat(pid)
		if err != nil {
			continue // it has ended
		}
		l := life{pid, st.Start}
		spent[l] = st.Spent
		if before := p.spent[l]; st.Spent > before {
			ticks += st.Spent - before
		}
	}
	elapsed := now.Sub(p.at).Seconds()
	known = p.spent != nil && elapsed > 0
	p.spent, p.at = spent, now
	if !known {
		return 0, false
	}
	return 100 * float64(ticks) / supervise.TicksPerSecond / elapsed, true
}

// sum adds a measure over processes; one that has ended meanwhile has none.
func sum(pids []int, of func(pid int) (float64, error)) float64 {
	var total float64
	for _, pid := range pids {
		if n, err := of(pid); err == nil {
			total += n
		}
	}
	return total
}

// resident is the memory of a process in bytes: what is its own and what it
// shares, so that two that share a library count it twice. Reading what is
// exactly theirs would stop them for milliseconds.
func resident(pid int) (float64, error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(raw)
	if len(fields) < 2 {
		return 0, errors.New("statm is too short")
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 63)
	return float64(pages) * float64(os.Getpagesize()), err
}

func files(pid int) (float64, error) {
	dir, err := os.Open("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return float64(len(names)), err
}

func tasks(pid int) (float64, error) {
	st, err := supervise.ReadStat(pid)
	return float64(st.Tasks), err
}

// line is the straight line closest to all points, by least squares.
type line struct {
	n            int
	x, y, xx, xy float64
}

func (l *line) add(x, y float64) {
	l.n++
	l.x, l.y, l.xx, l.xy = l.x+x, l.y+y, l.xx+x*x, l.xy+x*y
}

// slope is 0 while there is no line.
func (l *line) slope() float64 {
	n := float64(l.n)
	d := n*l.xx - l.x*l.x
	if l.n < 2 || d <= 0 {
		return 0
	}
	return (n*l.xy - l.x*l.y) / d
}

// number rounds what was measured to what can be read.
func number(f float64) string {
	return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64)
}
