package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"slipstream/adminpanel/auth"
)

var update = flag.Bool("update", false, "write openapi.json anew")

// document is what the tests read of it.
type document struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Summary     string
		Responses   map[string]any
	}
}

// Programs are made from the document: a change of it is a change of the contract.
func TestTheDocumentIsAsItWas(t *testing.T) {
	w := newWorld(t)
	resp, err := http.Get(w.url + "/openapi.json") // nobody has to be signed in
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(resp.Body); err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("%d %v, %v", resp.StatusCode, resp.Header, err)
	}
	got.WriteByte('\n')
	if *update {
		if err := os.WriteFile("openapi.json", got.Bytes(), 0o644); err != nil { //nolint:gosec // it is read by all
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got.Bytes(), want) {
		return
	}
	is, was := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
	for i := range is {
		if i >= len(was) || is[i] != was[i] {
			t.Fatalf("openapi.json, line %d: %q; go test ./adminpanel/api -run %s -update writes it", i+1, is[i], t.Name())
		}
	}
	t.Fatal("openapi.json has more lines")
}

// Every rule has a handler, every handler a rule, and no two operations one name.
func TestRoutesAndRulesAreTheSame(t *testing.T) {
	w := newWorld(t)
	text, err := w.api.Document()
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	var routes, rules, names []string
	for path, methods := range d.Paths {
		for method, op := range methods {
			routes = append(routes, strings.ToUpper(method)+" "+path)
			names = append(names, op.OperationID)
			if op.Summary == "" || len(op.Responses) == 0 {
				t.Errorf("%s %s is described as %+v", method, path, op)
			}
		}
	}
	for _, r := range auth.Rules {
		rules = append(rules, r.Route)
	}
	slices.Sort(routes)
	slices.Sort(rules)
	for _, r := range rules {
		if _, ok := slices.BinarySearch(routes, r); !ok {
			t.Errorf("%s has a rule and no handler", r)
		}
	}
	for _, r := range routes {
		if _, ok := slices.BinarySearch(rules, r); !ok {
			t.Errorf("%s has a handler and no rule: nobody may use it", r)
		}
	}
	slices.Sort(names)
	if n := len(slices.Compact(names)); n != len(routes) || n == 0 {
		t.Errorf("%d routes have %d names", len(routes), n)
	}
}
