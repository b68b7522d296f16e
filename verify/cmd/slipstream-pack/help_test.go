package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// keysOf lists the keys of a struct as templates write them.
func keysOf(prefix string, v any) []string {
	var keys []string
	for field := range reflect.TypeOf(v).Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		keys = append(keys, prefix+name)
	}
	return keys
}

func TestHelpDescribesEveryKey(t *testing.T) {
	keys := append(keysOf("", verify.Manifest{}), keysOf("app.", verify.App{})...)
	keys = append(keys, keysOf("  ", verify.Stream{})...)
	for _, key := range append(keys, keysOf("    ", verify.Invariant{})...) {
		switch key {
		case "images", "app": // computed; described by its keys
			continue
		case "  width", "  height":
			key = "  width, height"
		case "    min", "    max":
			key = "    min, max"
		}
		if !regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(key) + ` +\S`).MatchString(buildHelp) {
			t.Errorf("the help does not describe %q", key)
		}
	}
}

// exampleTemplate is what a newcomer copies out of the help.
func exampleTemplate(t *testing.T, text string) (verify.Manifest, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manifest.json")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return pack.LoadTemplate(path)
}

func TestHelpTellsTheTrueDefaults(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/camera"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	m, err := exampleTemplate(t, buildExample)
	if err != nil {
		t.Fatalf("the help's example: %v", err)
	}
	key, err := pack.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	m.IssuedAt = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	path, err := pack.BuildFile(t.Context(), out, pack.Options{Dir: dir, Manifest: m, Key: key})
	if err != nil {
		t.Fatalf("the help's example: %v", err)
	}
	if want := filepath.Join(out, "gatecam-2.0.0.slip"); path != want {
		t.Errorf("the help's example became %s, want %s", path, want)
	}

	m.App = &verify.App{Exec: m.App.Exec, Streams: []verify.Stream{{
		Name: "main", Width: 320, Height: 180,
		Invariants: []verify.Invariant{
			{Name: "rate", Measure: verify.MeasureFrameRate, Against: verify.AgainstNothing, Min: new(1.0), Severity: verify.SeverityWanted},
			{Name: "gap", Measure: verify.MeasureGap, Against: verify.AgainstNothing, Max: new(1.0), WindowMS: 1000},
		},
	}}}
	path, err = pack.BuildFile(t.Context(), out, pack.Options{Dir: dir, Manifest: m, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	r, err := inspect(path, inspectFlags{})
	if err != nil {
		t.Fatal(err)
	}
	a := r.Manifest.App
	stream := a.Streams[0]
	for key, value := range map[string]any{
		"app.overlap": a.Overlap, "app.greenlight": a.Greenlight, "app.deadlineMs": a.DeadlineMS, "app.soakMs": a.SoakMS,
		"app.startTimeoutMs": a.StartTimeoutMS, "app.stopTimeoutMs": a.StopTimeoutMS, "app.watchdogMs": a.WatchdogMS,
		"app.restartMax": a.RestartMax, "app.restartWindowMs": a.RestartWindow, "app.publishRtsp": a.PublishRTSP,
		"  codec": stream.Codec, "  stallMs": stream.StallMS, "  events": stream.Events, "format": r.Manifest.Format,
		"    windowMs": stream.Invariants[0].WindowMS, "    severity": stream.Invariants[1].Severity,
	} {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^  %s +%v `, regexp.QuoteMeta(key), value)).MatchString(buildHelp) {
			t.Errorf("the help does not say that %s is %v by default", key, value)
		}
	}
}

// The page on keys is followed on paper, on machines without a network: what it
// says must be there, and it must fit a terminal.
func TestHelpOnKeysNamesWhatIsThere(t *testing.T) {
	known := map[string]bool{"root show": true}
	var visit func(path string, cmd *cobra.Command)
	visit = func(path string, cmd *cobra.Command) {
		known[strings.TrimSpace(path)] = true
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
		for _, sub := range cmd.Commands() {
			visit(path+" "+sub.Name(), sub)
		}
	}
	visit("", newRoot())
	for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(keysHelp, -1) {
		if !known[flag] {
			t.Errorf("the page names %s, which no command has", flag)
		}
	}
	for _, found := range regexp.MustCompile(`slipstream-pack ((?:root )?[a-z-]+)`).FindAllStringSubmatch(keysHelp, -1) {
		if !known[found[1]] {
			t.Errorf("the page names the command %q", found[1])
		}
	}
	for i, line := range strings.Split(keysHelp, "\n") {
		if len(line) > 80 {
			t.Errorf("line %d has %d columns", i+1, len(line))
		}
	}
}

// The page on checking by hand is the section of the documentation, to the letter.
func TestHelpOnCheckingIsTheDocumentation(t *testing.T) {
	doc, err := os.ReadFile("../../doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "// # Checking a package without this code\n")
	_, section, _ = strings.Cut(section, "//\tset -eu\n")
	section, _, found := strings.Cut(section, "\n//\n// Comparing")
	script := strings.ReplaceAll(strings.ReplaceAll("//\tset -eu\n"+section+"\n", "//\t", ""), "//\n", "\n")
	if !found || script != checkScript {
		t.Errorf("the page prints\n%s\nand the documentation says\n%s", checkScript, script)
	}
}
