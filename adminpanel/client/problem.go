package client

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"slipstream/adminpanel/view"
)

// Problem is a refusal of the panel's.
type Problem struct {
	view.Problem

	// After is when to try again, if the panel says so.
	After time.Duration
}

// Error is the panel's sentence.
func (p *Problem) Error() string { return cmp.Or(p.Detail, p.Title) }

// IsCode tells whether an error is a problem with a code.
func IsCode(err error, code string) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Code == code
}

// gone tells whether what was asked for is not there.
func gone(err error) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Status == http.StatusNotFound
}

// UnreachableError means that nothing was sent: the panel is not there, or is not who it
// has to be.
type UnreachableError struct {
	URL string
	Err error
}

func (e *UnreachableError) Error() string {
	if e.Untrusted() {
		return fmt.Sprintf("the certificate of %s is not believed: %v", e.URL, e.Err)
	}
	return fmt.Sprintf("no panel answers at %s: %v", e.URL, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// Untrusted tells whether the panel's certificate is the reason.
func (e *UnreachableError) Untrusted() bool {
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	return errors.As(e.Err, &authority) || errors.As(e.Err, &invalid) || errors.As(e.Err, &host)
}

// LostError means that the panel was asked and no answer has come. It may have done what it
// was asked for.
type LostError struct {
	URL string
	Err error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("the panel at %s stopped answering, and may have done what it was asked for: %v", e.URL, e.Err)
}

func (e *LostError) Unwrap() error { return e.Err }

const (
	maxTries = 5
	// maxAfter is the longest wait that the panel may ask for without being refused.
	maxAfter = 30 * time.Second
)

// backOff tells whether to ask again after an error, and when.
func backOff(err error, method string, try int) (time.Duration, bool) {
	if try+1 >= maxTries {
		return 0, false
	}
	wait := 250 * time.Millisecond << try
	wait = wait/2 + rand.N(wait) //nolint:gosec // not a secret
	if p, ok := errors.AsType[*Problem](err); ok {
		switch {
		case p.After > maxAfter:
			return 0, false
		case p.Status == http.StatusTooManyRequests, p.Status == http.StatusServiceUnavailable:
			return max(wait, p.After), true // it says that nothing was done
		case p.Status == http.StatusBadGateway, p.Status == http.StatusGatewayTimeout:
			return wait, mayRepeat(method)
		}
		return 0, false
	}
	if e, ok := errors.AsType[*UnreachableError](err); ok {
		return wait, !e.Untrusted()
	}
	_, lost := errors.AsType[*LostError](err)
	return wait, lost && mayRepeat(method)
}

// mayRepeat tells whether a request of which nothing is known may be sent again. A POST has
// a key by which the panel knows it; changes by PATCH and PUT would meet themselves.
func mayRepeat(method string) bool {
	return method == http.MethodGet || method == http.MethodPost || method == http.MethodDelete
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
