package verify

import (
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// Requires are the least releaseCounters of what must be permanent in the other
// slot classes before a version may be tried, unless its package brings them.
type Requires struct {
	System  int64 `json:"system,omitempty"`
	Runtime int64 `json:"runtime,omitempty"`
}

// TrialTerms are those of the trial of a package without a live image.
type TrialTerms struct {
	Greenlight string `json:"greenlight"` // as in App, but "app": there is no new one
	DeadlineMS int64  `json:"deadlineMs"` // from the start of the trial, reboots included
	SoakMS     int64  `json:"soakMs"`
}

// State says which state an app hands over, and which it takes.
type State struct {
	Schema  string   `json:"schema"`            // of the state that this version hands over
	Accepts []string `json:"accepts,omitempty"` // schemas that it takes, besides its own
}

// Listen is a listening socket that the agent opens and the app is given by
// LISTEN_FDS under its name. One version at a time accepts from it.
type Listen struct {
	Name    string `json:"name"`
	Network string `json:"network"` // "tcp" or "udp"
	Address string `json:"address"` // host:port; without a host: all addresses
}

// Limits are those of a slot's cgroup. 0 is none.
type Limits struct {
	MemoryMB   int64 `json:"memoryMB,omitempty"`
	Pids       int64 `json:"pids,omitempty"`       // tasks, threads included
	CPUPercent int64 `json:"cpuPercent,omitempty"` // 100 is one core
}

// Kinds of checks.
const (
	CheckProcess = "process" // a measure of the app's processes is within bounds
	CheckExec    = "exec"    // a program of the slot ends with 0
	CheckHTTP    = "http"    // a server on this device answers 2xx
	CheckFile    = "file"    // a file in the app's data is there and young enough
	CheckLink    = "link"    // the panel is reached
)

// Measures of an app's processes.
const (
	MeasureMemory = "memory"   // MiB
	MeasureGrowth = "growth"   // MiB per minute, over the trial
	MeasureFiles  = "files"    // open descriptors
	MeasureTasks  = "tasks"    // threads and processes
	MeasureCPU    = "cpu"      // percent of one core, over a window
	MeasureBirths = "restarts" // restarts of the app since the trial began
)

// Check is a condition that the agent judges while a version is on trial, again
// and again. It is broken after so many failures in a row, and holds again after
// one success.
type Check struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	Measure   string   `json:"measure,omitempty"`   // process
	Max       *float64 `json:"max,omitempty"`       // process
	Exec      []string `json:"exec,omitempty"`      // exec: argv, as in App
	URL       string   `json:"url,omitempty"`       // http: of this device
	Path      string   `json:"path,omitempty"`      // file: below the data directory
	MaxAgeMS  int64    `json:"maxAgeMs,omitempty"`  // file: since it was written; 0: any age
	EveryMS   int64    `json:"everyMs,omitempty"`   // default 1 000
	TimeoutMS int64    `json:"timeoutMs,omitempty"` // of one attempt; default 1 000
	Failures  int      `json:"failures,omitempty"`  // in a row; default 3
	Severity  string   `json:"severity,omitempty"`  // default "required"
}

func (a *App) checkContract() error {
	if err := a.State.validate(); err != nil {
		return err
	}
	if a.DataMaxMB != 0 && !within(a.DataMaxMB, 1, maxDataMB) {
		return bad("app.dataMaxMB is %d, allowed are 1 to %d", a.DataMaxMB, maxDataMB)
	}
	if err := checkListen(a.Listen); err != nil {
		return err
	}
	if err := a.Limits.validate(); err != nil {
		return err
	}
	return a.checkChecks()
}

func (r *Requires) validate() error {
	if r != nil && (r.System < 0 || r.Runtime < 0) {
		return bad("requires names a negative releaseCounter")
	}
	return nil
}

func (t *TrialTerms) validate() error {
	switch {
	case t == nil:
		return bad("trial is missing, which a package without an image of class live needs")
	case t.Greenlight != GreenlightOperator && t.Greenlight != GreenlightAuto:
		return bad("trial.greenlight %s is neither operator nor auto", quote(t.Greenlight))
	case !within(t.DeadlineMS, minTimeoutMS, maxDeadlineMS):
		return bad("trial.deadlineMs is %d, allowed are %d to %d", t.DeadlineMS, minTimeoutMS, int64(maxDeadlineMS))
	case t.SoakMS < 0 || t.SoakMS >= t.DeadlineMS:
		return bad("trial.deadlineMs (%d) leaves no time for soakMs (%d)", t.DeadlineMS, t.SoakMS)
	}
	return nil
}

func (s *State) validate() error {
	if s == nil {
		return nil
	}
	if len(s.Accepts) > MaxSchemas {
		return bad("app.state.accepts lists %d schemas, allowed are %d", len(s.Accepts), MaxSchemas)
	}
	for i, schema := range append([]string{s.Schema}, s.Accepts...) {
		if !isName(schema) {
			return bad("app.state names the schema %s, which is not a name", quote(schema))
		}
		if i > 0 && slices.Contains(s.Accepts[:i-1], schema) {
			return bad("app.state.accepts lists %s twice", quote(schema))
		}
	}
	return nil
}

// Takes says whether a version takes state of a schema.
func (s *State) Takes(schema string) bool {
	return s != nil && (s.Schema == schema || slices.Contains(s.Accepts, schema))
}

