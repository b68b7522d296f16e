package fetch

import (
	"crypto/tls"
	"errors"
	"net/http"
)

// Limits of one answer.
const (
	MaxHeader    = 64 << 10 // bytes
	MaxRedirects = 5
)

// NewClient returns a client for [Open]; config may be nil.
func NewClient(config *tls.Config) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	transport.MaxResponseHeaderBytes = MaxHeader
	transport.DisableCompression = true
	return &http.Client{Transport: transport, CheckRedirect: stay}
}

func stay(next *http.Request, via []*http.Request) error {
	if next.URL.Host != via[0].URL.Host || next.URL.Scheme != via[0].URL.Scheme {
		return errors.New("it redirects to another server")
	}
	if len(via) > MaxRedirects {
		return errors.New("it redirects without end")
	}
	return nil
}
