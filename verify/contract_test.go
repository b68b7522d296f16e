package verify

import (
	"strings"
	"testing"
)

func checks(list ...Check) func(*Manifest) {
	return func(m *Manifest) { m.App.Checks = list }
}

// noApp makes the manifest that of a system image alone.
func noApp(m *Manifest) {
	m.Images[0].Class, m.App = ClassSystem, nil
	m.Trial = &TrialTerms{Greenlight: GreenlightAuto, DeadlineMS: 60_000, SoakMS: 1000}
}

func TestValidateTakesContracts(t *testing.T) {
	for name, change := range map[string]func(*Manifest){
		"state":     func(m *Manifest) { m.App.State = &State{Schema: "counts-2", Accepts: []string{"counts-1"}} },
		"much data": func(m *Manifest) { m.App.DataMaxMB = maxDataMB },
		"sockets": func(m *Manifest) {
			m.App.Listen = []Listen{{"onvif", "tcp", ":80"}, {"wsd", "udp", "0.0.0.0:3702"}, {"six", "tcp", "[::1]:80"}}
		},
		"limits": func(m *Manifest) { m.App.Limits = &Limits{MemoryMB: 128, Pids: 64, CPUPercent: 150} },
		"checks of all kinds": checks(
			Check{Name: "memory", Kind: CheckProcess, Measure: MeasureMemory, Max: new(64.5)},
			Check{Name: "self", Kind: CheckExec, Exec: []string{"bin/selftest", "-q"}, EveryMS: 5000, TimeoutMS: 4000, Failures: 1},
			Check{Name: "web", Kind: CheckHTTP, URL: "http://127.0.0.1:80/health", Severity: SeverityWanted},
			Check{Name: "web6", Kind: CheckHTTP, URL: "http://[::1]:80/"},
			Check{Name: "alive", Kind: CheckFile, Path: "run/alive", MaxAgeMS: 3000},
			Check{Name: "panel", Kind: CheckLink},
		),
		"requires": func(m *Manifest) { m.Requires = &Requires{System: 7, Runtime: 2} },
		"a system": noApp,
		"a runtime": func(m *Manifest) {
			noApp(m)
			m.Images[0].Class = ClassRuntime
		},
	} {
		m := sampleManifest()
		change(&m)
		if err := m.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidateRefusesContracts(t *testing.T) {
	limit := func(l Limits) func(*Manifest) { return func(m *Manifest) { m.App.Limits = &l } }
	state := func(s State) func(*Manifest) { return func(m *Manifest) { m.App.State = &s } }
	listen := func(l ...Listen) func(*Manifest) { return func(m *Manifest) { m.App.Listen = l } }
	terms := func(s TrialTerms) func(*Manifest) { return func(m *Manifest) { noApp(m); m.Trial = &s } }
	for name, change := range map[string]func(*Manifest){
		"a live image without an app":  func(m *Manifest) { m.App = nil },
		"an app without a live image":  func(m *Manifest) { m.Images[0].Class = ClassSystem },
		"a system without terms":       func(m *Manifest) { noApp(m); m.Trial = nil },
		"an app and terms":             func(m *Manifest) { m.Trial = &TrialTerms{Greenlight: GreenlightAuto, DeadlineMS: 1000} },
		"terms greenlit by an app":     terms(TrialTerms{Greenlight: GreenlightApp, DeadlineMS: 1000}),
		"terms without a deadline":     terms(TrialTerms{Greenlight: GreenlightAuto}),
		"terms that soak for too long": terms(TrialTerms{Greenlight: GreenlightAuto, DeadlineMS: 1000, SoakMS: 1000}),
		"terms that soak backwards":    terms(TrialTerms{Greenlight: GreenlightAuto, DeadlineMS: 1000, SoakMS: -1}),

		"requires less than nothing": func(m *Manifest) { m.Requires = &Requires{System: -1} },

		"state without a schema": state(State{}),
		"schema with a space":    state(State{Schema: "a b"}),
		"schema twice":           state(State{Schema: "b", Accepts: []string{"a", "a"}}),
		"too many schemas":       state(State{Schema: "b", Accepts: numbered("a", MaxSchemas+1)}),

		"too much data": func(m *Manifest) { m.App.DataMaxMB = maxDataMB + 1 },
		"negative data": func(m *Manifest) { m.App.DataMaxMB = -1 },

		"socket without a name":     listen(Listen{"", "tcp", ":80"}),
		"socket of another network": listen(Listen{"x", "unix", ":80"}),
		"socket named twice":        listen(Listen{"x", "tcp", ":80"}, Listen{"x", "tcp", ":81"}),
		"socket opened twice":       listen(Listen{"x", "tcp", ":80"}, Listen{"y", "tcp", ":80"}),
		"socket of a name":          listen(Listen{"x", "tcp", "localhost:80"}),
		"socket of a named port":    listen(Listen{"x", "tcp", ":http"}),
		"socket of port 0":          listen(Listen{"x", "tcp", ":0"}),
		"socket of port 65536":      listen(Listen{"x", "tcp", ":65536"}),
		"too many sockets":          func(m *Manifest) { m.App.Listen = make([]Listen, MaxListen+1) },

		"negative memory": limit(Limits{MemoryMB: -1}),
		"too many tasks":  limit(Limits{Pids: maxPids + 1}),
		"too many cores":  limit(Limits{CPUPercent: maxCPUPercent + 1}),

		"check without a name":         checks(Check{Kind: CheckLink}),
		"check with a long name":       checks(Check{Name: strings.Repeat("x", MaxStream+1), Kind: CheckLink}),
		"check named twice":            checks(Check{Name: "x", Kind: CheckLink}, Check{Name: "x", Kind: CheckLink}),
		"check of no kind":             checks(Check{Name: "x"}),
		"check of an unknown kind":     checks(Check{Name: "x", Kind: "ping"}),
		"check of two kinds":           checks(Check{Name: "x", Kind: CheckExec, Exec: []string{"t"}, URL: "http://127.0.0.1:80/"}),
		"measure without a bound":      checks(Check{Name: "x", Kind: CheckProcess, Measure: MeasureMemory}),
		"bound without a measure":      checks(Check{Name: "x", Kind: CheckProcess, Max: new(1.0)}),
		"measure that is unknown":      checks(Check{Name: "x", Kind: CheckProcess, Measure: "heat", Max: new(1.0)}),
		"bound below nothing":          checks(Check{Name: "x", Kind: CheckProcess, Measure: MeasureCPU, Max: new(-1.0)}),
		"program outside of the slot":  checks(Check{Name: "x", Kind: CheckExec, Exec: []string{"../sh"}}),
		"address of another machine":   checks(Check{Name: "x", Kind: CheckHTTP, URL: "http://192.0.2.1:80/"}),
		"address of a name":            checks(Check{Name: "x", Kind: CheckHTTP, URL: "http://localhost:80/"}),
		"address with a user":          checks(Check{Name: "x", Kind: CheckHTTP, URL: "http://a@127.0.0.1:80/"}),
		"address that is encrypted":    checks(Check{Name: "x", Kind: CheckHTTP, URL: "https://127.0.0.1:80/"}),
		"address without a port":       checks(Check{Name: "x", Kind: CheckHTTP, URL: "http://127.0.0.1/"}),
		"file elsewhere":               checks(Check{Name: "x", Kind: CheckFile, Path: "../x"}),
		"file at the root":             checks(Check{Name: "x", Kind: CheckFile, Path: "/x"}),
		"file of a negative age":       checks(Check{Name: "x", Kind: CheckFile, Path: "x", MaxAgeMS: -1}),
		"check that is too frequent":   checks(Check{Name: "x", Kind: CheckLink, EveryMS: minCheckMS - 1}),
		"check with a negative time":   checks(Check{Name: "x", Kind: CheckLink, TimeoutMS: -1}),
		"check with too many failures": checks(Check{Name: "x", Kind: CheckLink, Failures: maxCheckFailures + 1}),
		"check of no severity":         checks(Check{Name: "x", Kind: CheckLink, Severity: "fatal"}),
		"too many checks":              func(m *Manifest) { m.App.Checks = make([]Check, MaxChecks+1) },
	} {
		m := sampleManifest()
		change(&m)
		if err := m.Validate(); Code(err) != CodeManifest {
			t.Errorf("%s: %v", name, err)
		}
	}
}
