package api

import (
	"encoding/json"
	"net/http"
)

// Document is the OpenAPI description of all routes.
func (a *API) Document() ([]byte, error) { return json.MarshalIndent(a.huma.OpenAPI(), "", "  ") }

func (a *API) serveDocument(w http.ResponseWriter) {
	text, err := a.Document()
	if err != nil {
		a.fail(w, a.problem(err))
		return
	}
	w.Header().Set("Content-Type", "application/openapi+json")
	w.Write(text)
}
