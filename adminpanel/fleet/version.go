package fleet

import (
	"cmp"
	"strings"
)

// CompareVersions orders versions as people do: 1.9 before 1.10, and 2.0-rc1 before 2.0.
// Runs of digits compare as numbers and everything else as text. What comes after a
// plus sign counts only between versions that are equal without it.
func CompareVersions(a, b string) int {
	mainA, buildA, _ := strings.Cut(a, "+")
	mainB, buildB, _ := strings.Cut(b, "+")
	coreA, preA, isPreA := strings.Cut(mainA, "-")
	coreB, preB, isPreB := strings.Cut(mainB, "-")
	if c := compareRuns(coreA, coreB); c != 0 {
		return c
	}
	if isPreA != isPreB {
		if isPreA {
			return -1
		}
		return 1
	}
	return cmp.Or(compareRuns(preA, preB), compareRuns(buildA, buildB))
}

// compareRuns compares run by run: digits as a number, others as text.
func compareRuns(a, b string) int {
	for a != "" && b != "" {
		runA, restA := run(a)
		runB, restB := run(b)
		if c := compareRun(runA, runB); c != 0 {
			return c
		}
		a, b = restA, restB
	}
	return cmp.Compare(len(a), len(b))
}

func compareRun(a, b string) int {
	if !isDigit(a[0]) || !isDigit(b[0]) {
		return strings.Compare(a, b)
	}
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// run cuts the first run of digits, or of anything but digits.
func run(s string) (first, rest string) {
	n := 1
	for n < len(s) && isDigit(s[n]) == isDigit(s[0]) {
		n++
	}
	return s[:n], s[n:]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
