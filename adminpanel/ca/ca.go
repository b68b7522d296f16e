package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// DeviceLife is how long a device's certificate is good; it is renewed when a
	// third of that is left.
	DeviceLife = 365 * 24 * time.Hour
	serverLife = 90 * 24 * time.Hour
)

// ErrLast keeps a panel from being without an authority.
var ErrLast = errors.New("there is one generation of the authority only: make another with rotate first, and wait until the devices have renewed")

// Authority is safe for concurrent use. Several processes may have one open.
type Authority struct {
	keeper keeper

	mu          sync.Mutex     // guards what follows
	generations []generation   // oldest first, at least one
	pool        *x509.CertPool // of all generations' roots; nil: to be made
	server      *tls.Certificate
	names       []string // that server is for
}

// keeper is where generations are.
type keeper interface {
	list() (map[int]parts, error)
	// add keeps a generation, unless there is one of that number.
	add(number int, p parts) error
	// retire keeps a generation under another name.
	retire(number int) error
	// follow says when there may be others, until ctx ends.
	follow(ctx context.Context, look func(), failed func(error))
}

// Open opens the authority in a directory, and makes one if there is none.
func Open(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	return open(files(dir))
}

func open(k keeper) (*Authority, error) {
	a := &Authority{keeper: k}
	generations, err := a.read()
	if err == nil && len(generations) == 0 {
		if err = a.add(1); err == nil {
			generations, err = a.read()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("ca: open the panel's authority: %w", err)
	}
	a.generations = generations
	return a, nil
}

// read lists what is kept, oldest first.
func (a *Authority) read() (list []generation, err error) {
	kept, err := a.keeper.list()
	if err != nil {
		return nil, err
	}
	for _, number := range slices.Sorted(maps.Keys(kept)) {
		g, err := readGeneration(kept[number], number)
		if err != nil {
			return nil, fmt.Errorf("generation %d: %w", number, err)
		}
		list = append(list, g)
	}
	return list, nil
}

// add makes a generation. If another process was faster, its generation is as good.
func (a *Authority) add(number int) error {
	p, err := makeGeneration(number, time.Now())
	if err != nil {
		return err
	}
	return a.keeper.add(number, p)
}

// Run looks for what others change, until ctx ends, and says when it took that in.
func (a *Authority) Run(ctx context.Context, changed func(), failed func(error)) {
	a.keeper.follow(ctx, func() {
		switch other, err := a.Reload(); {
		case err != nil:
			failed(err)
		case other:
			changed()
		}
	}, failed)
}

// Rotate adds a generation, by which devices' certificates are made from now on.
func (a *Authority) Rotate() error {
	a.mu.Lock()
	next := a.generations[len(a.generations)-1].number + 1
	a.mu.Unlock()
	if err := a.add(next); err != nil {
		return fmt.Errorf("ca: make another generation: %w", err)
	}
	_, err := a.Reload()
	return err
}

// Retire drops the oldest generation, which is kept under another name.
func (a *Authority) Retire() error {
	a.mu.Lock()
	count, oldest := len(a.generations), a.generations[0].number
	a.mu.Unlock()
	if count < 2 {
		return ErrLast
	}
	if err := a.keeper.retire(oldest); err != nil {
		return fmt.Errorf("ca: retire a generation: %w", err)
	}
	_, err := a.Reload()
	return err
}

// Reload takes in what another process has changed, and says whether it did.
func (a *Authority) Reload() (changed bool, err error) {
	generations, err := a.read()
	if err == nil && len(generations) == 0 {
		err = errors.New("no generation is left")
	}
	if err != nil {
		return false, fmt.Errorf("ca: read the panel's authority again: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	same := slices.EqualFunc(generations, a.generations, func(x, y generation) bool { return x.root.Equal(y.root) && x.issuing.Equal(y.issuing) })
	if !same {
		a.generations, a.pool, a.server = generations, nil, nil
	}
	return !same, nil
}

// Pinned is the authority that enrolment tokens name.
func (a *Authority) Pinned() *x509.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.generations[0].root
}

// Roots are what devices trust, DER, oldest first.
func (a *Authority) Roots() (list [][]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, g := range a.generations {
		list = append(list, g.root.Raw)
	}
	return list
}

// Pool is what vouches for devices, also for those that show their own certificate alone: of
// who signed it a panel would else keep a copy for each link.
func (a *Authority) Pool() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pool == nil {
		a.pool = x509.NewCertPool()
		for _, g := range a.generations {
			a.pool.AddCert(g.root)
			a.pool.AddCert(g.issuing)
		}
	}
	return a.pool
}

// IsNewest says whether a device's certificate is of the newest generation.
func (a *Authority) IsNewest(c *x509.Certificate) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return c.CheckSignatureFrom(a.generations[len(a.generations)-1].issuing) == nil
}

// Device makes a device's certificate over the key that it asks with, and returns
// it with who vouches for it. Nothing else of what it asks is looked at.
func (a *Authority) Device(name *url.URL, csr []byte, now time.Time) (chain [][]byte, err error) {
	key, err := RequestedKey(csr)
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Slipstream device"}, URIs: []*url.URL{name},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(DeviceLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	a.mu.Lock()
	by := a.generations[len(a.generations)-1]
	a.mu.Unlock()
	der, err := x509.CreateCertificate(rand.Reader, c, by.issuing, key, by.key)
	if err != nil {
		return nil, fmt.Errorf("ca: make a device's certificate: %w", err)
	}
	return [][]byte{der, by.issuing.Raw}, nil
}

// maxRequest bounds a PKCS#10 in bytes.
const maxRequest = 16 << 10

// RequestedKey is the key of a PKCS#10, of which whoever made it has the other half.
func RequestedKey(csr []byte) (*ecdsa.PublicKey, error) {
	if len(csr) > maxRequest {
		return nil, errors.New("the request for a certificate is too long")
	}
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("the request for a certificate cannot be read: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the request for a certificate is not signed by its own key: %w", err)
	}
	key, ok := req.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("a device's key must be one of P-256")
	}
	return key, nil
}

// Server is the panel's own certificate for names and addresses, with its chain up
// to the root: a device that enrols finds there what its token names. It is made
// anew, with a key that is kept nowhere, when a third of its life is left.
func (a *Authority) Server(names []string, now time.Time) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.server; s != nil && now.Before(s.Leaf.NotAfter.Add(-serverLife/3)) && slices.Equal(a.names, names) {
		return s, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("ca: make the panel's own key: %w", err)
	}
	c := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Slipstream panel"},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(serverLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	by := a.generations[0]
	der, err := x509.CreateCertificate(rand.Reader, c, by.issuing, key.Public(), by.key)
	if err != nil {
		return nil, fmt.Errorf("ca: make the panel's certificate: %w", err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("ca: make the panel's certificate: %w", err)
	}
	a.server, a.names = &tls.Certificate{Certificate: [][]byte{der, by.issuing.Raw, by.root.Raw}, PrivateKey: key, Leaf: c}, slices.Clone(names)
	return a.server, nil
}