func checkListen(sockets []Listen) error {
	if len(sockets) > MaxListen {
		return bad("app.listen has %d sockets, allowed are %d", len(sockets), MaxListen)
	}
	for i, l := range sockets {
		if !isName(l.Name) || len(l.Name) > MaxStream {
			return bad("app.listen names a socket %s, which is not a name of at most %d letters", quote(l.Name), MaxStream)
		}
		if slices.ContainsFunc(sockets[:i], func(o Listen) bool { return o.Name == l.Name || o.Network == l.Network && o.Address == l.Address }) {
			return bad("app.listen has the socket %s twice", quote(l.Name))
		}
		if l.Network != "tcp" && l.Network != "udp" {
			return bad("app.listen %s is for %s, which is neither tcp nor udp", quote(l.Name), quote(l.Network))
		}
		if !isAddress(l.Address) {
			return bad("app.listen %s has the address %s, which is not host:port with numbers", quote(l.Name), quote(l.Address))
		}
	}
	return nil
}

// isAddress takes numbers only: names would mean what a resolver says.
func isAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || len(address) > MaxName || host != "" && net.ParseIP(host) == nil {
		return false
	}
	n := 0
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
		if n = n*10 + int(c-'0'); n > 65535 {
			return false
		}
	}
	return n > 0
}

func (l *Limits) validate() error {
	if l == nil {
		return nil
	}
	for _, limit := range []struct {
		name        string
		value, high int64
	}{
		{"memoryMB", l.MemoryMB, maxMemoryMB},
		{"pids", l.Pids, maxPids},
		{"cpuPercent", l.CPUPercent, maxCPUPercent},
	} {
		if !within(limit.value, 0, limit.high) {
			return bad("app.limits.%s is %d, allowed are 1 to %d, or 0 for none", limit.name, limit.value, limit.high)
		}
	}
	return nil
}

func (a *App) checkChecks() error {
	if len(a.Checks) > MaxChecks {
		return bad("app.checks has %d entries, allowed are %d", len(a.Checks), MaxChecks)
	}
	for i, c := range a.Checks {
		if len(c.Name) > MaxStream || !nameRE.MatchString(c.Name) {
			return bad("app.checks has the name %s, which is not one of at most %d letters", quote(c.Name), MaxStream)
		}
		if slices.ContainsFunc(a.Checks[:i], func(o Check) bool { return o.Name == c.Name }) {
			return bad("app.checks has the name %s twice", quote(c.Name))
		}
		if err := c.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (c Check) validate() error {
	if err := c.checkSubject(); err != nil {
		return err
	}
	for _, limit := range []struct {
		name      string
		value     int64
		low, high int64
	}{
		{"everyMs", c.EveryMS, minCheckMS, maxTimeoutMS},
		{"timeoutMs", c.TimeoutMS, minCheckMS, maxTimeoutMS},
		{"failures", int64(c.Failures), 1, maxCheckFailures},
	} {
		if limit.value != 0 && !within(limit.value, limit.low, limit.high) {
			return bad("check %s: %s is %d, allowed are %d to %d", quote(c.Name), limit.name, limit.value, limit.low, limit.high)
		}
	}
	if !slices.Contains([]string{"", SeverityRequired, SeverityWanted}, c.Severity) {
		return bad("check %s: the severity %s is neither required nor wanted", quote(c.Name), quote(c.Severity))
	}
	return nil
}

// checkSubject makes sure that a check has what its kind needs, and nothing of
// another kind, which would look as if it were judged.
func (c Check) checkSubject() error {
	has := map[string]bool{
		CheckProcess: c.Measure != "" || c.Max != nil,
		CheckExec:    len(c.Exec) > 0,
		CheckHTTP:    c.URL != "",
		CheckFile:    c.Path != "" || c.MaxAgeMS != 0,
		CheckLink:    c.Kind == CheckLink,
	}
	if !has[c.Kind] {
		return bad("check %s: the kind %s is unknown, or what it is about is missing", quote(c.Name), quote(c.Kind))
	}
	for kind, there := range has {
		if there && kind != c.Kind {
			return bad("check %s of kind %s has a member that belongs to the kind %s", quote(c.Name), c.Kind, kind)
		}
	}
	switch c.Kind {
	case CheckProcess:
		known := []string{MeasureMemory, MeasureGrowth, MeasureFiles, MeasureTasks, MeasureCPU, MeasureBirths}
		if !slices.Contains(known, c.Measure) || c.Max == nil || *c.Max < 0 {
			return bad("check %s: measure is none of %s, or max is missing or negative", quote(c.Name), strings.Join(known, ", "))
		}
	case CheckExec:
		return checkExec(c.Exec)
	case CheckHTTP:
		return c.checkURL()
	case CheckFile:
		if !filepath.IsLocal(c.Path) || len(c.Path) > MaxPath || c.MaxAgeMS < 0 {
			return bad("check %s: the path %s does not stay below the data directory, or maxAgeMs is negative", quote(c.Name), quote(c.Path))
		}
	}
	return nil
}

// checkURL keeps a manifest from making its device ask other machines.
func (c Check) checkURL() error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" || u.User != nil || len(c.URL) > MaxPath || !isAddress(u.Host) {
		return bad("check %s: the url %s is not http://ADDRESS:PORT/…", quote(c.Name), quote(c.URL))
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
		return bad("check %s: the url %s is not of this device: its host must be a loopback address", quote(c.Name), quote(c.URL))
	}
	return nil
}
