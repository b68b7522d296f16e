package fetch

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"
)

// Limits of one answer.
const (
	MaxHeader    = 64 << 10 // bytes
	MaxRedirects = 5
)

// NewClient returns a client for [Open]; config may be nil. Its connections take in
// no more, ahead of who reads, than befits the limits' MaxRate.
func NewClient(config *tls.Config, l Limits) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	transport.MaxResponseHeaderBytes = MaxHeader
	transport.DisableCompression = true
	transport.ForceAttemptHTTP2 = false
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	dialer := net.Dialer{Timeout: dialTimeout, Control: narrow(l.MaxRate)}
	transport.DialContext = dialer.DialContext
	return &http.Client{Transport: transport, CheckRedirect: stay}
}

const dialTimeout = 30 * time.Second // for all addresses of a name

func stay(next *http.Request, via []*http.Request) error {
	if next.URL.Host != via[0].URL.Host || next.URL.Scheme != via[0].URL.Scheme {
		return hopeless{errors.New("the server redirects to another server"), "give that one's address"}
	}
	if len(via) > MaxRedirects {
		return hopeless{errors.New("the server redirects without end"), "check the address"}
	}
	return nil
}
