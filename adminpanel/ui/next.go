package ui

import (
	"bytes"
	"embed"
	"net/http"
	"strings"
	"time"
)

//go:generate go run ./bundle

//go:embed dist
var bundled embed.FS

// Policy is what the new pages need, and all that they may: nothing inline, no strings
// for markup.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self' blob:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Next serves the new pages: files below /assets/, and one page for every other address,
// which the pages themselves tell apart. Addresses below /api/ are not theirs.
func Next() http.Handler {
	files := load(bundled, "dist")
	page := files["/index.html"]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := page
		if name, ok := strings.CutPrefix(r.URL.Path, "/assets"); ok {
			if f, ok = files[name]; !ok {
				http.NotFound(w, r)
				return
			}
		} else if strings.HasPrefix(r.URL.Path, "/api/") {
			http.NotFound(w, r)
			return
		}
		f.serve(w, r)
	})
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", f.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
}
