package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Error is why a download ended. Its text is one sentence for people: what
// happened, and what to do.
type Error struct {
	what, todo string
	cause      error
}

func (e *Error) Error() string { return e.what + "; " + e.todo }

func (e *Error) Unwrap() error { return e.cause }

// ErrChanged is the cause of an [Error] if the server has another file by now.
var ErrChanged = errors.New("the file on the server changed while it was read")

const (
	goesOn  = "the download goes on where it stopped when staged again"
	nowhere = "check the address and the network and stage it again"
	elsehow = "download the package in another way and stage the file"
)

// hopeless marks what does not get better by asking again.
type hopeless struct {
	error
	todo string
}

func (h hopeless) Unwrap() error { return h.error }

// statusError is an answer that is no range.
type statusError struct {
	code  int
	text  string
	after time.Duration // Retry-After
}

func (s *statusError) Error() string {
	return fmt.Sprintf("the server answers %q where a range was asked for", s.text)
}

// status judges the answer's status line.
func status(resp *http.Response) error {
	err := &statusError{code: resp.StatusCode, text: resp.Status}
	switch code := resp.StatusCode; {
	case code == http.StatusPartialContent:
		return nil
	case code == http.StatusPreconditionFailed:
		return hopeless{fmt.Errorf("%w (%q)", ErrChanged, resp.Status), "stage it again"}
	case code == http.StatusOK:
		return hopeless{err, "it cannot serve parts of a file: " + elsehow}
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return hopeless{err, "check the address, and if it is the panel's, whether this device is still enrolled there"}
	case code == http.StatusNotImplemented, code == http.StatusHTTPVersionNotSupported:
		return hopeless{err, elsehow}
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		err.after = retryAfter(resp.Header)
		return err
	case code == http.StatusRequestTimeout, code >= 500:
		return err
	}
	return hopeless{err, "check the address"}
}

// retryAfter is how long the server wants to be left alone (RFC 9110, §10.2.3). A
// date is taken by the server's clock: the device may have none yet.
func retryAfter(h http.Header) time.Duration {
	var wait time.Duration
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if until, err := http.ParseTime(value); err == nil {
		if now, err := http.ParseTime(h.Get("Date")); err == nil {
			wait = until.Sub(now)
		}
	}
	return min(max(wait, 0), MaxRetryAfter)
}

// unanswered is why a request got no answer. The address is left out, which may hold
// secrets.
func unanswered(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	if _, ok := errors.AsType[hopeless](err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return hopeless{fmt.Errorf("the server's certificate is not accepted: %w", err), "check the address and the device's clock"}
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return hopeless{errors.New("the server does not speak TLS"), "check the address"}
	}
	return &unreachableError{err}
}

// unreachableError is no answer at all.
type unreachableError struct{ error }

func (u *unreachableError) Error() string { return "the server gives no answer: " + u.error.Error() }

func (u *unreachableError) Unwrap() error { return u.error }
