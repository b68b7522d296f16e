package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// base is before every route's path.
const base = "/api/v1"

// newHuma is a huma API without routes of its own: no documentation pages, which would
// load scripts of other sites, and no schema links in answers.
func newHuma(mux *http.ServeMux) huma.API {
	cfg := huma.DefaultConfig("Slipstream panel", "1")
	cfg.Info.Description = "A fleet of devices that are updated while people watch. Errors are RFC 9457 problems with a stable code."
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	cfg.CreateHooks = nil
	cfg.RejectUnknownQueryParameters = true
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":   {Type: "http", Scheme: "bearer", Description: "an API token"},
		"session": {Type: "apiKey", In: "cookie", Name: "__Host-session", Description: "the session of a person who is signed in"},
	}
	cfg.Security = []map[string][]string{{"token": {}}, {"session": {}}}
	return humago.New(mux, cfg)
}

// operation describes the route of a pattern such as "GET /devices/{id}". Its name in the
// document is made of that.
func (a *API) operation(pattern, summary string, with []func(*huma.Operation)) huma.Operation {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok || !strings.HasPrefix(path, "/") {
		panic(fmt.Sprintf("%q is not a method and a path", pattern))
	}
	op := huma.Operation{
		Method: method, Path: base + path, Summary: summary, OperationID: nameOf(method, path),
		// The body is in memory by then; the deadline for it was another one.
		MaxBodyBytes: maxJSON + 1, BodyReadTimeout: -1,
	}
	for _, change := range with {
		change(&op)
	}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[problem](), true, "")
	op.Responses["default"] = &huma.Response{
		Description: "It was refused, or failed", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}},
	}
	return op
}

// nameOf makes "get-devices-id-history" of GET /devices/{id}/history.
func nameOf(method, path string) string {
	words := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune("/{}", r) })
	return strings.ToLower(method) + "-" + strings.Join(words, "-")
}

// add serves a route of JSON. What the handler returns as an error becomes a problem.
func add[I, O any](a *API, pattern, summary string, handle func(context.Context, *I) (*O, error), with ...func(*huma.Operation)) {
	checkEmbedded(pattern, reflect.TypeFor[I]())
	huma.Register(a.huma, a.operation(pattern, summary, with), func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.problem(err)
		}
		return out, nil
	})
}

// checkEmbedded refuses inputs whose embedded parameters huma would not see.
func checkEmbedded(pattern string, in reflect.Type) {
	for f := range in.Fields() {
		if f.Anonymous && !f.IsExported() {
			panic(pattern + ": the input embeds " + f.Name + ", whose parameters nobody would read")
		}
	}
}

// raw serves a route whose bodies are not JSON. An error is for before anything was
// answered.
func raw(a *API, pattern, summary string, handle func(http.ResponseWriter, *http.Request) error, with ...func(*huma.Operation)) {
	op := a.operation(pattern, summary, with)
	if len(op.Responses) == 1 {
		op.Responses["200"] = &huma.Response{Description: "OK"}
	}
	for part := range strings.SplitSeq(op.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			op.Parameters = append(op.Parameters, &huma.Param{
				Name: strings.TrimSuffix(name, "}"), In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString},
			})
		}
	}
	a.huma.OpenAPI().AddOperation(&op)
	a.mux.HandleFunc(op.Method+" "+op.Path, func(w http.ResponseWriter, r *http.Request) {
		if err := handle(w, r); err != nil {
			a.fail(w, a.problem(err))
		}
	})
}

// status is what a route answers when all went well, if not 200 or, without a body, 204.
func status(code int) func(*huma.Operation) {
	return func(op *huma.Operation) { op.DefaultStatus = code }
}

// open marks a route for callers who are not signed in.
func open(op *huma.Operation) { op.Security = []map[string][]string{} }

// query documents a parameter of a raw route.
func query(name, doc string) func(*huma.Operation) {
	return func(op *huma.Operation) {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: huma.TypeString}})
	}
}

// answer is a body of JSON.
type answer[T any] struct{ Body T }

// say answers with a value.
func say[T any](v T, err error) (*answer[T], error) {
	if err != nil {
		return nil, err
	}
	return &answer[T]{v}, nil
}

// nothing is an answer without a body, or a request without parameters.
type nothing struct{}
