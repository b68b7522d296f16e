package verify_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipstream/verify"
)

// malicious is one input that must be refused. The numbers are those of the
// list in the design; one number may have several rows.
type malicious struct {
	number int
	name   string
	code   string
	run    func(f *fixture) error
}

const inputs = 95

// inputsElsewhere are the inputs that do not reach this package, or not only it,
// with the directory and the name of the test that makes them. Without a directory it is
// the reason why there is none.
var inputsElsewhere = map[int]struct{ dir, test string }{
	77: {"../slots/fetch", "TestServersThatLie"},
	83: {"../slots", "TestAFullDisk"},
	85: {"", "the format has no patches: their members are refused as 65, their description as 30"},
	86: {"", "the format has no patches"},
	87: {"", "the format has no patches"},
	88: {"", "nothing is read from the old slot when the new one is written"},
	89: {"../agent", "TestAnyWalkKeepsThePromises"},
	90: {"../slots", "TestAVerityRootThatLies"},
	91: {".", "TestCiphertextsThatLie"},
	93: {"../agent", "TestTrace"},
	95: {"../slots", "TestPowerCut"},
}

func TestMaliciousInputs(t *testing.T) {
	f := newFixture(t)
	rows := map[int][]malicious{}
	for _, list := range [][]malicious{
		envelopes, signatures, trustFiles, jsonTexts, policies, archives, payloads,
		thresholds, floors, fleetOrders, roots, states,
	} {
		for _, row := range list {
			rows[row.number] = append(rows[row.number], row)
		}
	}
	for _, number := range slices.Sorted(maps.Keys(rows)) {
		t.Run(fmt.Sprintf("%02d %s", number, strings.Join(codes(rows[number]), " ")), func(t *testing.T) {
			for _, row := range rows[number] {
				t.Run(row.name+": "+row.code, func(t *testing.T) { f.try(t, row) })
			}
		})
	}
	f.t = t
	if err := f.open(f.file); err != nil {
		t.Errorf("the good package: %v", err)
	}
	listInputs(t, rows)
}

func (f *fixture) try(t *testing.T, row malicious) {
	f.t = t
	err := row.run(f)
	if verify.Code(err) != row.code {
		t.Errorf("got %v with code %q, want code %q", err, verify.Code(err), row.code)
	} else if text := err.Error(); strings.ContainsAny(text, "\n\x1b\x00") {
		t.Errorf("the refusal is not one plain sentence: %q", text)
	}
}

// codes are those of some rows, none twice.
func codes(rows []malicious) []string {
	var list []string
	for _, row := range rows {
		if !slices.Contains(list, row.code) {
			list = append(list, row.code)
		}
	}
	return list
}

// listInputs prints the table of all inputs, and fails for one that nobody makes.
func listInputs(t *testing.T, rows map[int][]malicious) {
	var table strings.Builder
	for number := 1; number <= inputs; number++ {
		for _, row := range rows[number] {
			fmt.Fprintf(&table, "%2d  %-18s %s\n", number, row.code, row.name)
		}
		other, known := inputsElsewhere[number]
		switch {
		case known && other.dir == "":
			fmt.Fprintf(&table, "%2d  %-18s %s\n", number, "-", other.test)
		case known && hasTest(t, other.dir, other.test):
			fmt.Fprintf(&table, "%2d  %-18s %s\n", number, "in "+strings.TrimPrefix(other.dir, "../"), other.test)
		case known:
			t.Errorf("input %d: %s has no %s", number, other.dir, other.test)
		case rows[number] == nil:
			t.Errorf("input %d is made by nobody", number)
		}
	}
	t.Logf("all inputs, their codes and what they are\n%s", table.String())
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(path string) bool {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)")
	})
}
