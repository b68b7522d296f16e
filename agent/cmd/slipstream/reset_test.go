package main

import (
	"io"
	"strings"
	"testing"
)

func TestAgreement(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, " YES \n": true, "n\n": false, "\n": false, "": false, "yess\n": false} {
		c := &cli{in: strings.NewReader(answer), err: io.Discard}
		if got := c.agreed("Sure?"); got != want {
			t.Errorf("%q agrees: %v", answer, got)
		}
	}
	if (&cli{in: strings.NewReader("y\n"), err: io.Discard, json: true}).agreed("Sure?") {
		t.Error("a script was asked")
	}
}
