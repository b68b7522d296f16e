package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"slipstream/agent/control"
)

// Every cause of a revert has words of its own and a step of its own that follows. The
// causes are read from where they are named, so that no new one is forgotten here.
func TestEveryCauseIsExplained(t *testing.T) {
	found := 0
	for _, file := range []string{"../../event.go", "../../../stream/orders/orders.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`\bCause[A-Z]\w* += "([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
			found++
			cause, open := strings.CutSuffix(match[1], ":")
			r := control.Record{Outcome: control.OutcomeReverted, Reason: cause}
			if open { // it goes on with a name
				r.Reason += ":main.rate"
			}
			if cause == "rehearsal" {
				r.Outcome = control.OutcomeRehearsed
			}
			if words := why(r); words == "" || words == r.Reason {
				t.Errorf("there are no words for the cause %q of %s", cause, file)
			}
			if nextAfter(r) == correctIt {
				t.Errorf("nothing follows from the cause %q of %s", cause, file)
			}
		}
	}
	if found < 15 {
		t.Errorf("found only %d causes", found)
	}
}
