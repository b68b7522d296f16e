package main

import (
	"testing"

	"slipstream/agent/control"
)

func TestClassesOfSlots(t *testing.T) {
	one := func(name, state, version string, running bool) control.System {
		return control.System{Name: name, State: state, Version: version, Running: running}
	}
	for _, test := range []struct {
		name   string
		status control.Status
		want   string
	}{
		{"none", control.Status{}, ""},
		{"built-in programs", control.Status{Runtimes: []control.System{one("a", "", "", false), one("b", "staged", "2.0.0", false)}},
			"\n  runtime b  2.0.0     staged\n  runtime    built-in          running\n"},
		{"systems and programs", control.Status{
			Systems:  []control.System{one("a", "permanent", "1.0.0", true), one("b", "", "", false)},
			Runtimes: []control.System{one("a", "permanent", "1.1.0", false), one("b", "trial", "2.0.0", true)},
		}, "\n  system a   1.0.0  permanent  running\n  runtime a  1.1.0  permanent\n  runtime b  2.0.0  trial      running\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &printer{}
			p.classes(test.status)
			if got := p.b.String(); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestWhatCameIsNamedWithItsClass(t *testing.T) {
	r := control.Record{From: "1.0.0", To: "2.0.0", Class: "runtime", Outcome: control.OutcomePermanent}
	if got, want := verdict(r), "2.0.0 (runtime) is permanent, in place of 1.0.0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
