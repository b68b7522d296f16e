package adminpanel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/store"
)

// peopleTLS is how people are served; nil is plain HTTP.
func peopleTLS(cfg config.TLS, names []string, authority *ca.Authority, s store.Store) (*tls.Config, error) {
	line := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	switch cfg.Mode {
	case config.TLSOff:
		return nil, nil
	case config.TLSFiles:
		pair := &pair{cert: cfg.Cert, key: cfg.Key}
		line.GetCertificate = pair.get
		_, err := pair.get(nil)
		return line, err
	case config.TLSOwn:
		line.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return authority.Server(names, time.Now()) }
		return line, nil
	case config.TLSAuto:
		client, err := acmeClient(cfg)
		if err != nil {
			return nil, err
		}
		m := &autocert.Manager{Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist(cfg.Hosts...), Cache: acmeCache{s}, Client: client, Email: cfg.Mail}
		line.GetCertificate = m.GetCertificate
		line.NextProtos = append(line.NextProtos, acme.ALPNProto)
		return line, nil
	}
	return nil, fmt.Errorf("tls.mode %q is none", cfg.Mode)
}

// acmeTime bounds one request to an ACME authority.
const acmeTime = time.Minute

// acmeClient asks the authority of a configuration.
func acmeClient(cfg config.TLS) (*acme.Client, error) {
	client := &acme.Client{DirectoryURL: cfg.ACME}
	if cfg.ACME == "" {
		client.DirectoryURL = autocert.DefaultACMEDirectory
	}
	line := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // nobody changes it here
	if cfg.ACMECA != "" {
		pool, err := authorities(cfg.ACMECA)
		if err != nil {
			return nil, fmt.Errorf("who vouches for the ACME authority: %w", err)
		}
		line.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	client.HTTPClient = &http.Client{Transport: line, Timeout: acmeTime}
	return client, nil
}

// pair is a certificate in files, which are read again when they have changed. While what
// is there cannot be read, the one before stays.
type pair struct {
	cert, key string

	mu     sync.Mutex // guards what follows
	have   *tls.Certificate
	as     [2]stamp
	looked time.Time
}

type stamp struct {
	size int64
	at   time.Time
}

// lookAtFiles is how soon another certificate is taken up.
const lookAtFiles = time.Second

func (p *pair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.have != nil && time.Since(p.looked) < lookAtFiles {
		return p.have, nil
	}
	p.looked = time.Now()
	now, err := stamps(p.cert, p.key)
	if err == nil && p.have != nil && now == p.as {
		return p.have, nil
	}
	var fresh tls.Certificate
	if err == nil {
		fresh, err = tls.LoadX509KeyPair(p.cert, p.key)
	}
	if err != nil {
		if p.have != nil {
			return p.have, nil
		}
		return nil, fmt.Errorf("read the certificate for people: %w", err)
	}
	p.have, p.as = &fresh, now
	return p.have, nil
}

func stamps(paths ...string) (all [2]stamp, err error) {
	for i, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return all, err
		}
		all[i] = stamp{info.Size(), info.ModTime()}
	}
	return all, nil
}

// acmeCache keeps certificates by ACME, and what proves the names meanwhile, where all
// panels of a store find them.
type acmeCache struct{ store store.Store }

const acmePrefix = "ca/acme/"

func (c acmeCache) Get(ctx context.Context, name string) ([]byte, error) {
	item, err := c.store.Get(ctx, acmePrefix+name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, autocert.ErrCacheMiss
	}
	return item.Value, err
}

func (c acmeCache) Put(ctx context.Context, name string, data []byte) error {
	_, err := c.store.Commit(ctx, nil, []store.Op{{Key: acmePrefix + name, Value: data}})
	return err
}

func (c acmeCache) Delete(ctx context.Context, name string) error {
	_, err := c.store.Commit(ctx, nil, []store.Op{{Key: acmePrefix + name, Delete: true}})
	return err
}
