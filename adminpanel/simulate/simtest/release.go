package simtest

import (
	"bytes"
	"net/http"
	"path/filepath"
	"time"
)

// Serve gives out packages at /v1/releases/NAME, by ranges.
func Serve(packages map[string][]byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		slip, ok := packages[filepath.Base(r.URL.Path)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(slip))
	})
}
