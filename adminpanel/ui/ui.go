package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
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

// Handler serves today's page at /; see [Next].
func Handler() http.Handler {
	files := load(embedded, "page")
	files["/"] = files["/index.html"]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		if !ok {
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
