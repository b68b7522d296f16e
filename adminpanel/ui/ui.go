package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed page
var embedded embed.FS

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

// Handler serves the page at /.
func Handler() http.Handler {
	files := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", f.kind)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", f.tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	})
}

func load() map[string]file {
	files := map[string]file{}
	entries, err := fs.ReadDir(embedded, "page")
	if err != nil {
		panic(err) // it is in the program
	}
	for _, e := range entries {
		content, err := embedded.ReadFile(path.Join("page", e.Name()))
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		files["/"+e.Name()] = file{content, kinds[path.Ext(e.Name())], `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	files["/"] = files["/index.html"]
	return files
}
