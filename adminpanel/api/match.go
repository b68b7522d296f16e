package api

import (
	"net/http"
	"strconv"
	"strings"
)

// ifMatch is the parameter of routes that change what has a revision.
type ifMatch struct {
	IfMatch string `header:"If-Match" maxLength:"64" doc:"the revision that is to be changed, in double quotes, as ETag and rev say it; * for any"`
}

// rev is the revision that the caller has seen; 0 for "*".
func (m ifMatch) rev() (int64, error) {
	if m.IfMatch == "" {
		return 0, newProblem(http.StatusPreconditionRequired, "no-revision",
			"say which revision you have seen, by If-Match: somebody else may have changed it meanwhile")
	}
	if m.IfMatch == "*" {
		return 0, nil
	}
	text, opened := strings.CutPrefix(m.IfMatch, `"`)
	text, closed := strings.CutSuffix(text, `"`)
	rev, err := strconv.ParseInt(text, 10, 64)
	if err != nil || rev <= 0 || !opened || !closed {
		return 0, badInput("header.If-Match", "it must be a revision in double quotes, such as \"17\", or *")
	}
	return rev, nil
}

// tagged is a body of JSON that has a revision.
type tagged[T any] struct {
	ETag string `header:"ETag"`
	Body T
}

// tag answers with a value and its revision.
func tag[T any](v T, rev int64, err error) (*tagged[T], error) {
	if err != nil {
		return nil, err
	}
	return &tagged[T]{strconv.Quote(strconv.FormatInt(rev, 10)), v}, nil
}
