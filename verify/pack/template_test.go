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

func TestTemplateRefuses(t *testing.T) {
	for _, row := range []struct{ name, text, says string }{
		{"not JSON", `product = "x"`, "invalid character"},
		{"a misspelt field", `{"relaseCounter":1}`, "relaseCounter"},
		{"images", `{"images":[{"name":"x"}]}`, "leave them out"},
		{"text behind", `{} {}`, "after the closing brace"},
	} {
		if _, err := loadTemplate(t, row.text); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: got %v, want something with %q", row.name, err, row.says)
		}
	}
}
