package enrol

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/store"
	"slipstream/agent/wire"
)

// maxAsking is how many may ask for certificates at once; a signature costs little.
const maxAsking = 16

// maxTries is how often others may change a token in between.
const maxTries = 20

// Config is what a desk works with.
type Config struct {
	Authority *ca.Authority
	Tokens    *Tokens
	Fleet     *fleet.Fleet
	Names     []string // by which devices reach the panel
	FleetRoot []byte   // handed to devices; nil without a fleet
	Log       *slog.Logger
}

// Desk is safe for concurrent use.
type Desk struct {
	cfg    Config
	asking chan struct{} // one token for each that asks

	admitting sync.Mutex // held while a token and a device's record are changed

	lining sync.Mutex // guards what follows
	server *tls.Certificate
	newest *tls.Config // made of server
}

// New makes a desk.
func New(cfg Config) *Desk { return &Desk{cfg: cfg, asking: make(chan struct{}, maxAsking)} }

// TLS is for the address at which devices call. Who enrols shows no certificate;
// who shows one is an enrolled device, or gets no further.
func (d *Desk) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			server, err := d.cfg.Authority.Server(d.cfg.Names, time.Now())
			if err != nil {
				return nil, err
			}
			return d.line(server, d.cfg.Authority.Pool()), nil
		},
	}
}

// line is the same for all connections until the authority changes: each keeps it as long as
// it lasts.
func (d *Desk) line(server *tls.Certificate, pool *x509.CertPool) *tls.Config {
	d.lining.Lock()
	defer d.lining.Unlock()
	if d.newest == nil || d.newest.ClientCAs != pool || d.server != server {
		d.server = server
		d.newest = &tls.Config{
			MinVersion:       tls.VersionTLS13,
			NextProtos:       []string{"h2", "http/1.1"},
			Certificates:     []tls.Certificate{*server},
			ClientAuth:       tls.VerifyClientCertIfGiven,
			ClientCAs:        pool,
			VerifyConnection: d.check,
		}
	}
	return d.newest
}

// lookTime bounds the look-up of a device during its handshake.
const lookTime = 5 * time.Second

func (d *Desk) check(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	if device, ok := d.device(ctx, s.PeerCertificates[0]); !ok {
		return fmt.Errorf("the certificate is not that of an enrolled device (it says %q)", device)
	}
	return nil
}

// device is whose certificate this is, and whether it may call now.
func (d *Desk) device(ctx context.Context, c *x509.Certificate) (string, bool) {
	device, ok := wire.DeviceOf(c)
	return device, ok && d.cfg.Fleet.Admit(ctx, device, fingerprint(c.RawSubjectPublicKeyInfo))
}

// Identify names the device that sent a request, if its certificate may still call.
func (d *Desk) Identify(r *http.Request) (device string, ok bool) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || time.Now().After(r.TLS.PeerCertificates[0].NotAfter) {
		return "", false
	}
	return d.device(r.Context(), r.TLS.PeerCertificates[0])
}

// Authorities are what the device that sent a request shall trust.
func (d *Desk) Authorities(r *http.Request) wire.Authorities {
	own := r.TLS.PeerCertificates[0]
	late := time.Until(own.NotAfter) < ca.DeviceLife/3
	return wire.Authorities{Certificates: d.cfg.Authority.Roots(), Renew: late || !d.cfg.Authority.IsNewest(own)}
}

// Register adds the routes.
func (d *Desk) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+wire.EnrollPath, d.answer(d.enroll))
	mux.HandleFunc("POST "+wire.RenewPath, d.answer(d.renew))
}

// Devices lets only enrolled devices through.
func (d *Desk) Devices(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := d.Identify(r); !ok {
			refuse(w, noIdentity)
			return
		}
		next.ServeHTTP(w, r)
	})
}

var noIdentity = &wire.Problem{Status: http.StatusUnauthorized, Code: wire.CodeNoIdentity, Detail: "this is for enrolled devices: enrol with a token first"}

// bodyTimeout is how long a device may take to send its request.
const bodyTimeout = 10 * time.Second

func (d *Desk) answer(do func(r *http.Request, body []byte) (wire.Enrollment, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case d.asking <- struct{}{}:
			defer func() { <-d.asking }()
		default:
			w.Header().Set("Retry-After", "1")
			refuse(w, tooMany)
			return
		}
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxEnrollment))
		if err != nil {
			refuse(w, &wire.Problem{Status: http.StatusRequestEntityTooLarge, Code: wire.CodeBadRequest, Detail: "the request is too long, or did not come"})
			return
		}
		e, err := do(r, body)
		if err != nil {
			d.cfg.Log.Warn("a device was not enrolled", "from", r.RemoteAddr, "cause", err)
			refuse(w, problemOf(err))
			return
		}
		reply(w, http.StatusOK, "application/json", e)
	}
}

func (d *Desk) enroll(r *http.Request, body []byte) (wire.Enrollment, error) {
	var ask wire.EnrollRequest
	if err := json.Unmarshal(body, &ask); err != nil {
		return wire.Enrollment{}, badRequest(err)
	}
	token, err := wire.ParseToken(ask.Token)
	if err != nil {
		return wire.Enrollment{}, badRequest(err)
	}
	if err := fleet.CheckID(ask.Device); err != nil {
		return wire.Enrollment{}, badRequest(err)
	}
	key, err := keyOf(ask.CSR)
	if err != nil {
		return wire.Enrollment{}, badRequest(err)
	}
	e, err := d.admit(r, token, use{ask.Device, key}, ask.CSR)
	if err != nil {
		return wire.Enrollment{}, err
	}
	e.FleetRoot = d.cfg.FleetRoot
	d.cfg.Log.Info("device enrolled", "device", ask.Device, "token", token.ID, "from", r.RemoteAddr)
	return e, nil
}

