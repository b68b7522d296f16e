package pack_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/verify"
	"slipstream/verify/pack"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

func loadTemplate(t *testing.T, text string) (verify.Manifest, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manifest.json")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return pack.LoadTemplate(path)
}

func TestTemplateDefaults(t *testing.T) {
	m, err := loadTemplate(t, `{"product":"gatecam","hardware":["cam-a1"],"version":"1.0.0","releaseCounter":1,
		"app":{"exec":["/bin/sh"],"deadlineMs":3000,"streams":[{"name":"main","width":320,"height":180}]}}`)
	if err != nil {
		t.Fatal(err)
	}
	opts := options(t, t.TempDir())
	opts.Manifest = m
	p, _ := build(t, opts)
	app := p.Manifest.App
	if app.Overlap != verify.OverlapFull || app.Greenlight != verify.GreenlightApp || app.Streams[0].Codec != verify.CodecH264 {
		t.Errorf("defaults: %+v", app)
	}
	if app.StartTimeoutMS != 3000 || app.SoakMS != 1500 {
		t.Errorf("a short deadline leaves startTimeoutMs %d and soakMs %d", app.StartTimeoutMS, app.SoakMS)
	}
	if m.App.Overlap != "" || m.App.Streams[0].Codec != "" {
		t.Error("building changed the caller's template")
	}
}

func TestTemplateDefaultsOfInvariants(t *testing.T) {
	m, err := loadTemplate(t, `{"product":"gatecam","hardware":["cam-a1"],"version":"1.0.0","releaseCounter":1,
		"app":{"exec":["/bin/sh"],"streams":[{"name":"main","width":320,"height":180,"invariants":[
			{"name":"rate","measure":"frame-rate","against":"permanent","min":0.9},
			{"name":"jitter","measure":"drift","against":"nothing","min":-40,"max":40,"windowMs":9000,"severity":"wanted"}]}]}}`)
	if err != nil {
		t.Fatal(err)
	}
	opts := options(t, t.TempDir())
	opts.Manifest = m
	p, _ := build(t, opts)
	app := p.Manifest.App
	rate := app.Streams[0].Invariants[0]
	if *rate.Min != 0.9 || rate.WindowMS != 3000 || rate.Severity != verify.SeverityRequired {
		t.Errorf("defaults: %+v", rate)
	}
	if app.SoakMS != 3000 {
		t.Errorf("soakMs is %d by default, want the longest window of a required invariant, 3000", app.SoakMS)
	}
	if m.App.Streams[0].Invariants[0].WindowMS != 0 {
		t.Error("building changed the caller's template")
	}
}

func TestTemplateRefuses(t *testing.T) {
	for _, row := range []struct{ name, text, says string }{
		{"not JSON", `product = "x"`, "manifest.json:1: invalid character"},
		{"a comma too many", "{\n \"product\": \"x\",\n}", "manifest.json:3: invalid character '}'"},
		{"an open string", "{\n \"product\": \"x\n}", "manifest.json:2: invalid character"},
		{"a misspelt field", "{\n\n\"relaseCounter\" :1}", `manifest.json:3: unknown field "relaseCounter"`},
		{"a field in two places", "{\n\"width\":1,\n\"app\":{\"streams\":[{\"width\":2}]}}", `manifest.json: unknown field "width"`},
		{"a text for a number", "{\n\"app\": {\n\"soakMs\": \"2 s\"}}", "manifest.json:3: app.soakMs cannot be a string"},
		{"an end too early", "{\n\"product\": \"x\"\n\n", "manifest.json:2: the file ends before"},
		{"nothing", "", "manifest.json: the file is empty"},
		{"images", `{"images":[{"name":"x"}]}`, "leave them out"},
		{"text behind", `{} {}`, "after the closing brace"},
	} {
		if _, err := loadTemplate(t, row.text); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: got %v, want something with %q", row.name, err, row.says)
		}
	}
}
