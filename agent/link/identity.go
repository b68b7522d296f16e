package link

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"slipstream/agent/wire"
)

// Identity is by what a device and its panel know each other, on disk: the device's
// key and certificate, who vouches for the panel, and where it is. It is safe for
// concurrent use; one process has it open.
type Identity struct {
	dir    string // "": it is kept nowhere
	device string

	mu      sync.Mutex // guards what follows
	held    *held      // nil while the device belongs to no panel
	problem string     // why what is on disk cannot be used; "" if it can
	pending *document  // a key that was made, and perhaps what the panel answered
	changed chan struct{}
	line    *http.Transport // of the newest link; nil before the first use
}

// document is one file: what is of one enrolment is replaced as one.
type document struct {
	Panel string `json:"panel"`
	Key   []byte `json:"key"` // PKCS#8, DER
	wire.Enrollment
}

// held is a document as it is used.
type held struct {
	document

	base        *url.URL
	certificate tls.Certificate
	roots       *x509.CertPool // nil: the system's
}

const (
	enrolled   = "enrolment.json"
	beginning  = "pending.json"
	maxOnDisk  = 2 * wire.MaxEnrollment
	identityOf = 0o700
)

// OpenIdentity opens the identity of a device. One that cannot be used leaves the
// device without a panel, and [Identity.Problem] says so: it must run all the same.
func OpenIdentity(dir, device string) (*Identity, error) {
	if err := os.MkdirAll(dir, identityOf); err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	i := &Identity{dir: dir, device: device, changed: make(chan struct{})}
	var d document
	err := readJSON(filepath.Join(dir, enrolled), &d)
	if err == nil {
		i.held, err = hold(d, device)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		i.problem = fmt.Sprintf("this device cannot call its panel (%v): slipstream enroll, with a new token", err)
	}
	var begun document
	switch err := readJSON(filepath.Join(dir, beginning), &begun); {
	case err == nil:
		i.pending = &begun
	case !errors.Is(err, fs.ErrNotExist): // a key that nobody knows yet
		if err := os.Remove(filepath.Join(dir, beginning)); err != nil {
			return nil, fmt.Errorf("link: %w", err)
		}
	}
	return i, nil
}

// NewIdentity is of a device that has no disk: it belongs to no panel, and what it comes to
// is lost with the process.
func NewIdentity(device string) *Identity {
	return &Identity{device: device, changed: make(chan struct{})}
}

// Recover ends an enrolment that was cut off. joined says whether the device belongs
// to the fleet of a root by now: then all else was done before.
func (i *Identity) Recover(joined func(root []byte) bool) error {
	i.mu.Lock()
	begun := i.pending
	i.mu.Unlock()
	if begun == nil || len(begun.Certificate) == 0 {
		return nil
	}
	if len(begun.FleetRoot) > 0 && joined(begun.FleetRoot) {
		return i.Commit()
	}
	return i.drop()
}

// drop forgets what a panel has answered, and keeps the key for another try.
func (i *Identity) drop() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.pending == nil {
		return nil
	}
	return i.prepare(document{Panel: i.pending.Panel, Key: i.pending.Key})
}

// prepare keeps what an enrolment has come to. The caller holds mu.
func (i *Identity) prepare(d document) error {
	if err := i.keep(beginning, d); err != nil {
		return fmt.Errorf("link: keep the enrolment: %w", err)
	}
	i.pending = &d
	return nil
}

// Commit makes the enrolment that was prepared the device's own.
func (i *Identity) Commit() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.pending == nil || len(i.pending.Certificate) == 0 {
		return errors.New("link: no enrolment was prepared")
	}
	h, err := hold(*i.pending, i.device)
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if i.dir != "" {
		err = os.Rename(filepath.Join(i.dir, beginning), filepath.Join(i.dir, enrolled))
		if err = errors.Join(err, syncDir(i.dir)); err != nil {
			return fmt.Errorf("link: keep the enrolment: %w", err)
		}
	}
	i.pending = nil
	i.take(h)
	return nil
}

// Forget leaves the panel. The key goes too.
func (i *Identity) Forget() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.remove(enrolled, beginning); err != nil {
		return fmt.Errorf("link: forget the panel: %w", err)
	}
	i.pending = nil
	i.take(nil)
	return nil
}

// keep writes a document down, unless there is no disk.
func (i *Identity) keep(name string, d document) error {
	if i.dir == "" {
		return nil
	}
	return replaceJSON(filepath.Join(i.dir, name), d)
}

func (i *Identity) remove(names ...string) error {
	if i.dir == "" {
		return nil
	}
	var errs []error
	for _, name := range names {
		if err := os.Remove(filepath.Join(i.dir, name)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, syncDir(i.dir))...)
}

// take puts another identity in force. The caller holds mu.
func (i *Identity) take(h *held) {
	i.held, i.problem = h, ""
	i.hangUp()
	close(i.changed)
	i.changed = make(chan struct{})
}

// Panel is the address of the device's panel, "" if it belongs to none.
func (i *Identity) Panel() string {
	if h, _ := i.now(); h != nil {
		return h.Panel
	}
	return ""
}

// Problem says what a person must put right, "" if nothing.
func (i *Identity) Problem() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.problem
}

// now is what is in force, and closed when it is so no more.
func (i *Identity) now() (*held, <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.held, i.changed
}

// amend changes the enrolment in force, unless it is another one by now.
func (i *Identity) amend(from *held, change func(*document)) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.held != from {
		return errors.New("link: the device was enrolled anew meanwhile")
	}
	d := from.document
	change(&d)
	h, err := hold(d, i.device)
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if err := i.keep(enrolled, d); err != nil {
		return fmt.Errorf("link: keep the enrolment: %w", err)
	}
	i.take(h)
	return nil
}

// hold checks that all of a document fits together.
func hold(d document, device string) (*held, error) {
	h := &held{document: d}
	var err error
	if h.base, err = panelURL(d.Panel); err != nil {
		return nil, err
	}
	key, err := parseKey(d.Key)
	if err != nil {
		return nil, err
	}
	chain, err := wire.Certificates(d.Certificate)
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 || !key.PublicKey.Equal(chain[0].PublicKey) {
		return nil, errors.New("the certificate is not for this device's key")
	}
	if name, ok := wire.DeviceOf(chain[0]); !ok || name != device {
		return nil, fmt.Errorf("the certificate is for %q, and this device is %s: it must be enrolled again", name, device)
	}
	// The panel has who signed it. Shown too, that would lie in its memory once for each link.
	h.certificate = tls.Certificate{Certificate: d.Certificate[:1], PrivateKey: key, Leaf: chain[0]}
	if len(d.Authorities) > 0 {
		if h.roots, err = pool(d.Authorities); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func pool(der [][]byte) (*x509.CertPool, error) {
	list, err := wire.Certificates(der)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range list {
		pool.AddCert(c)
	}
	return pool, nil
}

// panelURL takes https only: what is shown there is worth a device.
func panelURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not the address of a panel, such as https://panel.example:8443", text)
	}
	return u, nil
}

func newKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("the device's key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the device's key is none of P-256")
	}
	return key, nil
}

func request(key *ecdsa.PrivateKey) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

func readJSON(path string, v any) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxOnDisk {
		return fmt.Errorf("%s is too long", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// replaceJSON writes a file whole or not at all, and so that a power cut does not
// take it back.
func replaceJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
