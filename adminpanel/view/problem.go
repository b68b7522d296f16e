package view

// Problem is why a request was refused or failed (RFC 9457). Code is stable, Detail is one
// plain sentence.
type Problem struct {
	Type   string  `json:"type"`
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Detail string  `json:"detail"`
	Code   string  `json:"code"`
	Errors []Fault `json:"errors,omitempty"` // where in the request, if it is the request
}

// Fault is something wrong in a request: in its path, query, header or body.
type Fault struct {
	Location string `json:"location,omitempty"` // "body.grants[0].role"
	Message  string `json:"message"`
}
