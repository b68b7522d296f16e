package api_test

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write openapi.json anew")

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
