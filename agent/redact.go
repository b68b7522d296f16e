package agent

import (
	"regexp"

	"slipstream/agent/supervise"
)

// secrets are what [crypto/rand.Text] makes. By its shape alone an ingest's secret
// is known also when an earlier agent has made it.
var secrets = regexp.MustCompile(`\b[A-Z2-7]{26}\b`)

// Redact takes the secrets out of what an app prints. A program that publishes by
// RTSP likes to print the address, and evidence travels further than the device.
func Redact(line string) string { return secrets.ReplaceAllString(line, "…") }

func redact(lines []string) []string {
	for i, line := range lines {
		lines[i] = Redact(line)
	}
	return lines
}

// lastLine is the newest line of a process's log.
func lastLine(p *supervise.Process) string {
	if lines := redact(p.LogTail(1)); len(lines) > 0 {
		return lines[0]
	}
	return ""
}
