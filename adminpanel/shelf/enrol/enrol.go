package enrol

import (
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
	"time"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/shelf"
	"slipstream/agent/wire"
)

// maxAsking is how many may ask for certificates at once; a signature costs little.
const maxAsking = 16

// Config is what a desk works with.
type Config struct {
	Authority *ca.Authority
	Tokens    *shelf.Tokens
	Enrolled  shelf.Enrolled
	Names     []string // by which devices reach the panel
	FleetRoot []byte   // handed to devices; nil without a fleet
	Audit     func(shelf.AuditLine) error
	Log       *slog.Logger
}

// Desk is safe for concurrent use.
type Desk struct {
	Config

	asking chan struct{} // one token for each that asks
}

// New makes a desk.
func New(cfg Config) *Desk { return &Desk{Config: cfg, asking: make(chan struct{}, maxAsking)} }

// TLS is for the address at which devices call. Who enrols shows no certificate;
// who shows one is an enrolled device, or gets no further.
func (d *Desk) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			server, err := d.Authority.Server(d.Names, time.Now())
			if err != nil {
				return nil, err
			}
			return &tls.Config{
				MinVersion:       tls.VersionTLS13,
				NextProtos:       []string{"h2", "http/1.1"},
				Certificates:     []tls.Certificate{*server},
				ClientAuth:       tls.VerifyClientCertIfGiven,
				ClientCAs:        d.Authority.Pool(),
				VerifyConnection: d.check,
			}, nil
		},
	}
}

func (d *Desk) check(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return nil
	}
	if device, ok := d.device(s.PeerCertificates[0]); !ok {
		return fmt.Errorf("the certificate is not that of an enrolled device (it says %q)", device)
	}
	return nil
}

// device is whose certificate this is, and whether it may call now.
func (d *Desk) device(c *x509.Certificate) (string, bool) {
	device, ok := wire.DeviceOf(c)
	return device, ok && d.Enrolled.Is(device, fingerprint(c.RawSubjectPublicKeyInfo))
}

// Identify names the device that sent a request, if its certificate may still call.
func (d *Desk) Identify(r *http.Request) (device string, ok bool) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || time.Now().After(r.TLS.PeerCertificates[0].NotAfter) {
		return "", false
	}
	return d.device(r.TLS.PeerCertificates[0])
}

// Authorities are what the device that sent a request shall trust.
func (d *Desk) Authorities(r *http.Request) wire.Authorities {
	own := r.TLS.PeerCertificates[0]
	late := time.Until(own.NotAfter) < ca.DeviceLife/3
	return wire.Authorities{Certificates: d.Authority.Roots(), Renew: late || !d.Authority.IsNewest(own)}
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
			refuse(w, &wire.Problem{Status: http.StatusServiceUnavailable, Code: wire.CodeBusy, Detail: "many devices enrol at once: try again soon"})
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
			d.Log.Warn("a device was not enrolled", "from", r.RemoteAddr, "cause", err)
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
	if err := shelf.CheckDevice(ask.Device); err != nil {
		return wire.Enrollment{}, badRequest(err)
	}
	key, err := keyOf(ask.CSR)
	if err != nil {
		return wire.Enrollment{}, badRequest(err)
	}
	now := time.Now()
	named, err := d.Tokens.Use(token.ID, token.Secret, shelf.Use{Device: ask.Device, Key: key}, now, func(named bool) error {
		return d.Enrolled.May(ask.Device, key, named)
	})
	if err != nil {
		return wire.Enrollment{}, err
	}
	if err := d.Enrolled.Enrol(ask.Device, key, named, now); err != nil {
		return wire.Enrollment{}, err
	}
	e, err := d.issue(ask.Device, ask.CSR, now)
	if err != nil {
		return wire.Enrollment{}, err
	}
	e.FleetRoot = d.FleetRoot
	d.Log.Info("device enrolled", "device", ask.Device, "token", token.ID, "from", r.RemoteAddr)
	return e, d.Audit(shelf.AuditLine{
		Time: now.UTC(), Actor: "token " + token.ID, Action: "enrol", Device: ask.Device, Detail: r.RemoteAddr,
	})
}

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
	d.Log.Info("certificate renewed", "device", device)
	return d.issue(device, ask.CSR, time.Now())
}

func (d *Desk) issue(device string, csr []byte, now time.Time) (wire.Enrollment, error) {
	chain, err := d.Authority.Device(wire.DeviceURI(device), csr, now)
	return wire.Enrollment{Device: device, Certificate: chain, Authorities: d.Authority.Roots()}, err
}

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

func problemOf(err error) *wire.Problem {
	p, ok := errors.AsType[*wire.Problem](err)
	if ok {
		return p
	}
	say := func(status int, code string) *wire.Problem {
		return &wire.Problem{Status: status, Code: code, Detail: err.Error()}
	}
	switch {
	case errors.Is(err, shelf.ErrTokenUnknown):
		return say(http.StatusForbidden, wire.CodeBadToken)
	case errors.Is(err, shelf.ErrTokenUsed):
		return say(http.StatusForbidden, wire.CodeUsedToken)
	case errors.Is(err, shelf.ErrTokenExpired):
		return say(http.StatusForbidden, wire.CodeExpiredToken)
	case errors.Is(err, shelf.ErrTokenDevice):
		return say(http.StatusForbidden, wire.CodeOtherDevice)
	case errors.Is(err, shelf.ErrNameTaken), errors.Is(err, shelf.ErrRevoked):
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