// admit lets a device in and uses its token up, both in one commit.
func (d *Desk) admit(r *http.Request, text wire.Token, u use, csr []byte) (wire.Enrollment, error) {
	who := audit.Who{Actor: "enrolment " + text.ID, From: r.RemoteAddr}
	// Those who come by one token change it in turn: only other panels are in the way then.
	d.admitting.Lock()
	defer d.admitting.Unlock()
	for range maxTries {
		token, rev, err := d.cfg.Tokens.get(r.Context(), text.ID)
		if err != nil {
			return wire.Enrollment{}, err
		}
		again, err := token.judge(text.Secret, u, time.Now())
		if err != nil {
			return wire.Enrollment{}, err
		}
		e, leaf, err := d.issue(u.Device, csr, time.Now())
		if err != nil {
			return wire.Enrollment{}, err
		}
		enrolled := fleet.Enrolled{ID: u.Device, Key: u.Key, Serial: serialOf(leaf), Until: leaf.NotAfter, May: token.lets(u, again)}
		var ops []store.Op
		if !again {
			enrolled.Site, enrolled.Tags = token.Site, token.Tags
			if ops, err = token.usedBy(u); err != nil {
				return wire.Enrollment{}, err
			}
		}
		_, err = d.cfg.Fleet.Enrol(r.Context(), who, enrolled, []store.Cond{{Key: prefix + token.ID, Rev: rev}}, ops)
		if err == nil {
			return e, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return wire.Enrollment{}, err
		}
	}
	return wire.Enrollment{}, fmt.Errorf("enrol %s: %w", u.Device, store.ErrConflict)
}

var tooMany = &wire.Problem{Status: http.StatusServiceUnavailable, Code: wire.CodeBusy, Detail: "many devices enrol at once: try again soon"}

// renew keeps the key: it is what the device is known by.
func (d *Desk) renew(r *http.Request, body []byte) (wire.Enrollment, error) {
	device, ok := d.Identify(r)
	if !ok {
		return wire.Enrollment{}, noIdentity
	}
	var ask wire.RenewRequest
	if err := json.Unmarshal(body, &ask); err != nil {
		return wire.Enrollment{}, badRequest(err)
	}
	key, err := keyOf(ask.CSR)
	if err != nil {
		return wire.Enrollment{}, badRequest(err)
	}
	if key != fingerprint(r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo) {
		return wire.Enrollment{}, badRequest(errors.New("a certificate is renewed over the same key"))
	}
	e, leaf, err := d.issue(device, ask.CSR, time.Now())
	if err != nil {
		return wire.Enrollment{}, err
	}
	err = d.cfg.Fleet.Renewed(r.Context(), device, serialOf(leaf), leaf.NotAfter)
	if errors.Is(err, fleet.ErrUnknown) {
		return wire.Enrollment{}, noIdentity
	}
	if err != nil {
		return wire.Enrollment{}, err
	}
	d.cfg.Log.Info("certificate renewed", "device", device)
	return e, nil
}

func (d *Desk) issue(device string, csr []byte, now time.Time) (wire.Enrollment, *x509.Certificate, error) {
	chain, err := d.cfg.Authority.Device(wire.DeviceURI(device), csr, now)
	if err != nil {
		return wire.Enrollment{}, nil, err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	return wire.Enrollment{Device: device, Certificate: chain, Authorities: d.cfg.Authority.Roots()}, leaf, err
}

func serialOf(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

// keyOf is the name of the key that asks.
func keyOf(csr []byte) (string, error) {
	key, err := ca.RequestedKey(csr)
	if err != nil {
		return "", err
	}
	return keyName(key)
}

func keyName(key *ecdsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	return fingerprint(der), err
}

func fingerprint(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}

func badRequest(err error) error {
	return &wire.Problem{Status: http.StatusBadRequest, Code: wire.CodeBadRequest, Detail: err.Error()}
}

// Why a device does not get in over what is known of it.
var (
	errNameTaken = errors.New("another device has this name: make a token for the name, which lets this one take its place")
	errRevoked   = errors.New("a device of this name was revoked: only a token for the name lets it in again")
)

func problemOf(err error) *wire.Problem {
	if errors.Is(err, store.ErrConflict) || errors.Is(err, fleet.ErrChanged) {
		return tooMany
	}
	p, ok := errors.AsType[*wire.Problem](err)
	if ok {
		return p
	}
	say := func(status int, code string) *wire.Problem {
		return &wire.Problem{Status: status, Code: code, Detail: err.Error()}
	}
	switch {
	case errors.Is(err, errTokenUnknown):
		return say(http.StatusForbidden, wire.CodeBadToken)
	case errors.Is(err, errTokenUsed):
		return say(http.StatusForbidden, wire.CodeUsedToken)
	case errors.Is(err, errTokenExpired):
		return say(http.StatusForbidden, wire.CodeExpiredToken)
	case errors.Is(err, errTokenDevice):
		return say(http.StatusForbidden, wire.CodeOtherDevice)
	case errors.Is(err, errNameTaken), errors.Is(err, errRevoked):
		return say(http.StatusConflict, wire.CodeTakenName)
	}
	return &wire.Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "the panel could not do it; its log says why"}
}

func refuse(w http.ResponseWriter, p *wire.Problem) {
	reply(w, p.Status, "application/problem+json", p)
}

func reply(w http.ResponseWriter, status int, kind string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(text, '\n'))
}
