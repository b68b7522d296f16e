package ui

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestOnePageIsServedForAllAddressesOfPages(t *testing.T) {
	for path, want := range map[string]struct {
		status int
		kind   string
	}{
		"/":                   {http.StatusOK, "text/html; charset=utf-8"},
		"/devices/cam-1.js":   {http.StatusOK, "text/html; charset=utf-8"},
		"/assets/app.js":      {http.StatusOK, "text/javascript; charset=utf-8"},
		"/assets/style.css":   {http.StatusOK, "text/css; charset=utf-8"},
		"/assets/../ui.go":    {http.StatusNotFound, ""},
		"/assets/missing.css": {http.StatusNotFound, ""},
		"/api/v1/nothing":     {http.StatusNotFound, ""},
	} {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if kind := w.Header().Get("Content-Type"); w.Code != want.status || want.kind != "" && kind != want.kind {
			t.Errorf("%s: %d %s", path, w.Code, kind)
		}
	}
}

// The policy allows nothing inline, so the page must have none.
func TestPageHasNothingInline(t *testing.T) {
	page := string(load(bundled, "dist")["/index.html"].content)
	for _, bad := range []string{"<style", " style=", " onload=", "javascript:"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if strings.Count(page, "<script") != strings.Count(page, "<script type=\"module\" src=") {
		t.Error("the page has a script of its own")
	}
}
