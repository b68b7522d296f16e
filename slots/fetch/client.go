package fetch

import (
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

// NewClient returns a client for [Open]. Its connections take in no more, ahead of who
// reads, than befits the limits' MaxRate.
func NewClient(l Limits) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = MaxHeader
	transport.DisableCompression = true
	transport.ForceAttemptHTTP2 = false
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	dialer := net.Dialer{Timeout: dialTimeout, Control: narrow(l.MaxRate)}
	transport.DialContext = dialer.DialContext
	return &http.Client{Transport: transport, CheckRedirect: stay}
}

// Over returns a client for [Open] that sends its requests over somebody's own
// connection. Whoever has that bounds what it takes in, as HTTP/2 does by its window,
// and an answer's header, as by [MaxHeader].
func Over(line http.RoundTripper) *http.Client {
	return &http.Client{Transport: line, CheckRedirect: stay}
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
