package api

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// reply answers a raw route with JSON.
func reply(w http.ResponseWriter, code int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, err = w.Write(append(text, '\n'))
	if err != nil {
		panic(http.ErrAbortHandler) // nobody reads
	}
	return nil
}

// takes documents the body of a raw route.
func takes(kind string) func(*huma.Operation) {
	return func(op *huma.Operation) {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			kind: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}}
	}
}

// gives documents what a raw route answers when all went well.
func gives(code int, what string) func(*huma.Operation) {
	return func(op *huma.Operation) {
		op.Responses = map[string]*huma.Response{strconv.Itoa(code): {Description: what}}
	}
}

// offsetHeader documents where a piece of an upload begins.
func offsetHeader(op *huma.Operation) {
	op.Parameters = append(op.Parameters, &huma.Param{
		Name: "Upload-Offset", In: "header", Required: true, Description: "at which byte of the package the body goes on",
		Schema: &huma.Schema{Type: huma.TypeInteger},
	})
}
