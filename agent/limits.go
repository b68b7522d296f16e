package agent

import (
	"fmt"

	"slipstream/agent/supervise"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// limitsOf are the manifest's, as the kernel takes them.
func limitsOf(l *verify.Limits) supervise.Limits {
	if l == nil {
		return supervise.Limits{}
	}
	return supervise.Limits{Memory: l.MemoryMB << 20, Tasks: l.Pids, CPUPercent: l.CPUPercent}
}

// limit bounds a run. One that cannot be bounded runs all the same: the status says so.
func (a *Agent) limit(source orders.SourceID, g *supervise.Group, l *verify.Limits) {
	if g == nil || l == nil {
		return
	}
	if err := g.Limit(limitsOf(l)); err != nil {
		a.log.Warn("app runs without all of its limits", "source", source, "reason", sentence(err))
	}
}

// used are the lines of evidence about a group that is about to be removed, and whether
// its end was that of its memory.
func used(g *supervise.Group, l *verify.Limits) (lines []string, oom bool) {
	if g == nil {
		return nil, false
	}
	u := g.Usage()
	if u.PeakMemory > 0 {
		lines = append(lines, "peak memory "+mebibytes(u.PeakMemory)+ofLimit(l))
	}
	if u.OOMKills > 0 {
		lines = append(lines, fmt.Sprintf("the kernel killed %d of its processes, because the app had come to its limit of memory", u.OOMKills))
	}
	if u.TasksHit > 0 {
		lines = append(lines, fmt.Sprintf("%d times it could start no further process: it had come to its limit", u.TasksHit))
	}
	if u.Throttled > 0 {
		lines = append(lines, fmt.Sprintf("its limit of CPU made it wait %.1f s in all", u.Throttled.Seconds()))
	}
	return lines, u.OOMKills > 0
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func ofLimit(l *verify.Limits) string {
	if l == nil || l.MemoryMB == 0 {
		return ""
	}
	return fmt.Sprintf(" of %d MiB", l.MemoryMB)
}
