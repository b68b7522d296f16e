package auth

import (
	"fmt"
	"net/http"
	"time"
)

// Error is a refusal, in words for people. Errors of one Code are the same to errors.Is.
type Error struct {
	Status int    // that HTTP has for it
	Code   string // stable, for programs
	Detail string
	Field  string        // of the request that is wrong, if one is
	Reason string        // a word for the login page where one code has several reasons
	After  time.Duration // when to try again, if that helps; for Retry-After
}

func (e *Error) Error() string { return e.Detail }

// Is tells whether both have one code.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && e.Code == other.Code
}

// Refusals. None says which of two secrets was wrong, or whether a name exists.
var (
	ErrSignedOut = &Error{Status: http.StatusUnauthorized, Code: "signed-out",
		Detail: "you are not signed in, or no longer: sign in, or send a token that is still good"}
	ErrWrong = &Error{Status: http.StatusUnauthorized, Code: "wrong-login",
		Detail: "the name or the password is wrong, or the account may not sign in"}
	ErrForbidden = &Error{Status: http.StatusForbidden, Code: "forbidden",
		Detail: "your roles do not cover this: ask an administrator for a grant over these devices"}
	ErrForeign = &Error{Status: http.StatusForbidden, Code: "cross-origin",
		Detail: "the request comes from a page of another site: use the panel's own pages, or a token outside of a browser"}
	ErrHost = &Error{Status: http.StatusMisdirectedRequest, Code: "wrong-host",
		Detail: "the panel does not answer to this name: use one that its configuration lists"}
	ErrNotJSON = &Error{Status: http.StatusUnsupportedMediaType, Code: "wrong-type",
		Detail: "the body's Content-Type is not what this route takes"}
	ErrLimit = &Error{Status: http.StatusTooManyRequests, Code: "too-many",
		Detail: "too many requests: wait a little"}
	ErrUnknown = &Error{Status: http.StatusNotFound, Code: "not-found",
		Detail: "there is none by that name, or it is gone"}
	ErrTaken = &Error{Status: http.StatusConflict, Code: "taken",
		Detail: "there is one by that name already"}
	ErrChanged = &Error{Status: http.StatusPreconditionFailed, Code: "changed",
		Detail: "somebody has changed it meanwhile: look at it again"}
	ErrLastAdmin = &Error{Status: http.StatusConflict, Code: "last-admin",
		Detail: "nobody could administer the panel any more: give another account with a password that role over all devices first"}
	ErrInvalid = &Error{Status: http.StatusUnprocessableEntity, Code: "invalid",
		Detail: "the request says something that cannot be"}
	ErrProvider = &Error{Status: http.StatusBadGateway, Code: "provider",
		Detail: "the identity provider does not answer as it should: try again, or sign in with a password"}
	ErrOwnRollout = &Error{Status: http.StatusForbidden, Code: "own-rollout",
		Detail: "a rollout to so many devices needs the word of somebody other than who made it"}
)

// invalid says what is wrong with a field of the request.
func invalid(field, format string, args ...any) error {
	e := *ErrInvalid
	e.Field, e.Detail = field, fmt.Sprintf(format, args...)
	return &e
}

// because is e with other words.
func because(e *Error, format string, args ...any) error {
	other := *e
	other.Detail = fmt.Sprintf(format, args...)
	return &other
}

// reasoned is e with other words, and with one of the login page's.
func reasoned(reason string, e *Error, format string, args ...any) error {
	other := *e
	other.Reason, other.Detail = reason, fmt.Sprintf(format, args...)
	return &other
}

func limited(after time.Duration) error {
	e := *ErrLimit
	e.After = max(after, time.Second)
	return &e
}
