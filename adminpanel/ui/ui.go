package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:generate go run ./bundle

//go:embed dist
var bundled embed.FS

// Policy is what the pages need, and all that they may: nothing inline, no strings for
// markup.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self' blob:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// file is one file of the page. Its tag lets a browser keep it until the panel
// is another one: embedded files have no dates.
type file struct {
	content []byte
	kind    string
	tag     string
}

// kinds are fixed here, because the machine's own table may differ.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Handler serves the pages: files below /assets/, and one page for every other address,
// which the pages themselves tell apart. Addresses below /api/ are not theirs.
func Handler() http.Handler {
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

func load(from embed.FS, dir string) map[string]file {
	files := map[string]file{}
	entries, err := fs.ReadDir(from, dir)
	if err != nil {
		panic(err) // it is in the program
	}
	for _, e := range entries {
		content, err := from.ReadFile(path.Join(dir, e.Name()))
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		files["/"+e.Name()] = file{content, kinds[path.Ext(e.Name())], `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	return files
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", f.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
}
