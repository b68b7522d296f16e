package link

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// maxToken bounds the token file in bytes.
const maxToken = 4 << 10

// leftIdle is how long a connection may lie about after its link.
const leftIdle = time.Second

// dialer makes the clients for one panel, a new one for each attempt: a client
// uses its connection again, also one that is dead while TCP hopes for a quarter
// of an hour. They speak HTTP/2 only: without it there is no stream that carries
// both ways.
func dialer(cfg Config) (*url.URL, func() *http.Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, nil, fmt.Errorf("link: the panel's url: %w", err)
	}
	var protocols http.Protocols
	switch {
	case base.Host == "":
		return nil, nil, fmt.Errorf("link: %q is not the url of a panel", cfg.URL)
	case base.Scheme == "https":
		protocols.SetHTTP2(true)
	case base.Scheme == "http" && isLoopback(base.Hostname()):
		protocols.SetUnencryptedHTTP2(true)
	default:
		return nil, nil, fmt.Errorf("link: %s: a panel on another machine needs https, or the token could be read on the way", cfg.URL)
	}
	roots, err := rootCAs(cfg.CAFile)
	if err != nil {
		return nil, nil, err
	}
	return base, func() *http.Client {
		return &http.Client{
			Transport: &http.Transport{
				Protocols:           &protocols,
				TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
				TLSHandshakeTimeout: connectTimeout,
				IdleConnTimeout:     leftIdle,
			},
			// A redirect would carry the token to somebody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}, nil
}

func rootCAs(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("link: read the panel's certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("link: %s holds no certificate", file)
	}
	return pool, nil
}

func readToken(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read the device's token: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("read the device's token: %w", err)
	}
	if len(text) > maxToken {
		return "", errors.New("the token file is too long for a token")
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("the token file %s is empty", file)
	}
	return token, nil
}
