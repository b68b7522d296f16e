package adminpanel_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The page has a phrase for every cause of a revert. The causes are read from
// where they are named: the panel must not import the agent.
func TestThePageKnowsEveryCause(t *testing.T) {
	words, err := os.ReadFile("ui/src/words.ts")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range []string{"../agent/event.go", "../stream/orders/orders.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`\bCause[A-Z]\w* += "([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
			found++
			cause := match[1]
			if strings.HasSuffix(cause, ":") { // it goes on with a name
				cause = "'" + cause + "'"
			} else {
				cause = "\n  " + cause + ": '"
			}
			if !strings.Contains(string(words), cause) {
				t.Errorf("the page has no words for the cause %q of %s", match[1], file)
			}
		}
	}
	if found < 15 {
		t.Errorf("found only %d causes", found)
	}
}
