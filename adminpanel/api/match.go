package api

import (
	"net/http"
	"strconv"
	"strings"
)

// Revised is the parameter of routes that change what has a revision. Like all that is
// embedded in inputs it is exported: huma passes over what is not.
type Revised struct {
	IfMatch string `header:"If-Match" maxLength:"64" doc:"the revision that is to be changed, in double quotes, as ETag and rev say it; * for any"`
}

// rev is the revision that the caller has seen; 0 for "*".
func (m Revised) rev() (int64, error) {
	rev, whatever, err := m.seen()
	if err == nil && rev == 0 && !whatever {
		err = badInput("header.If-Match", "there is no revision 0")
	}
	return rev, err
}

// seen is rev for what has revision 0 until somebody writes it: it tells that from "*".
func (m Revised) seen() (rev int64, whatever bool, err error) {
	if m.IfMatch == "" {
		return 0, false, newProblem(http.StatusPreconditionRequired, "no-revision",
			"say which revision you have seen, by If-Match: somebody else may have changed it meanwhile")
	}
	if m.IfMatch == "*" {
		return 0, true, nil
	}
	text, opened := strings.CutPrefix(m.IfMatch, `"`)
	text, closed := strings.CutSuffix(text, `"`)
	rev, err = strconv.ParseInt(text, 10, 64)
	if err != nil || rev < 0 || !opened || !closed {
		return 0, false, badInput("header.If-Match", "it must be a revision in double quotes, such as \"17\", or *")
	}
	return rev, false, nil
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
